//! Frames that attackers make. All of them say `attack!` somewhere.

use std::net::{Ipv4Addr, Ipv6Addr};

use sillon_rig::{Frame, frame::Macs};

use crate::{attacks::lan::ATTACKER, common::mac};

pub const ALL_NODES: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
pub const WORD: &[u8] = b"attack!";
const ICMPV6: u8 = 58;

/// From the attacker to everybody.
pub fn from_attacker() -> Macs {
    Macs { from: mac(ATTACKER), to: ALL_NODES }
}

pub fn link_local(host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host.into())
}

/// An IPv6 packet whose first header behind the fixed one is `next`.
pub fn ipv6(macs: Macs, source: Ipv6Addr, next: u8, payload: &[u8]) -> Frame {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 255]);
    packet.extend(source.octets());
    packet.extend(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets());
    packet.extend(payload);
    Frame::ethertype(macs, 0x86dd, &packet)
}

/// ICMPv6 behind these extension headers.
pub fn icmpv6(macs: Macs, source: Ipv6Addr, headers: &[Header], message: &[u8]) -> Frame {
    let mut payload = Vec::new();
    for (index, header) in headers.iter().enumerate() {
        let next = headers.get(index + 1).map_or(ICMPV6, |header| header.number);
        let mut bytes = header.bytes.clone();
        bytes[0] = next;
        payload.extend(bytes);
    }
    payload.extend(message);
    ipv6(macs, source, headers.first().map_or(ICMPV6, |header| header.number), &payload)
}

/// An extension header; its first byte becomes the number of the next one.
#[derive(Clone)]
pub struct Header {
    number: u8,
    bytes: Vec<u8>,
}

/// Options of `eights` times 8 bytes, all padding.
pub fn options(number: u8, eights: u8) -> Header {
    let mut bytes = vec![0; usize::from(eights) * 8];
    bytes[1] = eights - 1;
    // PadN over all that is left, in pieces.
    let mut at = 2;
    while at < bytes.len() {
        let pad = (bytes.len() - at).min(200);
        bytes[at] = u8::from(pad > 1);
        if pad > 1 {
            bytes[at + 1] = pad as u8 - 2;
        }
        at += pad;
    }
    Header { number, bytes }
}

pub const HOP_BY_HOP: u8 = 0;
pub const ROUTING: u8 = 43;
pub const DESTINATION: u8 = 60;

/// A fragment header, `offset` in units of eight bytes.
pub fn fragment(offset: u16, more: bool) -> Header {
    let place = offset << 3 | u16::from(more);
    Header { number: 44, bytes: [&[0, 0][..], &place.to_be_bytes(), &[0, 0, 0, 7]].concat() }
}

/// A router advertisement that makes its sender the router of all.
pub fn router_advertisement() -> Vec<u8> {
    [&[134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0][..], &[1, 1], &mac(ATTACKER), WORD]
        .concat()
}

/// A neighbour solicitation (135) or advertisement (136) for `target`, with a link-layer option.
pub fn neighbour(kind: u8, target: Ipv6Addr, option: Option<[u8; 6]>) -> Vec<u8> {
    let flags = if kind == 136 { 0x20 } else { 0 };
    let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    message.extend(target.octets());
    if let Some(mac) = option {
        message.extend([if kind == 136 { 2 } else { 1 }, 1]);
        message.extend(mac);
    }
    // A nonce option (RFC 3971 section 5.3.2), for the word.
    message.extend([14, 2]);
    message.extend([WORD, &[0; 7]].concat());
    message
}

/// ARP with the word behind it; `operation` 1 asks, 2 answers.
pub fn arp(macs: Macs, operation: u16, sender: ([u8; 6], Ipv4Addr), target: Ipv4Addr) -> Frame {
    Frame::arp(macs, operation, sender, ([0; 6], target), WORD)
}

/// The same packet in an LLC/SNAP header, whose length is off by `error`.
pub fn in_snap(frame: &Frame, oui: [u8; 3], error: i32) -> Frame {
    let length = (frame.0.len() - 14 + 8) as i32 + error;
    let mut bytes = frame.0[..12].to_vec();
    bytes.extend((length as u16).to_be_bytes());
    bytes.extend([0xaa, 0xaa, 0x03]);
    bytes.extend(oui);
    bytes.extend(&frame.0[12..]);
    Frame(bytes)
}
