//! The address of one station.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use super::InvalidValue;

/// A MAC address that a frame may come from: neither a group's nor zero (IEEE 802-2014 §8.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr([u8; 6]);

impl MacAddr {
    /// Checks that it is one station's.
    pub fn new(octets: [u8; 6]) -> Result<Self, InvalidValue> {
        let mac = Self(octets);
        if octets[0] & 1 != 0 {
            return Err(InvalidValue::new(
                format_args!("{mac} is a group address"),
                "no station sends from a group address; the second digit of a station's is even",
            ));
        }
        if octets == [0; 6] {
            return Err(InvalidValue::new(
                "a MAC of zeros is no station's",
                "write the station's own address",
            ));
        }
        Ok(mac)
    }

    /// In the order of transmission.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for MacAddr {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let unknown = || {
            InvalidValue::new(
                format_args!("{text:?} is not a MAC address"),
                "write six pairs of hexadecimal digits, like \"02:00:00:00:00:01\"",
            )
        };
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts
                .next()
                .filter(|part| part.len() == 2 && part.is_ascii())
                .ok_or_else(unknown)?;
            if !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(unknown());
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| unknown())?;
        }
        if parts.next().is_some() { Err(unknown()) } else { Self::new(octets) }
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}

impl Serialize for MacAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_stations_address_is_one() {
        for bad in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:01:02",
            "2:0:0:0:0:1",
            "02-00-00-00-00-01",
            "+2:00:00:00:00:01",
        ] {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad:?}");
        }
        assert!("03:00:00:00:00:01".parse::<MacAddr>().is_err());
        assert!("00:00:00:00:00:00".parse::<MacAddr>().is_err());
        assert_eq!(
            "02:AB:00:00:00:01".parse::<MacAddr>().unwrap().to_string(),
            "02:ab:00:00:00:01"
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(octets in any::<[u8; 6]>()) {
            if let Ok(mac) = MacAddr::new(octets) {
                prop_assert_eq!(mac.to_string().parse(), Ok(mac));
            }
        }
    }
}
