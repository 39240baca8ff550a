//! The VLAN identifier of one tag.

use std::{fmt, str::FromStr};

use serde::Serialize;

use super::InvalidValue;

/// A VLAN identifier that an attachment may name: 1..=4094.
///
/// IEEE 802.1Q-2022 §9.6, table 9-2: VID 0 is the null VID ("the tag header contains only priority
/// information; no VID is present in the frame"), and 0xFFF is "reserved for implementation use"
/// and "shall not be […] transmitted in a tag header".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct VlanId(u16);

impl VlanId {
    /// The smallest VID.
    pub const MIN: Self = Self(1);
    /// The largest VID.
    pub const MAX: Self = Self(4094);

    /// Checks that `value` is within 1..=4094.
    pub fn new(value: u16) -> Result<Self, InvalidValue> {
        if (Self::MIN.0..=Self::MAX.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(Self::refuse(value))
        }
    }

    /// The number, which fits the 12 bits of a tag.
    pub const fn get(self) -> u16 {
        self.0
    }

    fn refuse(value: impl fmt::Display) -> InvalidValue {
        InvalidValue::new(
            format_args!("VID {value} is outside 1–4094"),
            "a VLAN identifier is a number from 1 to 4094; 0 and 4095 are reserved (IEEE 802.1Q \
             §9.6)",
        )
    }
}

impl TryFrom<u16> for VlanId {
    type Error = InvalidValue;

    fn try_from(value: u16) -> Result<Self, InvalidValue> {
        Self::new(value)
    }
}

impl From<VlanId> for u16 {
    fn from(vid: VlanId) -> u16 {
        vid.0
    }
}

impl FromStr for VlanId {
    type Err = InvalidValue;

    /// Plain decimal digits: no sign, no leading zero, so that one VID has one spelling.
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits || (text.starts_with('0') && text != "0") {
            return Err(InvalidValue::new(
                format_args!("{text:?} is not a VID"),
                "a VLAN identifier is a decimal number from 1 to 4094, without sign or leading \
                 zero",
            ));
        }
        match text.parse() {
            Ok(value) => Self::new(value),
            Err(_) => Err(Self::refuse(text)),
        }
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_null_and_the_reserved_vid_are_refused() {
        assert!(VlanId::new(0).is_err());
        assert_eq!(VlanId::new(1), Ok(VlanId::MIN));
        assert_eq!(VlanId::new(4094), Ok(VlanId::MAX));
        assert!(VlanId::new(4095).is_err());
    }

    #[test]
    fn a_vid_has_one_spelling() {
        assert_eq!("100".parse(), VlanId::new(100));
        for bad in
            ["", "0", "+1", "-1", "01", "1 ", "0x10", "4095", "65536", "99999999999999999999", "١"]
        {
            assert!(bad.parse::<VlanId>().is_err(), "{bad:?}");
        }
    }
}
