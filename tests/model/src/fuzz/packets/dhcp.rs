//! DHCP and DHCPv6, of clients, of servers and relays, whole and in pieces.

use fastrand::Rng;

use super::{IPV4, IPV6, Packet, Sender, UDP, host4, ip, ipv6_header, pick};

fn udp(from: u16, to: u16, body: &[u8]) -> Vec<u8> {
    let words = [from, to, 8 + body.len() as u16, 0];
    words.iter().flat_map(|word| word.to_be_bytes()).chain(body.iter().copied()).collect()
}

/// RFC 2131: clients send from 68, servers and relays from 67.
pub fn over_ipv4(rng: &mut Rng, from: Sender<'_>) -> Packet {
    let (source, destination) =
        pick(rng, &[(68, 67), (68, 67), (67, 68), (67, 67), (68, 68), (1024, 68)]);
    let operation = if source == 67 { 2 } else { 1 };
    let body = udp(source, destination, &[&[operation, 1, 6, 0], from.mark].concat());
    let [a, b] = (20 + body.len() as u16).to_be_bytes();
    let sender = if source == 68 && rng.u8(..4) > 0 { [0; 4] } else { host4(rng) };
    let protocol = if rng.u8(..8) == 0 { 6 } else { UDP };
    let mut packet =
        [&[0x45, 0, a, b, 0, 1, 0, 0, 64, protocol, 0, 0][..], &sender, &[255; 4], &body].concat();
    let checksum = ip::ipv4_checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    if rng.u8(..3) == 0 {
        ip::make_odd(rng, &mut packet);
    }
    if rng.u8(..8) == 0 {
        // A first fragment that ends before the ports, and others that are as short.
        packet[6] = pick(rng, &[0x20, 0x20, 0x00]);
        packet.truncate(rng.usize(18..24));
    }
    (IPV4, packet)
}

/// RFC 8415: clients send from 546, servers and relays from 547.
pub fn over_ipv6(rng: &mut Rng, from: Sender<'_>) -> Packet {
    let (source, destination) =
        pick(rng, &[(546, 547), (546, 547), (547, 546), (547, 547), (1024, 546)]);
    let body = udp(source, destination, from.mark);
    (IPV6, ipv6_header(rng, UDP, &body))
}
