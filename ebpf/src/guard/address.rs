//! An attachment with `prefixes` speaks for the addresses in them, and for itself: the source of IP
//! packets (`address-not-listed`), the sender of ARP (`arp-spoofed`), and the target and link-layer
//! options of neighbour discovery (`nd-spoofed`) are in them, and the MACs that ARP and neighbour
//! discovery name are the frame's own (as RFC 7039 and RFC 6620 want it, with static bindings), but
//! for the one that a trusted router's redirect sends to.
//!
//! Who has no address yet is heard too: 0.0.0.0 asks for one by DHCP (RFC 2131) and probes for one
//! by ARP (RFC 5227 section 2.1.1), and :: solicits neighbours (RFC 4862 section 5.4.2), routers
//! (RFC 4861 section 6.3.7) and reports groups (RFC 3590); but a probe is only for an address that
//! the attachment may have, or it would keep others from theirs. Link-local IPv6 addresses are
//! in the prefixes of each attachment that lists none of them itself.
//!
//! Neighbour discovery in fragments is dropped (`nd-fragment`, RFC 6980 section 5): nobody needs
//! it, and it can't be looked into.

use aya_ebpf::maps::lpm_trie::Key;
use sillon_abi::{Addr, DropReason, PrefixKey};

use super::{
    ipv6,
    ipv6::{REDIRECT, ROUTER_ADVERTISEMENT, Upper},
    server::{DHCP_CLIENT, DHCP_SERVER},
    unwrap::Packet,
};
use crate::{
    arp::{self, ARP, Arp},
    frame::Frame,
    maps::PREFIXES,
    wire::{ICMPV6, IPV4, IPV6, UDP},
};

/// The last six of eight bytes.
const MAC: u64 = 0xffff_ffff_ffff;

const ROUTER_SOLICITATION: u8 = 133;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Reports and "done" of multicast listener discovery, versions 1 and 2 (RFC 2710, RFC 3810).
const LISTENER_REPORTS: [u8; 3] = [131, 132, 143];
/// Options with a link-layer address.
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
/// How many options are looked at.
const OPTIONS: usize = 12;
/// Bytes of ICMPv6 in front of a neighbour solicitation's or advertisement's target.
const TARGET: usize = 8;

#[inline(always)]
pub fn check(
    frame: &impl Frame,
    attachment: u32,
    src: u64,
    packet: &Packet,
) -> Result<(), DropReason> {
    match packet.ethertype {
        ARP => arp(Arp { frame, l3: packet.l3 }, attachment, src),
        IPV4 => ipv4(frame, attachment, packet.l3),
        IPV6 => ipv6(frame, attachment, packet.l3, src),
        _ => Ok(()),
    }
}

/// Whether an attachment may have the IPv6 address whose two halves these are, as on the wire.
#[inline(always)]
fn may_have(attachment: u32, head: u64, tail: u64) -> bool {
    is_listed(attachment, head, tail)
}

/// The same of an IPv4 address.
#[inline(always)]
fn may_have_v4(attachment: u32, addr: u32) -> bool {
    is_listed(attachment | PrefixKey::IS_V4, 0, (0xffff_0000_0000 | u64::from(addr)).to_be())
}

/// A function of its own, which has the key at an aligned place.
#[inline(never)]
fn is_listed(of: u32, head: u64, tail: u64) -> bool {
    // SAFETY: both are sixteen bytes, and any are an address.
    let addr: Addr = unsafe { core::mem::transmute([head, tail]) };
    PREFIXES.get(Key::new(PrefixKey::BITS, PrefixKey { of, addr })).is_some()
}

#[inline(always)]
fn arp(packet: Arp<'_, impl Frame>, attachment: u32, src: u64) -> Result<(), DropReason> {
    let (operation, sender_mac) = (packet.operation()?, packet.sender_mac()?);
    let Some(operation) = operation.filter(|_| sender_mac == src) else {
        return Err(DropReason::ArpSpoofed);
    };
    let (sender, target) = (packet.sender()?, packet.target()?);
    let is_probe = sender == 0 && operation == arp::REQUEST;
    let speaks_for = if is_probe { target } else { sender };
    if may_have_v4(attachment, speaks_for) { Ok(()) } else { Err(DropReason::ArpSpoofed) }
}

#[inline(always)]
fn ipv4(frame: &impl Frame, attachment: u32, l3: usize) -> Result<(), DropReason> {
    let head = u64::from_be(frame.load(l3)?);
    let source = u32::from_be(frame.load(l3 + 12)?);
    if source == 0 {
        // A fragment would not be from port 68 to port 67 by its looks alone.
        let is_whole = head & 0x3fff == 0;
        let header = (head >> 56 & 0xf) as usize * 4;
        let (from, to) = (frame.load_be16(l3 + header)?, frame.load_be16(l3 + header + 2)?);
        let is_dhcp = (from, to) == (DHCP_CLIENT, DHCP_SERVER);
        return if is_whole && is_dhcp && frame.load::<u8>(l3 + 9)? == UDP {
            Ok(())
        } else {
            Err(DropReason::AddressNotListed)
        };
    }
    if may_have_v4(attachment, source) { Ok(()) } else { Err(DropReason::AddressNotListed) }
}

#[inline(always)]
fn ipv6(frame: &impl Frame, attachment: u32, l3: usize, src: u64) -> Result<(), DropReason> {
    let [head, tail]: [u64; 2] = frame.load(l3 + 8)?;
    let is_unspecified = head | tail == 0;
    if !is_unspecified && !may_have(attachment, head, tail) {
        return Err(DropReason::AddressNotListed);
    }
    let upper = ipv6::upper(frame, l3)?;
    if upper.protocol != ICMPV6 {
        return if is_unspecified { Err(DropReason::AddressNotListed) } else { Ok(()) };
    }
    let [kind, ..] = upper.head()?;
    if is_unspecified
        && !matches!(kind, ROUTER_SOLICITATION | NEIGHBOUR_SOLICITATION)
        && !LISTENER_REPORTS.contains(&kind)
    {
        return Err(DropReason::AddressNotListed);
    }
    if !(ROUTER_SOLICITATION..=REDIRECT).contains(&kind) {
        return Ok(());
    }
    if upper.is_fragment {
        return Err(DropReason::NdFragment);
    }
    let speaks_for_target =
        kind == NEIGHBOUR_ADVERTISEMENT || kind == NEIGHBOUR_SOLICITATION && is_unspecified;
    if speaks_for_target {
        let [head, tail]: [u64; 2] = frame.load(upper.at + TARGET)?;
        if !may_have(attachment, head, tail) {
            return Err(DropReason::NdSpoofed);
        }
    }
    options(frame, &upper, kind, src)
}

/// Each link-layer address that a neighbour discovery message names must be the frame's own (RFC
/// 4861 section 4.6.1); but a redirect, which only a trusted router gets past `server`, names the
/// MAC of whom it redirects to (section 4.5).
#[inline(always)]
fn options(frame: &impl Frame, upper: &Upper, kind: u8, src: u64) -> Result<(), DropReason> {
    let mut at = upper.at
        + match kind {
            ROUTER_SOLICITATION => 8,
            ROUTER_ADVERTISEMENT => 16,
            REDIRECT => 40,
            _ => 24,
        };
    let end = frame.len();
    for _ in 0..OPTIONS {
        if at + 8 > end {
            return Ok(());
        }
        let option = u64::from_be(frame.load(at)?);
        let (number, length) = ((option >> 56) as u8, (option >> 48) as u8);
        let is_anothers = kind == REDIRECT && number == TARGET_LINK_LAYER;
        if matches!(number, SOURCE_LINK_LAYER | TARGET_LINK_LAYER)
            && !is_anothers
            && option & MAC != src
        {
            return Err(DropReason::NdSpoofed);
        }
        if length == 0 {
            // What is left is padding of the frame, or a message that RFC 4861 section 4.6 has its
            // receivers discard.
            return Ok(());
        }
        at += usize::from(length) * 8;
    }
    Err(DropReason::NdSpoofed)
}
