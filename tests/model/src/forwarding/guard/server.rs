//! DHCP servers and relays (RFC 2131, RFC 8415), router advertisements (RA-Guard, RFC 6105 and RFC 7113) and redirects come only from attachments
//! that are trusted for them.

use sillon::model::{Guards, Trust};
use sillon_abi::DropReason;

use super::{
    super::frame::{IPV4, IPV6, be16},
    inside::Packet,
    ipv6, trusts,
};

pub const UDP: u8 = 17;
const DHCP_SERVER: u16 = 67;
const DHCPV6_SERVER: u16 = 547;
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
        IPV4 if !trusts(guards, Trust::Dhcp) => over_ipv4(packet.bytes),
        IPV6 => over_ipv6(guards, packet.bytes),
        _ => Ok(()),
    }
}

fn over_ipv4(packet: &[u8]) -> Result<(), DropReason> {
    let [_, protocol] = be16(packet, 8)?.to_be_bytes();
    let fragment = be16(packet, 6)?;
    if protocol != UDP || fragment & OFFSET != 0 {
        return Ok(());
    }
    let header = usize::from(packet[0] & 0xf) * 4;
    match be16(packet, header) {
        Ok(DHCP_SERVER) => Err(DropReason::DhcpServer),
        Err(_) if fragment & MORE != 0 => Err(DropReason::HeadlessFragment),
        result => result.map(|_| ()),
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
        Some(UDP) if !trusts(guards, Trust::Dhcp) => match be16(upper.header()?, 0)? {
            DHCPV6_SERVER => Err(DropReason::DhcpServer),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}
