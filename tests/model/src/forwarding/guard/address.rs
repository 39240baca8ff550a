//! An attachment with prefixes speaks for no address outside them, and for no MAC but the frame's
//! (RFC 7039, RFC 6620).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sillon::model::{Guards, Prefix};
use sillon_abi::DropReason;

use super::{
    super::frame::{IPV4, IPV6, Mac, be16},
    inside::{ARP, Packet},
    ipv6,
    server::{REDIRECT, ROUTER_ADVERTISEMENT, UDP},
};

/// DHCP: from a client to a server.
const FROM_CLIENT: (u16, u16) = (68, 67);
/// Hardware type Ethernet, protocol IPv4, and the lengths of their addresses (RFC 826).
const ARP_HEAD: [u8; 6] = [0, 1, 8, 0, 6, 4];
const ARP_REQUEST: u16 = 1;
const ROUTER_SOLICITATION: u8 = 133;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Of multicast listeners (RFC 2710, RFC 3810): report, done, report of version 2.
const LISTENER: [u8; 3] = [131, 132, 143];
/// Options that have a link-layer address (RFC 4861 section 4.6.1).
const SOURCES: u8 = 1;
const TARGETS: u8 = 2;
/// How many options are looked at.
const OPTIONS: usize = 12;

/// Whether a packet speaks only for what is the attachment's own.
///
/// # Errors
/// It does not, or it ends before it says so.
pub fn check(guards: &Guards, src: Mac, packet: &Packet<'_>) -> Result<(), DropReason> {
    match packet.ethertype {
        ARP => arp(guards, src, packet.bytes),
        IPV4 => over_ipv4(guards, packet.bytes),
        IPV6 => over_ipv6(guards, src, packet.bytes),
        _ => Ok(()),
    }
}

const fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// Link-local addresses are everybody's who lists none of them.
fn may_have(guards: &Guards, address: impl Into<IpAddr>) -> bool {
    let address = address.into();
    guards.prefixes.iter().any(|prefix| contains(*prefix, address))
        || is_link_local(address)
            && !guards.prefixes.iter().any(|prefix| is_link_local(prefix.address()))
}

/// Prefixes are of one family: `::/0` has no IPv4 address, and 0.0.0.0/0 none that is mapped into
/// IPv6.
fn contains(prefix: Prefix, address: IpAddr) -> bool {
    let length = u32::from(prefix.length());
    match (prefix.address(), address) {
        (IpAddr::V4(first), IpAddr::V4(address)) => {
            let behind = u32::MAX.checked_shr(length).unwrap_or(0);
            u32::from(first) | behind == u32::from(address) | behind
        }
        (IpAddr::V6(first), IpAddr::V6(address)) => {
            let behind = u128::MAX.checked_shr(length).unwrap_or(0);
            u128::from(first) | behind == u128::from(address) | behind
        }
        _ => false,
    }
}

fn bytes<const N: usize>(packet: &[u8], at: usize) -> Result<[u8; N], DropReason> {
    packet.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(DropReason::Truncated)
}

fn arp(guards: &Guards, src: Mac, packet: &[u8]) -> Result<(), DropReason> {
    let (head, operation, sender_mac) =
        (bytes(packet, 0)?, be16(packet, 6)?, bytes::<6>(packet, 8)?);
    if head != ARP_HEAD || sender_mac != src {
        return Err(DropReason::ArpSpoofed);
    }
    let sender = Ipv4Addr::from(bytes::<4>(packet, 14)?);
    let target = Ipv4Addr::from(bytes::<4>(packet, 24)?);
    // RFC 5227 section 2.1.1: who probes has no address yet, and wants the target.
    let is_probe = sender.is_unspecified() && operation == ARP_REQUEST;
    if may_have(guards, if is_probe { target } else { sender }) {
        Ok(())
    } else {
        Err(DropReason::ArpSpoofed)
    }
}

fn over_ipv4(guards: &Guards, packet: &[u8]) -> Result<(), DropReason> {
    let source = Ipv4Addr::from(bytes::<4>(packet, 12)?);
    if source.is_unspecified() {
        let header = usize::from(packet[0] & 0xf) * 4;
        let ports = (be16(packet, header)?, be16(packet, header + 2)?);
        let is_whole = be16(packet, 6)? & 0x3fff == 0;
        let asks_for_one = ports == FROM_CLIENT && packet[9] == UDP && is_whole;
        return if asks_for_one { Ok(()) } else { Err(DropReason::AddressNotListed) };
    }
    if may_have(guards, source) { Ok(()) } else { Err(DropReason::AddressNotListed) }
}

fn over_ipv6(guards: &Guards, src: Mac, packet: &[u8]) -> Result<(), DropReason> {
    let source = Ipv6Addr::from(bytes::<16>(packet, 8)?);
    if !source.is_unspecified() && !may_have(guards, source) {
        return Err(DropReason::AddressNotListed);
    }
    let upper = ipv6::upper(packet)?;
    if upper.protocol != Some(ipv6::ICMP) {
        return if source.is_unspecified() { Err(DropReason::AddressNotListed) } else { Ok(()) };
    }
    let message = upper.header()?;
    let kind = message[0];
    let may_be_of_nobody =
        [ROUTER_SOLICITATION, NEIGHBOUR_SOLICITATION].contains(&kind) || LISTENER.contains(&kind);
    if source.is_unspecified() && !may_be_of_nobody {
        return Err(DropReason::AddressNotListed);
    }
    if !(ROUTER_SOLICITATION..=REDIRECT).contains(&kind) {
        return Ok(());
    }
    if upper.is_first_fragment {
        return Err(DropReason::NdFragment);
    }
    // Who advertises an address, or solicits it without one, wants to have it (RFC 4862 section
    // 5.4.2).
    let wants_target = kind == NEIGHBOUR_ADVERTISEMENT
        || (kind == NEIGHBOUR_SOLICITATION && source.is_unspecified());
    if wants_target && !may_have(guards, Ipv6Addr::from(bytes::<16>(message, 8)?)) {
        return Err(DropReason::NdSpoofed);
    }
    options(src, kind, message)
}

/// RFC 4861 section 4.6: type, length in words of eight bytes, and for these two an address. What
/// is behind the message in the frame is looked at as if it were of it.
fn options(src: Mac, kind: u8, message: &[u8]) -> Result<(), DropReason> {
    let at = match kind {
        ROUTER_SOLICITATION => 8,
        ROUTER_ADVERTISEMENT => 16,
        REDIRECT => 40,
        _ => 24,
    };
    let mut rest = message.get(at..).unwrap_or_default();
    for _ in 0..OPTIONS {
        let &[option, length, a, b, c, d, e, f, ..] = rest else { return Ok(()) };
        let must_be_own = match option {
            SOURCES => true,
            // A redirect's target is another router's, or a neighbour's (section 4.5).
            TARGETS => kind != REDIRECT,
            _ => false,
        };
        if must_be_own && [a, b, c, d, e, f] != src {
            return Err(DropReason::NdSpoofed);
        }
        if length == 0 {
            return Ok(());
        }
        rest = rest.get(usize::from(length) * 8..).unwrap_or_default();
    }
    Err(DropReason::NdSpoofed)
}
