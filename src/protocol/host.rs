//! IP addresses of hosts, as they travel.

use std::net::IpAddr;

use crate::model::{Binding, MacAddr};

/// Four bytes, or sixteen.
pub fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The address that bytes are, if a host may have it.
pub fn host(bytes: &[u8]) -> Option<IpAddr> {
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    let any = MacAddr::new([2, 0, 0, 0, 0, 0]).ok()?;
    Binding::new(address, any, false).ok().map(Binding::address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_host_comes_as_it_went_and_others_do_not() {
        for text in ["10.0.0.1", "fd00::1", "fe80::1"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(host(&bytes(address)), Some(address));
        }
        // The mapped one is IPv4's, which has four bytes.
        for text in ["0.0.0.1", "127.0.0.1", "224.0.0.1", "ff02::1", "::ffff:10.0.0.1", "::1"] {
            assert_eq!(host(&bytes(text.parse().unwrap())), None, "{text}");
        }
        assert_eq!(host(&[10, 0, 0]), None);
    }
}
