//! Who has an IP address.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Serialize, Serializer};

use super::{InvalidValue, MacAddr};

/// A host's IP address and its MAC, so that a node can answer for it; whether it is a router
/// matters in IPv6 alone (RFC 4861 §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binding {
    address: IpAddr,
    mac: MacAddr,
    is_router: bool,
}

const EXAMPLE: &str = "write an address and a MAC, like \"10.0.0.1 02:00:00:00:00:01\" or \
    \"fd00::1 02:00:00:00:00:01 router\"";

impl Binding {
    /// Checks that the address is one that a host may have.
    pub fn new(address: IpAddr, mac: MacAddr, is_router: bool) -> Result<Self, InvalidValue> {
        let odd = match address {
            IpAddr::V4(v4) if v4.octets()[0] == 0 => {
                Some("of \"this network\" (RFC 1122 §3.2.1.3)")
            }
            IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
            IpAddr::V6(v6) if v6.segments()[..4] == [0; 4] && !v6.is_loopback() => Some("of ::/64"),
            _ if address.is_loopback() => Some("a loopback address"),
            _ if address.is_multicast() => Some("a multicast address"),
            _ => None,
        };
        if let Some(odd) = odd {
            return Err(InvalidValue::new(
                format_args!("{address} is {odd}, which no host has"),
                "write the address of one host",
            ));
        }
        if is_router && address.is_ipv4() {
            return Err(InvalidValue::new(
                format_args!("{address} can't say that it is a router"),
                "only neighbour discovery tells routers; leave the word out",
            ));
        }
        Ok(Self { address, mac, is_router })
    }

    /// The address.
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// Whose it is.
    pub const fn mac(self) -> MacAddr {
        self.mac
    }

    /// Whether hosts are told that it is a router.
    pub const fn is_router(self) -> bool {
        self.is_router
    }
}

impl FromStr for Binding {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let unknown = || InvalidValue::new(format_args!("{text:?} is not a binding"), EXAMPLE);
        let mut words = text.split(' ');
        let (address, mac) = (words.next().ok_or_else(unknown)?, words.next().ok_or_else(unknown)?);
        let is_router = match words.next() {
            None => false,
            Some("router") => true,
            Some(_) => return Err(unknown()),
        };
        if words.next().is_some() {
            return Err(unknown());
        }
        Self::new(address.parse().map_err(|_| unknown())?, mac.parse()?, is_router)
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let router = if self.is_router { " router" } else { "" };
        f.pad(&format!("{} {}{router}", self.address, self.mac))
    }
}

impl Serialize for Binding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_spelling_of_a_binding() {
        for good in [
            "10.0.0.1 02:00:00:00:00:01",
            "fd00::1 02:00:00:00:00:01",
            "fe80::1 02:00:00:00:00:01 router",
        ] {
            assert_eq!(good.parse::<Binding>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "10.0.0.1",
            "02:00:00:00:00:01 10.0.0.1",
            "10.0.0.1  02:00:00:00:00:01",
            "10.0.0.0/24 02:00:00:00:00:01",
            "10.0.0.1 03:00:00:00:00:01",
            "fd00::1 02:00:00:00:00:01 host",
            "fd00::1 02:00:00:00:00:01 router router",
        ] {
            assert!(bad.parse::<Binding>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_an_address_that_a_host_may_have_is_bound() {
        for bad in [
            "0.0.0.0",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "ff02::1",
            "::ffff:10.0.0.1",
        ] {
            let error = format!("{bad} 02:00:00:00:00:01").parse::<Binding>().unwrap_err();
            assert!(error.to_string().contains("which no host has"), "{error}");
        }
        assert!("10.0.0.1 02:00:00:00:00:01 router".parse::<Binding>().is_err());
    }
}
