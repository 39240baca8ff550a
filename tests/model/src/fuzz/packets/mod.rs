//! Packets of the protocols that operators run and abuse. Each carries a mark, where it has room
//! for one.
//!
//! Most are sent to whomever. [`talk`] is what neighbours say to each other, addresses and all.

mod chains;
mod dhcp;
mod discovery;
mod ip;
mod llc;
pub mod talk;

use fastrand::Rng;

pub use ip::ipv4_checksum;

/// What a packet is: ethertype and bytes.
pub type Packet = (u16, Vec<u8>);

/// Who sends a packet.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The source address of the frame.
    pub mac: [u8; 6],
    /// What the packet is to carry.
    pub mark: &'a [u8],
}

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const UDP: u8 = 17;
const ICMP6: u8 = 58;

/// A random packet.
pub fn packet(rng: &mut Rng, from: Sender<'_>) -> Packet {
    let (ethertype, mut packet) = match rng.u8(..20) {
        0..4 => ip::ipv4(rng, from),
        4..7 => ip::ipv6(rng, from),
        7 | 8 => arp(rng, from),
        9 | 10 => discovery::neighbour(rng, from),
        11 => dhcp::over_ipv4(rng, from),
        12 => dhcp::over_ipv6(rng, from),
        13 | 14 => chains::chain(rng, from),
        15 => ip::odd(rng, from),
        16 => llc::llc(rng, from),
        17 => (pick(rng, &[IPV4, IPV6, ARP]), from.mark.to_vec()),
        // LLDP, MPLS, PTP, loopback, PAUSE, what is nobody's.
        _ => (
            pick(rng, &[0x88cc, 0x8847, 0x88f7, 0x9000, 0x8808, 0x88b5, 0xffff, 0x0600]),
            from.mark.to_vec(),
        ),
    };
    if rng.u8(..24) == 0 {
        packet.truncate(rng.usize(..=packet.len().min(100)));
    }
    (ethertype, packet)
}

fn pick<T: Copy>(rng: &mut Rng, among: &[T]) -> T {
    among[rng.usize(..among.len())]
}

/// Hosts have few addresses, of which an attachment may have some; some speak for nobody.
fn host4(rng: &mut Rng) -> [u8; 4] {
    match rng.u8(..16) {
        0 => [0; 4],
        1 => [192, 0, 2, 1],
        _ => any_host4(rng),
    }
}

/// One of the few addresses that hosts have.
pub fn any_host4(rng: &mut Rng) -> [u8; 4] {
    [10, 0, 0, rng.u8(1..4)]
}

/// One of the few addresses that hosts have, link-local or not.
pub fn any_host6(rng: &mut Rng) -> [u8; 16] {
    let mut address = [0; 16];
    address[15] = rng.u8(1..4);
    if rng.u8(..3) == 0 {
        [address[0], address[1]] = [0xfe, 0x80];
    } else {
        address[0] = 0xfd;
    }
    address
}

fn host6(rng: &mut Rng) -> [u8; 16] {
    let mut address = any_host6(rng);
    match rng.u8(..16) {
        0 => return [0; 16],
        // An IPv4 address in IPv6's clothes (RFC 4291 section 2.5.5.2).
        1 => {
            address = [&[0; 10][..], &[0xff, 0xff, 10, 0, 0, address[15]]]
                .concat()
                .try_into()
                .unwrap_or([0; 16])
        }
        2 => [address[0], address[1]] = [0; 2],
        _ => {}
    }
    address
}

/// A MAC that a packet names: mostly its frame's.
fn named(rng: &mut Rng, from: Sender<'_>) -> [u8; 6] {
    match rng.u8(..8) {
        0 => super::guards::host(rng.u8(..super::guards::HOSTS)),
        1 => {
            let mut mac = from.mac;
            mac[rng.usize(..6)] ^= 1 << rng.u8(..8);
            mac
        }
        _ => from.mac,
    }
}

/// RFC 826, also as probes and announcements (RFC 5227).
fn arp(rng: &mut Rng, from: Sender<'_>) -> Packet {
    let mut head = [0, 1, 8, 0, 6, 4, 0, rng.u8(1..3)];
    if rng.u8(..12) == 0 {
        head[rng.usize(..8)] ^= 1 << rng.u8(..8);
    }
    let sender = if rng.u8(..3) == 0 { [0; 4] } else { host4(rng) };
    // An announcement is for the sender's own address.
    let target = if rng.u8(..4) == 0 { sender } else { host4(rng) };
    let bytes = [&head[..], &named(rng, from), &sender, &[0; 6], &target, from.mark];
    (ARP, bytes.concat())
}

/// An IPv6 header with what follows it.
fn ipv6_header(rng: &mut Rng, next: u8, payload: &[u8]) -> Vec<u8> {
    let [a, b] = (payload.len() as u16).to_be_bytes();
    [&[0x60, rng.u8(..4) << 4, 0, 0, a, b, next, 255], &host6(rng)[..], &host6(rng), payload]
        .concat()
}
