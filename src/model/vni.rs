//! The VXLAN network identifier.

use std::fmt;

use serde::Serialize;

use super::InvalidValue;

/// A VXLAN network identifier: 1..=16777215.
///
/// RFC 7348 §5: "VXLAN Segment ID/VXLAN Network Identifier (VNI): this is a 24-bit value used to
/// designate the individual VXLAN overlay network". Zero is left out: it is what an unset field
/// holds, and no segment may have it by accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Vni(u32);

impl Vni {
    /// The smallest VNI.
    pub const MIN: Self = Self(1);
    /// The largest VNI: all 24 bits set.
    pub const MAX: Self = Self(0xff_ffff);

    /// Checks that `value` is within 1..=16777215.
    pub fn new(value: u32) -> Result<Self, InvalidValue> {
        if (Self::MIN.0..=Self::MAX.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(Self::refuse(value))
        }
    }

    /// The number, which fits 24 bits.
    pub const fn get(self) -> u32 {
        self.0
    }

    pub(super) fn refuse(value: impl fmt::Display) -> InvalidValue {
        InvalidValue::new(
            format_args!("VNI {value} is outside 1–16777215"),
            "a VNI is a 24-bit number from 1 to 16777215 (RFC 7348 §5)",
        )
    }
}

impl TryFrom<u32> for Vni {
    type Error = InvalidValue;

    fn try_from(value: u32) -> Result<Self, InvalidValue> {
        Self::new(value)
    }
}

impl From<Vni> for u32 {
    fn from(vni: Vni) -> u32 {
        vni.0
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_24_bit_numbers_above_zero_are_vnis() {
        assert!(Vni::new(0).is_err());
        assert_eq!(Vni::new(1), Ok(Vni::MIN));
        assert_eq!(Vni::new(16_777_215), Ok(Vni::MAX));
        assert!(Vni::new(16_777_216).is_err());
        assert!(Vni::new(u32::MAX).is_err());
    }
}
