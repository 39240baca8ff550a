//! Packets of the protocols that operators run and abuse. Each carries a mark, where it has room for one.

use etherparse::PacketBuilder;
use fastrand::Rng;

/// What a packet is: ethertype and bytes.
pub type Packet = (u16, Vec<u8>);

const ETHERNET: usize = 14;
const FRAGMENT: u8 = 44;
const ICMP6: u8 = 58;

/// A random packet.
pub fn packet(rng: &mut Rng, mark: &[u8]) -> Packet {
    match rng.u8(..16) {
        0..4 => ipv4(rng, mark),
        4..7 => ipv6(rng, mark),
        7 => arp(rng, mark),
        8 => neighbour(rng, mark),
        9 => dhcp(rng, mark),
        10 => extended(rng, mark),
        11 => fragment4(rng, mark),
        12 => llc(rng, mark),
        13 => (pick(rng, &[0x0800, 0x86dd, 0x0806]), mark.to_vec()),
        _ => (pick(rng, &[0x88cc, 0x8847, 0x88f7, 0x9000, 0x88b5, 0xffff, 0x0600]), mark.to_vec()),
    }
}

fn pick<T: Copy>(rng: &mut Rng, among: &[T]) -> T {
    among[rng.usize(..among.len())]
}

/// The packet of a frame that etherparse has built.
fn without_ethernet(frame: &[u8]) -> Packet {
    (u16::from_be_bytes([frame[12], frame[13]]), frame[ETHERNET..].to_vec())
}

fn host4(rng: &mut Rng) -> [u8; 4] {
    [10, 0, 0, rng.u8(1..4)]
}

fn host6(rng: &mut Rng) -> [u8; 16] {
    let mut address = [0; 16];
    address[0] = 0xfd;
    address[15] = rng.u8(1..4);
    address
}

/// Sets the ECN field: that of most packets is zero, and half of ours are to be of others.
fn with_ecn((ethertype, mut packet): Packet, rng: &mut Rng) -> Packet {
    let ecn = if rng.bool() { rng.u8(..4) } else { 0 };
    if ethertype == 0x0800 {
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
    let words = header.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.enumerate().filter(|(word, _)| *word != 5).map(|(_, word)| word).sum();
    !((sum % 0xffff) as u16)
}

fn ipv4(rng: &mut Rng, mark: &[u8]) -> Packet {
    let ip = PacketBuilder::ethernet2([0; 6], [0; 6]).ipv4(host4(rng), host4(rng), rng.u8(..));
    let mut frame = Vec::new();
    let _ = match rng.u8(..4) {
        0 => ip.tcp(rng.u16(..3), 80, 1, 1000).write(&mut frame, mark),
        1 => ip.icmpv4_echo_request(1, rng.u16(..)).write(&mut frame, mark),
        _ => ip.udp(rng.u16(..3), pick(rng, &[1, 4789])).write(&mut frame, mark),
    };
    with_ecn(without_ethernet(&frame), rng)
}

fn ipv6(rng: &mut Rng, mark: &[u8]) -> Packet {
    let ip = PacketBuilder::ethernet2([0; 6], [0; 6]).ipv6(host6(rng), host6(rng), rng.u8(..));
    let mut frame = Vec::new();
    let _ = match rng.u8(..3) {
        0 => ip.tcp(rng.u16(..3), 80, 1, 1000).write(&mut frame, mark),
        1 => ip.icmpv6_echo_request(1, rng.u16(..)).write(&mut frame, mark),
        _ => ip.udp(rng.u16(..3), 1).write(&mut frame, mark),
    };
    with_ecn(without_ethernet(&frame), rng)
}

/// RFC 826, also as probes and announcements (RFC 5227).
fn arp(rng: &mut Rng, mark: &[u8]) -> Packet {
    let sender = if rng.bool() { host4(rng) } else { [0; 4] };
    let head = [0, 1, 8, 0, 6, 4, 0, rng.u8(1..3)];
    let bytes = [&head[..], &[2, 0, 0, 0, 0, rng.u8(..8)], &sender, &[0; 6], &host4(rng), mark];
    (0x0806, bytes.concat())
}

/// An IPv6 header with what follows it.
fn ipv6_header(rng: &mut Rng, next: u8, payload: &[u8]) -> Vec<u8> {
    let [a, b] = (payload.len() as u16).to_be_bytes();
    [&[0x60, rng.u8(..4) << 4, 0, 0, a, b, next, 255], &host6(rng)[..], &host6(rng), payload].concat()
}

/// Neighbour and router discovery (RFC 4861): solicitations and advertisements.
fn neighbour(rng: &mut Rng, mark: &[u8]) -> Packet {
    let body = [&[rng.u8(133..138), 0, 0, 0, 0, 0, 0, 0], &host6(rng)[..], &[1, 1, 2, 0, 0, 0, 0, 1], mark];
    (0x86dd, ipv6_header(rng, ICMP6, &body.concat()))
}

/// DHCP and DHCPv6, of clients and of servers.
fn dhcp(rng: &mut Rng, mark: &[u8]) -> Packet {
    let builder = PacketBuilder::ethernet2([0; 6], [0; 6]);
    let mut frame = Vec::new();
    let server = rng.bool();
    let ports = |client, of_server| if server { (of_server, client) } else { (client, of_server) };
    let _ = if rng.bool() {
        let (from, to) = ports(68, 67);
        let body = [&[if server { 2 } else { 1 }, 1, 6, 0], mark].concat();
        builder.ipv4([0; 4], [255; 4], 64).udp(from, to).write(&mut frame, &body)
    } else {
        let (from, to) = ports(546, 547);
        builder.ipv6(host6(rng), host6(rng), 1).udp(from, to).write(&mut frame, mark)
    };
    without_ethernet(&frame)
}

/// Chains of IPv6 extension headers, whole, broken and endless, before a router advertisement or a datagram.
fn extended(rng: &mut Rng, mark: &[u8]) -> Packet {
    let last = pick(rng, &[ICMP6, 17, 59]);
    let kinds: Vec<u8> = (0..rng.usize(1..6)).map(|_| pick(rng, &[0, 43, 60, FRAGMENT])).collect();
    let mut chain = Vec::new();
    for (index, kind) in kinds.iter().enumerate() {
        let next = kinds.get(index + 1).copied().unwrap_or(last);
        let offset = if *kind == FRAGMENT && rng.bool() { [rng.u8(..), rng.u8(..)] } else { [0, 1] };
        let len = if *kind == FRAGMENT || rng.u8(..8) > 0 { 0 } else { rng.u8(..) };
        chain.extend([next, len, offset[0], offset[1], 0, 0, 0, rng.u8(..2)]);
    }
    chain.extend([134, 0, 0, 0, 0, 0, 0, 0]);
    chain.extend(mark);
    (0x86dd, ipv6_header(rng, kinds[0], &chain))
}

/// Fragments of one IPv4 packet, options, and lengths that lie.
fn fragment4(rng: &mut Rng, mark: &[u8]) -> Packet {
    let (ethertype, mut packet) = ipv4(rng, mark);
    match rng.u8(..3) {
        0 => packet[6..8].copy_from_slice(&[pick(rng, &[0x20, 0x00, 0x3f]), rng.u8(..2)]),
        1 => packet[0] = pick(rng, &[0x46, 0x4f, 0x44, 0x00, 0x65]),
        _ => packet[2..4].copy_from_slice(&rng.u16(..).to_be_bytes()),
    }
    (ethertype, packet)
}

/// IEEE 802.3 length with LLC and SNAP, which may hide an ethertype or a tag.
fn llc(rng: &mut Rng, mark: &[u8]) -> Packet {
    let hidden = pick(rng, &[0x0800_u16, 0x86dd, 0x8100, 0x88a8]).to_be_bytes();
    let body = [&[0xaa, 0xaa, 3, 0, 0, 0], &hidden[..], mark].concat();
    (body.len() as u16, body)
}
