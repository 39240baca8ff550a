//! A range of IP addresses.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use ipnet::{IpNet, Ipv6Net};
use serde::{Serialize, Serializer};

use super::InvalidValue;

/// An IPv4 or IPv6 prefix, with no bit set behind its length (RFC 4632 §3.1, RFC 4291 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(IpNet);

impl Prefix {
    /// All link-local IPv6 addresses (RFC 4291 §2.5.6).
    pub const LINK_LOCAL: Self =
        Self(IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10)));

    /// Checks that `length` fits the family, and that no bit is set behind it.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, InvalidValue> {
        let most = IpNet::from(address).max_prefix_len();
        let net = IpNet::new(address, length).map_err(|_| {
            InvalidValue::new(
                format_args!("{address}/{length} is longer than an address, which has {most} bits"),
                format_args!("write a length from 0 to {most}"),
            )
        })?;
        if net.trunc() != net {
            return Err(InvalidValue::new(
                format_args!("{net} has bits behind its length"),
                format_args!("write {}, or {address}/{most} for the one address", net.trunc()),
            ));
        }
        Ok(Self(net))
    }

    /// Whether an address is in it.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Whether it is of link-local IPv6 addresses.
    pub const fn is_link_local(self) -> bool {
        match self.address() {
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
            IpAddr::V4(_) => false,
        }
    }

    /// Its first address.
    pub const fn address(self) -> IpAddr {
        match self.0 {
            IpNet::V4(net) => IpAddr::V4(net.addr()),
            IpNet::V6(net) => IpAddr::V6(net.addr()),
        }
    }

    /// How many bits of it count.
    pub const fn length(self) -> u8 {
        match self.0 {
            IpNet::V4(net) => net.prefix_len(),
            IpNet::V6(net) => net.prefix_len(),
        }
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
        let is_plain = length.bytes().all(|digit| digit.is_ascii_digit())
            && (length == "0" || !length.starts_with('0'));
        if !is_plain {
            return Err(unknown());
        }
        Self::new(address.parse().map_err(|_| unknown())?, length.parse().map_err(|_| unknown())?)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
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
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/033",
            "10.0.0.0/33",
            "::/129",
            "/0",
            "10.0.0.0/+8",
            "a/8",
        ] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad:?}");
        }
        assert_eq!(Prefix::LINK_LOCAL.to_string(), "fe80::/10");
    }
}
