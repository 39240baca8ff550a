//! Names: what people call nodes, operators and segments, and what the kernel calls interfaces.

use std::{fmt, str::FromStr};

use serde::Serialize;
use smol_str::SmolStr;

use super::InvalidValue;

/// The name of a node, an operator or a segment: 1..=63 of `A-Z a-z 0-9 . _ -`, the first a letter
/// or digit.
///
/// 63 is the length of a DNS label (RFC 1035 §2.3.4); with this alphabet a name is also one
/// harmless path component, so a node's can be a directory in bpffs, and it is never taken for a
/// command-line option.
///
/// Short ones are kept in place: names are most of what the fabric's maps compare, and each that
/// lay elsewhere was a look into memory far away.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(SmolStr);

/// The name of a network interface as the kernel allows it: 1..=15 bytes, no `/`, `:`, or
/// whitespace, not `.` or `..` (Linux `dev_valid_name()`, `IFNAMSIZ` 16 with the final NUL).
///
/// Control characters are refused too: the kernel would take some, but no terminal should be shown
/// them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct InterfaceName(SmolStr);

impl Name {
    /// The greatest length in characters.
    pub const MAX_LEN: usize = 63;

    /// Checks length and alphabet.
    pub fn new(text: &str) -> Result<Self, InvalidValue> {
        let help =
            "a name is 1 to 63 letters, digits, '.', '_' or '-', and starts with a letter or digit";
        if text.is_empty() {
            return Err(InvalidValue::new("the name is empty", help));
        }
        if text.len() > Self::MAX_LEN {
            let length = text.chars().count();
            return Err(InvalidValue::new(
                format_args!("the name is {length} characters long"),
                help,
            ));
        }
        if let Some(bad) =
            text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-'))
        {
            return Err(InvalidValue::new(format_args!("{text:?} has {bad:?} in it"), help));
        }
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(InvalidValue::new(format_args!("{text:?} starts with a sign"), help));
        }
        Ok(Self(text.into()))
    }
}

impl InterfaceName {
    /// The greatest length in bytes.
    pub const MAX_LEN: usize = 15;

    /// Checks what the kernel would check.
    pub fn new(text: &str) -> Result<Self, InvalidValue> {
        let help = "an interface name is 1 to 15 bytes without '/', ':' or whitespace, and not \
            \".\" or \"..\"";
        if text.is_empty() {
            return Err(InvalidValue::new("the interface name is empty", help));
        }
        if text.len() > Self::MAX_LEN {
            let length = text.len();
            return Err(InvalidValue::new(
                format_args!("the interface name is {length} bytes long"),
                help,
            ));
        }
        let is_bad = |c: &char| matches!(c, '/' | ':') || c.is_whitespace() || c.is_control();
        if let Some(bad) = text.chars().find(is_bad) {
            return Err(InvalidValue::new(
                format_args!("interface name {text:?} has {bad:?} in it"),
                help,
            ));
        }
        if text == "." || text == ".." {
            return Err(InvalidValue::new(format_args!("{text:?} is not an interface name"), help));
        }
        Ok(Self(text.into()))
    }
}

macro_rules! text_newtype {
    ($name:ident) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, InvalidValue> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

text_newtype!(Name);
text_newtype!(InterfaceName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_harmless_path_component() {
        for good in ["a", "edge1", "1", "alder-lan", "A.b_c-9", &"x".repeat(63)] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "-a", "_a", "a/b", "a b", "é", "a\0", "a\n", &"x".repeat(64)] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_interface_name_is_what_the_kernel_takes() {
        for good in ["p0", "eth0.100", "enp1s0f0np0", "-", "123456789012345", "prise-é"] {
            assert_eq!(InterfaceName::new(good).unwrap().as_str(), good);
        }
        for bad in
            ["", ".", "..", "a/b", "a:b", "a b", "a\tb", "a\u{a0}b", "a\x1bb", "1234567890123456"]
        {
            assert!(InterfaceName::new(bad).is_err(), "{bad:?}");
        }
    }
}
