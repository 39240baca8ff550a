//! A range of IP addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::InvalidValue;

/// An IPv4 or IPv6 prefix, with no bit set behind its length (RFC 4632 §3.1, RFC 4291 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// All link-local IPv6 addresses (RFC 4291 §2.5.6).
    pub const LINK_LOCAL: Self =
        Self { address: IpAddr::V6(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), length: 10 };

    /// Checks that `length` fits the family, and that no bit is set behind it.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, InvalidValue> {
        let (bits, most) = match address {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, 32),
            IpAddr::V6(v6) => (u128::from(v6), 128),
        };
        if length > most {
            return Err(InvalidValue::new(
                format_args!("{address}/{length} is longer than an address, which has {most} bits"),
                format_args!("write a length from 0 to {most}"),
            ));
        }
        let behind = u128::MAX.checked_shr(u32::from(length)).unwrap_or(0);
        if bits & behind != 0 {
            let first = bits & !behind;
            let first = match address {
                IpAddr::V4(_) => {
                    IpAddr::from((first >> 96).to_be_bytes().last_chunk::<4>().map_or([0; 4], |c| *c))
                }
                IpAddr::V6(_) => IpAddr::from(first.to_be_bytes()),
            };
            return Err(InvalidValue::new(
                format_args!("{address}/{length} has bits behind its length"),
                format_args!("write {first}/{length}, or {address}/{most} for the one address"),
            ));
        }
        Ok(Self { address, length })
    }

    /// Whether an address is in it.
    pub fn contains(self, address: IpAddr) -> bool {
        let differs = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => u128::from(u32::from(own) ^ u32::from(other)) << 96,
            (IpAddr::V6(own), IpAddr::V6(other)) => u128::from(own) ^ u128::from(other),
            _ => return false,
        };
        differs.leading_zeros() >= u32::from(self.length)
    }

    /// Whether it is of link-local IPv6 addresses.
    pub const fn is_link_local(self) -> bool {
        match self.address {
            IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
            IpAddr::V4(_) => false,
        }
    }

    /// Its first address.
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits of it count.
    pub const fn length(self) -> u8 {
        self.length
    }
}

impl FromStr for Prefix {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let unknown = || {
            InvalidValue::new(
                format_args!("{text:?} is not a prefix"),
                "write an address and a length, like \"10.0.0.0/24\" or \"fd00::/64\"",
            )
        };
        let (address, length) = text.split_once('/').ok_or_else(unknown)?;
        let is_plain =
            length.bytes().all(|digit| digit.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
        if !is_plain {
            return Err(unknown());
        }
        Self::new(address.parse().map_err(|_| unknown())?, length.parse().map_err(|_| unknown())?)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.address, self.length))
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_behind_the_length_are_refused_with_what_may_be_meant() {
        let wrong = "10.0.0.1/24".parse::<Prefix>().unwrap_err();
        assert_eq!(wrong.help(), "write 10.0.0.0/24, or 10.0.0.1/32 for the one address");
        let wrong = "fd00::1/64".parse::<Prefix>().unwrap_err();
        assert_eq!(wrong.help(), "write fd00::/64, or fd00::1/128 for the one address");
    }

    #[test]
    fn an_address_is_in_a_prefix_of_its_own_family() {
        let contains = |prefix: &str, address: &str| {
            prefix.parse::<Prefix>().unwrap().contains(address.parse().unwrap())
        };
        assert!(contains("10.0.0.0/24", "10.0.0.255") && !contains("10.0.0.0/24", "10.0.1.0"));
        assert!(contains("0.0.0.0/0", "10.0.0.1") && contains("10.0.0.1/32", "10.0.0.1"));
        assert!(!contains("10.0.0.1/32", "10.0.0.2") && !contains("::/0", "10.0.0.1"));
        assert!(contains("fd00::/64", "fd00::1") && !contains("fd00::/64", "fd00:0:0:1::1"));
        assert!(contains("::/0", "fd00::1") && !contains("fd00::1/128", "fd00::2"));
    }

    #[test]
    fn there_is_one_spelling_of_a_length() {
        for good in ["0.0.0.0/0", "::/0", "10.0.0.1/32", "fd00::1/128", "fe80::/10"] {
            assert_eq!(good.parse::<Prefix>().unwrap().to_string(), good);
        }
        for bad in
            ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/033", "10.0.0.0/33", "::/129", "/0", "10.0.0.0/+8", "a/8"]
        {
            assert!(bad.parse::<Prefix>().is_err(), "{bad:?}");
        }
        assert_eq!(Prefix::LINK_LOCAL.to_string(), "fe80::/10");
    }
}
