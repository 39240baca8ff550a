//! What most packets are, and IPv4 headers that are not what most are.

use etherparse::PacketBuilder;
use fastrand::Rng;

use super::{IPV4, Packet, Sender, host4, host6, pick};

const ETHERNET: usize = 14;

/// The packet of a frame that etherparse has built.
fn without_ethernet(frame: &[u8]) -> Packet {
    (u16::from_be_bytes([frame[12], frame[13]]), frame[ETHERNET..].to_vec())
}

/// Sets the ECN field: that of most packets is zero, and half of ours are to be of others.
fn with_ecn((ethertype, mut packet): Packet, rng: &mut Rng) -> Packet {
    let ecn = if rng.bool() { rng.u8(..4) } else { 0 };
    if ethertype == IPV4 {
        packet[1] |= ecn;
        let checksum = ipv4_checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    } else {
        packet[1] |= ecn << 4;
    }
    (ethertype, packet)
}

/// RFC 1071, over a header whose own field is left out.
pub fn ipv4_checksum(header: &[u8]) -> u16 {
    let words =
        header.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.enumerate().filter(|(word, _)| *word != 5).map(|(_, word)| word).sum();
    !((sum % 0xffff) as u16)
}

/// TCP, ICMP and UDP.
pub fn ipv4(rng: &mut Rng, from: Sender<'_>) -> Packet {
    let ip = PacketBuilder::ethernet2([0; 6], [0; 6]).ipv4(host4(rng), host4(rng), rng.u8(..));
    let mut frame = Vec::new();
    let _ = match rng.u8(..6) {
        0 => ip.tcp(rng.u16(..3), 80, 1, 1000).write(&mut frame, from.mark),
        1 => ip.icmpv4_echo_request(1, rng.u16(..)).write(&mut frame, from.mark),
        // Redirects, router advertisements and solicitations, and what is beside them.
        2 => ip.icmpv4_raw(rng.u8(4..12), rng.u8(..2), [0; 4]).write(&mut frame, from.mark),
        _ => ip.udp(rng.u16(..3), pick(rng, &[1, 4789])).write(&mut frame, from.mark),
    };
    with_ecn(without_ethernet(&frame), rng)
}

/// The same over IPv6.
pub fn ipv6(rng: &mut Rng, from: Sender<'_>) -> Packet {
    let ip = PacketBuilder::ethernet2([0; 6], [0; 6]).ipv6(host6(rng), host6(rng), rng.u8(..));
    let mut frame = Vec::new();
    let _ = match rng.u8(..3) {
        0 => ip.tcp(rng.u16(..3), 80, 1, 1000).write(&mut frame, from.mark),
        1 => ip.icmpv6_echo_request(1, rng.u16(..)).write(&mut frame, from.mark),
        _ => ip.udp(rng.u16(..3), 1).write(&mut frame, from.mark),
    };
    with_ecn(without_ethernet(&frame), rng)
}

/// IPv4 in fragments, with options, and with lengths that lie.
pub fn odd(rng: &mut Rng, from: Sender<'_>) -> Packet {
    let (ethertype, mut packet) = ipv4(rng, from);
    make_odd(rng, &mut packet);
    (ethertype, packet)
}

/// Makes an IPv4 packet one of those.
pub fn make_odd(rng: &mut Rng, packet: &mut Vec<u8>) {
    match rng.u8(..4) {
        0 => packet[6..8].copy_from_slice(&[pick(rng, &[0x20, 0x00, 0x3f, 0x40]), rng.u8(..2)]),
        1 => packet[0] = pick(rng, &[0x46, 0x4f, 0x44, 0x00, 0x65]),
        2 => {
            let options = [1; 40];
            let words = rng.usize(1..=10);
            packet.splice(20..20, options[..words * 4].iter().copied());
            packet[0] = 0x45 + words as u8;
        }
        _ => packet[2..4].copy_from_slice(&rng.u16(..).to_be_bytes()),
    }
}
