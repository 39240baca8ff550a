//! Values out of JSON: through the same constructors as everywhere. What is refused says what would
//! be right, too.

use std::{marker::PhantomData, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

use super::{
    Binding, BitRate, ByteSize, Control, Encap, Ethertype, Hook, InterfaceName, InvalidValue,
    LeafRole, MacAddr, Name, OverLimit, PortRole, Prefix, Service, Trust, Vni,
};

/// What was refused as a deserializer's error.
pub(crate) fn refused<E: Error>(invalid: &InvalidValue) -> E {
    E::custom(format_args!("{invalid} ({})", invalid.help()))
}

/// A value that is written as text.
struct Text<T>(PhantomData<T>, &'static str);

impl<T: FromStr<Err = InvalidValue>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, in quotes", self.1)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(|invalid| refused(&invalid))
    }
}

/// A value that is written as text with a unit, or as a number of the smallest.
struct Quantity<T>(PhantomData<T>, &'static str);

impl<T: FromStr<Err = InvalidValue> + TryFrom<u64, Error = InvalidValue>> Visitor<'_>
    for Quantity<T>
{
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(|invalid| refused(&invalid))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::try_from(number).map_err(|invalid| refused(&invalid))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        let number = u64::try_from(number)
            .map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))?;
        self.visit_u64(number)
    }
}

/// A VNI, which is written as a number.
struct Number;

impl Visitor<'_> for Number {
    type Value = Vni;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a VNI, a number from {} to {}", Vni::MIN, Vni::MAX)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Vni, E> {
        match u32::try_from(number) {
            Ok(number) => Vni::new(number).map_err(|invalid| refused(&invalid)),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Vni, E> {
        let number = u64::try_from(number)
            .map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))?;
        self.visit_u64(number)
    }
}

macro_rules! from_text {
    ($($name:ident: $what:literal,)+) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text(PhantomData, $what))
            }
        }
    )+};
}

from_text! {
    Binding: "a binding",
    Control: "what becomes of control frames",
    Encap: "an encapsulation",
    Ethertype: "an ethertype",
    Hook: "a port's hook",
    InterfaceName: "an interface's name",
    LeafRole: "an attachment's role",
    MacAddr: "a MAC address",
    Name: "a name",
    OverLimit: "what becomes of frames over the limit",
    PortRole: "a port's role",
    Prefix: "a prefix",
    Service: "a service",
    Trust: "a trust",
}

impl<'de> Deserialize<'de> for BitRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(Quantity(PhantomData, "a rate like \"100 Mbit/s\", or bits a second"))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Quantity(PhantomData, "a size like \"64 KiB\", or bytes"))
    }
}

impl TryFrom<u64> for BitRate {
    type Error = InvalidValue;

    fn try_from(bits: u64) -> Result<Self, InvalidValue> {
        Self::new(bits)
    }
}

impl TryFrom<u64> for ByteSize {
    type Error = InvalidValue;

    fn try_from(bytes: u64) -> Result<Self, InvalidValue> {
        Ok(Self(bytes))
    }
}

impl<'de> Deserialize<'de> for Vni {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u32(Number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::testing::encap, *};

    proptest! {
        #[test]
        fn what_is_written_as_json_reads_back(
            encap in encap(4094),
            bits in 64_000..=BitRate::MAX.get(),
        ) {
            let json = serde_json::to_string(&encap).unwrap();
            prop_assert_eq!(serde_json::from_str::<Encap>(&json).unwrap(), encap);
            let json = serde_json::to_string(&BitRate::new(bits).unwrap()).unwrap();
            prop_assert_eq!(serde_json::from_str::<BitRate>(&json).unwrap().get(), bits);
        }
    }

    #[test]
    fn what_is_refused_says_what_would_be_right() {
        let error = serde_json::from_str::<Vni>("0").unwrap_err().to_string();
        assert!(error.contains("outside 1–16777215") && error.contains("24-bit"), "{error}");
        let error = serde_json::from_str::<Service>("\"ring\"").unwrap_err().to_string();
        assert!(error.contains("it is one of line, lan, tree"), "{error}");
        let error = serde_json::from_str::<BitRate>("-1").unwrap_err().to_string();
        assert!(error.contains("100 Mbit/s"), "{error}");
        assert_eq!(serde_json::from_str::<BitRate>("\"1 Mbit/s\"").unwrap().get(), 1_000_000);
    }
}
