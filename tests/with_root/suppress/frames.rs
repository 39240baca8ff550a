//! ARP and neighbour discovery, as hosts speak it. Host `n` has the MAC `mac(n)` and the addresses
//! 10.0.0.n and fd00::n.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::PacketBuilder;
use sillon_rig::{
    Frame,
    frame::{BROADCAST, Macs},
};

use crate::common::mac;

pub const ARP_REQUEST: u16 = 1;
pub const ARP_REPLY: u16 = 2;
pub const SOLICITATION: u8 = 135;
pub const ADVERTISEMENT: u8 = 136;
/// Flags of an advertisement (RFC 4861 section 4.4).
pub const ROUTER: u8 = 0x80;
pub const SOLICITED: u8 = 0x40;
pub const OVERRIDE: u8 = 0x20;
/// Options with the link-layer address of a message's source and target.
pub const SOURCE_OPTION: u8 = 1;
pub const TARGET_OPTION: u8 = 2;
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

pub fn ip4(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, host)
}

pub fn ip6(host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host.into())
}

/// ARP and nothing behind it.
pub fn arp(
    macs: Macs,
    operation: u16,
    sender: ([u8; 6], Ipv4Addr),
    target: ([u8; 6], Ipv4Addr),
) -> Frame {
    Frame::arp(macs, operation, sender, target, &[])
}

/// A host asks all who has an address.
pub fn asks(host: u8, target: u8) -> Frame {
    arp(
        Macs { from: mac(host), to: BROADCAST },
        ARP_REQUEST,
        (mac(host), ip4(host)),
        ([0; 6], ip4(target)),
    )
}

/// A host tells all that an address is its own (RFC 5227 section 2.3).
pub fn announces(host: u8, address: u8) -> Frame {
    let own = (mac(host), ip4(address));
    arp(Macs { from: mac(host), to: BROADCAST }, ARP_REQUEST, own, ([0; 6], ip4(address)))
}

/// A host probes whether an address is free (RFC 5227 section 2.1.1).
pub fn probes(host: u8, address: u8) -> Frame {
    let nobody = (mac(host), Ipv4Addr::UNSPECIFIED);
    arp(Macs { from: mac(host), to: BROADCAST }, ARP_REQUEST, nobody, ([0; 6], ip4(address)))
}

/// A host answers another.
pub fn replies(host: u8, to: u8) -> Frame {
    arp(
        Macs { from: mac(host), to: mac(to) },
        ARP_REPLY,
        (mac(host), ip4(host)),
        (mac(to), ip4(to)),
    )
}

/// A message of neighbour discovery; all of it can be wrong.
#[derive(Clone, Copy)]
pub struct Message {
    pub macs: Macs,
    pub ips: (Ipv6Addr, Ipv6Addr),
    pub hops: u8,
    pub kind: u8,
    pub code: u8,
    pub flags: u8,
    pub target: Ipv6Addr,
    /// Its number and the MAC in it.
    pub option: Option<(u8, [u8; 6])>,
}

impl Message {
    pub fn frame(self) -> Frame {
        let Self { macs, ips, hops, kind, code, flags, target, option } = self;
        let mut payload = Vec::from(target.octets());
        if let Some((number, mac)) = option {
            payload.extend([number, 1]);
            payload.extend(mac);
        }
        let packet =
            PacketBuilder::ethernet2(macs.from, macs.to).ipv6(ips.0.octets(), ips.1.octets(), hops);
        let packet = packet.icmpv6_raw(kind, code, [flags, 0, 0, 0]);
        let mut bytes = Vec::new();
        packet.write(&mut bytes, &payload).unwrap();
        Frame(bytes)
    }
}

/// The group of an address, and its MAC (RFC 4291 section 2.7.1, RFC 2464 section 7).
pub fn group_of(target: Ipv6Addr) -> (Ipv6Addr, [u8; 6]) {
    let [.., a, b, c] = target.octets();
    let low = u16::from_be_bytes([b, c]);
    (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), low), [0x33, 0x33, 0xff, a, b, c])
}

/// A host asks an address's group who has it.
pub fn solicitation(host: u8, target: u8) -> Message {
    let (group, to) = group_of(ip6(target));
    Message {
        macs: Macs { from: mac(host), to },
        ips: (ip6(host), group),
        hops: 255,
        kind: SOLICITATION,
        code: 0,
        flags: 0,
        target: ip6(target),
        option: Some((SOURCE_OPTION, mac(host))),
    }
}

pub fn solicits(host: u8, target: u8) -> Frame {
    solicitation(host, target).frame()
}

/// A host tells all that an address is its own (RFC 4861 section 7.2.6).
pub fn advertisement(host: u8, address: u8, flags: u8) -> Message {
    Message {
        macs: Macs { from: mac(host), to: [0x33, 0x33, 0, 0, 0, 1] },
        ips: (ip6(address), ALL_NODES),
        hops: 255,
        kind: ADVERTISEMENT,
        code: 0,
        flags,
        target: ip6(address),
        option: Some((TARGET_OPTION, mac(host))),
    }
}

pub fn advertises(host: u8, address: u8, flags: u8) -> Frame {
    advertisement(host, address, flags).frame()
}

/// What `host` would answer to `solicits(to, address)`.
pub fn advertises_to(host: u8, address: u8, to: u8, flags: u8) -> Frame {
    let message = advertisement(host, address, SOLICITED | flags);
    Message { macs: Macs { from: mac(host), to: mac(to) }, ips: (ip6(address), ip6(to)), ..message }
        .frame()
}

/// A host probes whether an address is free (RFC 4862 section 5.4.2).
pub fn detects_duplicates(host: u8, address: u8) -> Frame {
    let message = solicitation(host, address);
    Message { ips: (Ipv6Addr::UNSPECIFIED, message.ips.1), option: None, ..message }.frame()
}

/// Whether it is ARP, or ICMPv6 directly behind its header and of these two kinds, be it right or
/// not.
pub fn is_about_neighbours(frame: &Frame) -> bool {
    let Frame(packet) = frame.popped(frame.tags().len());
    let is_nd = packet.get(20) == Some(&58)
        && matches!(packet.get(54), Some(&(SOLICITATION | ADVERTISEMENT)));
    match packet.get(12..14) {
        Some([0x08, 0x06]) => true,
        Some([0x86, 0xdd]) => is_nd,
        _ => false,
    }
}
