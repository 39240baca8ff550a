//! Who gives out addresses and routes? DHCP servers and relays (UDP from port 67 or to 68; from 547
//! or to 546 for DHCPv6) are heard only from attachments that are `trusted` for "dhcp"
//! (`dhcp-server`), and router advertisements (`router-advertisement`) and redirects
//! (`icmp-redirect`) only from those that are for "ra": RA-Guard, RFC 6105, with the advice of RFC
//! 7113. So are ICMP's own over IPv4 (RFC 1256, RFC 792): who may not be a router in the one is
//! none in the other.
//!
//! An advertisement hides behind extension headers, in fragments, behind tags and in LLC/SNAP:
//! `ipv6` and `unwrap` look for it there. A first fragment that does not say what it is is dropped
//! (`headless-fragment`), over IPv4 too.

use sillon_abi::{DropReason, Guards};

use super::{
    ipv6,
    ipv6::{REDIRECT, ROUTER_ADVERTISEMENT},
    unwrap::Packet,
};
use crate::{
    frame::{Frame, halves},
    wire::{FRAGMENT_OFFSET, ICMPV6, IPV4, IPV6, MORE_FRAGMENTS, UDP},
};

pub const DHCP_SERVER: u16 = 67;
pub const DHCP_CLIENT: u16 = 68;
/// Protocol number of ICMP, and its types (RFC 792, RFC 1256).
const ICMP: u8 = 1;
const ICMP_REDIRECT: u8 = 5;
const ICMP_ROUTER_ADVERTISEMENT: u8 = 9;
const DHCPV6_SERVER: u16 = 547;
const DHCPV6_CLIENT: u16 = 546;

#[inline(always)]
pub fn check(frame: &impl Frame, guards: u16, packet: &Packet) -> Result<(), DropReason> {
    if packet.ethertype == IPV4 {
        over_ipv4(frame, guards, packet.l3)
    } else if packet.ethertype == IPV6 {
        over_ipv6(frame, guards, packet.l3)
    } else {
        Ok(())
    }
}

#[inline(always)]
pub fn over_ipv4(frame: &impl Frame, guards: u16, l3: usize) -> Result<(), DropReason> {
    if guards & (Guards::NO_DHCP_SERVER | Guards::NO_ROUTER) == 0 {
        return Ok(());
    }
    let ip: [u16; 5] = frame.read(l3)?;
    let fragment = u16::from_be(ip[3]);
    let guard = match ip[4].to_ne_bytes()[1] {
        UDP => Guards::NO_DHCP_SERVER,
        ICMP => Guards::NO_ROUTER,
        _ => return Ok(()),
    };
    if guards & guard == 0 || fragment & FRAGMENT_OFFSET != 0 {
        return Ok(());
    }
    let header = usize::from(ip[0].to_ne_bytes()[0] & 0xf) * 4;
    match frame.read::<u32>(l3 + header) {
        Ok(head) if guard == Guards::NO_ROUTER => of_router(head.to_ne_bytes()[0]),
        Ok(ports) if is_dhcp_servers(ports) => Err(DropReason::DhcpServer),
        Ok(_) => Ok(()),
        Err(_) if fragment & MORE_FRAGMENTS != 0 => Err(DropReason::HeadlessFragment),
        Err(reason) => Err(reason),
    }
}

/// Whether ICMP of this type is what only routers say.
#[inline(always)]
const fn of_router(kind: u8) -> Result<(), DropReason> {
    match kind {
        ICMP_ROUTER_ADVERTISEMENT => Err(DropReason::RouterAdvertisement),
        ICMP_REDIRECT => Err(DropReason::IcmpRedirect),
        _ => Ok(()),
    }
}

/// Whether these UDP ports, as they stand in the packet, are what only DHCP's servers and relays
/// over IPv4 may have.
#[inline(always)]
pub fn is_dhcp_servers(ports: u32) -> bool {
    is_servers(ports, DHCP_SERVER, DHCP_CLIENT)
}

/// Whether these ports are those of a packet from a server or relay, or of one to a client: some
/// clients don't ask where from (RFC 7610 section 4).
#[inline(always)]
fn is_servers(ports: u32, server: u16, client: u16) -> bool {
    let [from, to] = halves(ports);
    from == server.to_be() || to == client.to_be()
}

#[inline(always)]
fn over_ipv6(frame: &impl Frame, guards: u16, l3: usize) -> Result<(), DropReason> {
    let upper = ipv6::upper(frame, l3)?;
    if upper.protocol == ICMPV6 && guards & Guards::NO_ROUTER != 0 {
        match upper.head()?[0] {
            ROUTER_ADVERTISEMENT => Err(DropReason::RouterAdvertisement),
            REDIRECT => Err(DropReason::IcmpRedirect),
            _ => Ok(()),
        }
    } else if upper.protocol == UDP && guards & Guards::NO_DHCP_SERVER != 0 {
        let ports = u32::from_ne_bytes(upper.head()?);
        if is_servers(ports, DHCPV6_SERVER, DHCPV6_CLIENT) {
            Err(DropReason::DhcpServer)
        } else {
            Ok(())
        }
    } else {
        Ok(())
    }
}
