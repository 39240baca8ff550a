//! DHCP servers and relays (RFC 2131, RFC 8415), router advertisements (RA-Guard, RFC 6105 and RFC
//! 7113; RFC 1256) and redirects (RFC 4861; RFC 792) come only from attachments that are trusted
//! for them.

use sillon::model::{Guards, Trust};
use sillon_abi::DropReason;

use super::{
    super::frame::{IPV4, IPV6, be16},
    inside::Packet,
    ipv6, trusts,
};

pub const UDP: u8 = 17;
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;
const DHCPV6_SERVER: u16 = 547;
const DHCPV6_CLIENT: u16 = 546;
const ICMP: u8 = 1;
const ICMP_REDIRECT: u8 = 5;
const ICMP_ROUTER_ADVERTISEMENT: u8 = 9;
pub const ROUTER_ADVERTISEMENT: u8 = 134;
pub const REDIRECT: u8 = 137;
/// "More fragments" and the offset, in IPv4's seventh and eighth byte.
const MORE: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// Whether a packet is from nobody that its attachment is not trusted to be.
///
/// # Errors
/// It is, or it does not say.
pub fn check(guards: &Guards, packet: &Packet<'_>) -> Result<(), DropReason> {
    match packet.ethertype {
        IPV4 if !trusts(guards, Trust::Dhcp) || !trusts(guards, Trust::Ra) => {
            over_ipv4(guards, packet.bytes)
        }
        IPV6 => over_ipv6(guards, packet.bytes),
        _ => Ok(()),
    }
}

fn over_ipv4(guards: &Guards, packet: &[u8]) -> Result<(), DropReason> {
    let [_, protocol] = be16(packet, 8)?.to_be_bytes();
    let fragment = be16(packet, 6)?;
    let is_asked = match protocol {
        UDP => !trusts(guards, Trust::Dhcp),
        ICMP => !trusts(guards, Trust::Ra),
        _ => false,
    };
    if !is_asked || fragment & OFFSET != 0 {
        return Ok(());
    }
    let header = usize::from(packet[0] & 0xf) * 4;
    let (Ok(first), Ok(second)) = (be16(packet, header), be16(packet, header + 2)) else {
        let is_fragment = fragment & MORE != 0;
        return Err(if is_fragment { DropReason::HeadlessFragment } else { DropReason::Truncated });
    };
    let [kind, _] = first.to_be_bytes();
    match (protocol, first, second) {
        (UDP, DHCP_SERVER, _) | (UDP, _, DHCP_CLIENT) => Err(DropReason::DhcpServer),
        (ICMP, ..) if kind == ICMP_ROUTER_ADVERTISEMENT => Err(DropReason::RouterAdvertisement),
        (ICMP, ..) if kind == ICMP_REDIRECT => Err(DropReason::IcmpRedirect),
        _ => Ok(()),
    }
}

fn over_ipv6(guards: &Guards, packet: &[u8]) -> Result<(), DropReason> {
    let upper = ipv6::upper(packet)?;
    match upper.protocol {
        Some(ipv6::ICMP) if !trusts(guards, Trust::Ra) => match upper.header()?[0] {
            ROUTER_ADVERTISEMENT => Err(DropReason::RouterAdvertisement),
            REDIRECT => Err(DropReason::IcmpRedirect),
            _ => Ok(()),
        },
        Some(UDP) if !trusts(guards, Trust::Dhcp) => {
            let ports = upper.header()?;
            match (be16(ports, 0)?, be16(ports, 2)?) {
                (DHCPV6_SERVER, _) | (_, DHCPV6_CLIENT) => Err(DropReason::DhcpServer),
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}
