//! Neighbour discovery for IPv6 (RFC 4861): solicitations and advertisements with the one option
//! that they normally have. What has others, as secured ones do (RFC 3971), or has extension
//! headers, is not looked at.

use std::net::{IpAddr, Ipv6Addr};

use super::{Claim, Heeded, How, Said, bytes, is_a_hosts};
use crate::forwarding::frame::Inner;

const HEADER: usize = 40;
/// Type, code, checksum, flags; target; an option with a MAC.
const LENGTH: usize = 4 + 4 + 16 + 8;
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Flags of an advertisement.
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
/// The options with the source's and the target's link-layer address, of eight bytes.
const SOURCE_OPTION: [u8; 2] = [1, 1];
const TARGET_OPTION: [u8; 2] = [2, 1];

/// A message that is in order.
struct Message {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    kind: u8,
    flags: u8,
    target: Ipv6Addr,
    option: [u8; 8],
}

/// RFC 4861 sections 7.1.1 and 7.1.2: hop limit 255, code 0, a right checksum, no group as the
/// target.
fn parse(packet: &[u8]) -> Option<Message> {
    let packet = packet.get(..HEADER + LENGTH)?;
    let (ip, icmp) = packet.split_at(HEADER);
    let is_neighbours =
        ip[0] >> 4 == 6 && ip[4..8] == [0, LENGTH as u8, ICMPV6, 255] && icmp[1] == 0;
    let message = Message {
        source: bytes::<16>(ip, 8)?.into(),
        destination: bytes::<16>(ip, 24)?.into(),
        kind: icmp[0],
        flags: icmp[4],
        target: bytes::<16>(icmp, 8)?.into(),
        option: bytes(icmp, 24)?,
    };
    let are_hosts = is_a_hosts(message.source.into()) && is_a_hosts(message.target.into());
    (is_neighbours && are_hosts && sum(packet) == 0xffff).then_some(message)
}

/// The ones' complement sum (RFC 1071) of a message and its pseudo-header (RFC 8200 section 8.1).
fn sum(packet: &[u8]) -> u16 {
    let words =
        packet[8..].chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum = words.sum::<u32>() + LENGTH as u32 + u32::from(ICMPV6);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// RFC 4291 section 2.7.1: the group of those who have an address that ends so.
fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// An advertisement says who has its target; a solicitation asks that, and hints at who asks.
/// Duplicate address detection asks without a source (RFC 4862 section 5.4).
pub fn heed(inner: &Inner) -> Option<Heeded> {
    let message = parse(&inner.packet)?;
    let has = |kind: [u8; 2]| message.option == [&kind[..], &inner.src].concat()[..];
    let said = |address: Ipv6Addr, how| Some(Said { address: address.into(), how });
    match message.kind {
        ADVERTISEMENT if has(TARGET_OPTION) => {
            // Nobody is solicited by all (section 7.1.2).
            if message.destination.is_multicast() && message.flags & SOLICITED != 0 {
                return None;
            }
            let is_router = message.flags & ROUTER != 0;
            let overrides = message.flags & OVERRIDE != 0;
            let how = if overrides {
                How::Override { flag: true, is_router }
            } else {
                How::Offer { is_router }
            };
            Some(Heeded { says: said(message.target, how), asks: None })
        }
        SOLICITATION if has(SOURCE_OPTION) => {
            let is_for_targets = message.destination == solicited_node(message.target);
            let asks = is_for_targets.then_some(IpAddr::from(message.target));
            Some(Heeded { says: said(message.source, How::Hint), asks })
        }
        _ => None,
    }
}

/// The solicited advertisement that answers a solicitation (section 7.2.4). What is behind it
/// stays.
pub fn advertisement(inner: &Inner, owner: &Claim) -> Vec<u8> {
    let solicitation = &inner.packet;
    let (source, target) = (&solicitation[8..24], &solicitation[HEADER + 8..HEADER + 24]);
    let mut flags = SOLICITED;
    if owner.is_router {
        flags |= ROUTER;
    }
    if owner.overrides {
        flags |= OVERRIDE;
    }
    let header = [0x60, 0, 0, 0, 0, LENGTH as u8, ICMPV6, 255];
    let icmp = [ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    let mut packet =
        [&header[..], target, source, &icmp, target, &TARGET_OPTION, &owner.mac].concat();
    let checksum = !sum(&packet);
    packet[HEADER + 2..HEADER + 4].copy_from_slice(&checksum.to_be_bytes());
    packet.extend_from_slice(&solicitation[HEADER + LENGTH..]);
    packet
}
