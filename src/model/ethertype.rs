//! What a frame carries.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use super::{InvalidValue, suggest::did_you_mean};

/// An ethertype: 0x0600 and above, since what is below is a length (IEEE 802.3-2022 §3.2.6); and
/// none that announces a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ethertype(u16);

/// Those that have a name.
const NAMES: [(&str, u16); 3] = [("ipv4", 0x0800), ("arp", 0x0806), ("ipv6", 0x86dd)];
/// What announces a tag: it is looked through, and never on a list.
const TAGS: [u16; 5] = [0x8100, 0x88a8, 0x9100, 0x9200, 0x9300];

impl Ethertype {
    /// Checks that it is one.
    pub fn new(number: u16) -> Result<Self, InvalidValue> {
        if number < 0x0600 {
            return Err(InvalidValue::new(
                format_args!("0x{number:04x} is a length, not an ethertype"),
                "ethertypes begin with 0x0600",
            ));
        }
        if TAGS.contains(&number) {
            return Err(InvalidValue::new(
                format_args!("0x{number:04x} announces a VLAN tag"),
                "list what is behind the tags: that is what is looked at",
            ));
        }
        Ok(Self(number))
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl FromStr for Ethertype {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if let Some((_, number)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(Self(*number));
        }
        let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 4);
        let number = digits
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u16::from_str_radix(digits, 16).ok());
        match number {
            Some(number) => Self::new(number),
            None => Err(InvalidValue::new(
                format_args!("{text:?} is not an ethertype"),
                did_you_mean(text, NAMES.iter().map(|(name, _)| *name)).unwrap_or_else(|| {
                    "write \"ipv4\", \"arp\", \"ipv6\" or four digits, like \"0x8847\"".to_owned()
                }),
            )),
        }
    }
}

impl fmt::Display for Ethertype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.pad(name),
            None => f.pad(&format!("0x{:04x}", self.0)),
        }
    }
}

impl Serialize for Ethertype {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_the_same_values() {
        assert_eq!("arp".parse::<Ethertype>(), "0x0806".parse());
        assert_eq!("0x86DD".parse::<Ethertype>().unwrap().to_string(), "ipv6");
        assert_eq!("0x8847".parse::<Ethertype>().unwrap().to_string(), "0x8847");
    }

    #[test]
    fn lengths_and_tags_are_none() {
        for bad in [
            "", "0x05ff", "0x8100", "0x88a8", "0x9100", "0x800", "0x08000", "0x+800", "8847",
            "IPv4",
        ] {
            assert!(bad.parse::<Ethertype>().is_err(), "{bad:?}");
        }
    }
}
