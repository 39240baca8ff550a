//! What neighbours say and ask about their addresses, as whole frames: mostly as RFC 826 and RFC
//! 4861 have it, so that it is believed and answered, and with one thing that is odd now and then.

use fastrand::Rng;

use super::{ARP, ICMP6, IPV6, Sender, any_host4, any_host6, named, pick};
use crate::fuzz::guards::{HOSTS, host};

const ALL: [u8; 6] = [0xff; 6];
/// How many frames have something odd: one in so many.
const ODD: u8 = 6;

fn is_odd(rng: &mut Rng) -> bool {
    rng.u8(..ODD) == 0
}

/// A frame without tags. What follows the packet is padding, and has the mark.
pub fn frame(rng: &mut Rng, from: Sender<'_>) -> Vec<u8> {
    let (dst, ethertype, packet) = if rng.bool() { arp(rng, from) } else { neighbour(rng, from) };
    let mut frame = [&dst[..], &from.mac, &ethertype.to_be_bytes(), &packet, from.mark].concat();
    frame.resize(frame.len() + rng.usize(..24), 0);
    frame
}

fn somebody(rng: &mut Rng) -> [u8; 6] {
    host(rng.u8(..HOSTS))
}

/// Requests to all and to one, replies, announcements, probes.
fn arp(rng: &mut Rng, from: Sender<'_>) -> ([u8; 6], u16, Vec<u8>) {
    let mut head = [0, 1, 8, 0, 6, 4, 0, 1];
    let (mut sender, mut target) = (any_host4(rng), any_host4(rng));
    let mut dst = ALL;
    match rng.u8(..12) {
        0 => dst = somebody(rng),
        1 | 2 => (head[7], dst) = (2, somebody(rng)),
        3 => (head[7], target) = (2, sender),
        4 => target = sender,
        5 => sender = [0; 4],
        _ => {}
    }
    if is_odd(rng) {
        match rng.u8(..5) {
            0 => head[rng.usize(..8)] ^= 1 << rng.u8(..8),
            1 => sender = odd4(rng),
            2 => target = odd4(rng),
            3 => {
                dst = pick(
                    rng,
                    &[
                        [1, 0, 0x5e, 0, 0, 1],
                        [0x33, 0x33, 0, 0, 0, 1],
                        [0xff, 0xff, 0xff, 0xff, 0xff, 0xfe],
                    ],
                )
            }
            _ => {}
        }
    }
    let says = if is_odd(rng) { named(rng, from) } else { from.mac };
    let whom = if rng.bool() { [0; 6] } else { dst };
    (dst, ARP, [&head[..], &says, &sender, &whom, &target].concat())
}

/// At the edges of what a host may have.
fn odd4(rng: &mut Rng) -> [u8; 4] {
    let edges = [
        [0, 0, 0, 1],
        [0, 255, 255, 255],
        [1, 0, 0, 0],
        [126, 255, 255, 255],
        [127, 0, 0, 1],
        [128, 0, 0, 0],
        [223, 255, 255, 255],
        [224, 0, 0, 0],
        [239, 255, 255, 255],
        [240, 0, 0, 0],
        [255, 255, 255, 254],
        [255; 4],
    ];
    pick(rng, &edges)
}

fn odd6(rng: &mut Rng) -> [u8; 16] {
    let mut address = any_host6(rng);
    match rng.u8(..6) {
        0 => address = [0; 16],
        1 => [address[0], address[1]] = [0xff, 0x02],
        2 => address[..8].fill(0),
        3 => {
            address[..8].fill(0);
            address[7] = 1;
        }
        4 => [address[0], address[1]] = [0xfe, 0xff],
        _ => address[13] = rng.u8(..),
    }
    address
}

fn solicited_node(target: [u8; 16]) -> [u8; 16] {
    let [.., a, b, c] = target;
    [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]
}

/// The MAC of a group (RFC 2464 section 7).
fn group_mac(group: [u8; 16]) -> [u8; 6] {
    let [.., a, b, c, d] = group;
    [0x33, 0x33, a, b, c, d]
}

const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Who says what to whom.
struct Message {
    dst: [u8; 6],
    source: [u8; 16],
    destination: [u8; 16],
    kind: u8,
    flags: u8,
    target: [u8; 16],
    options: Vec<u8>,
}

/// Solicitations to the target's group and to one, also without a source; advertisements to all and
/// to one.
fn neighbour(rng: &mut Rng, from: Sender<'_>) -> ([u8; 6], u16, Vec<u8>) {
    let own = any_host6(rng);
    let other = any_host6(rng);
    let says = if is_odd(rng) { named(rng, from) } else { from.mac };
    let message = if rng.u8(..5) < 2 {
        let flags = rng.u8(..8) << 5;
        let is_for_all = rng.bool();
        let (dst, destination) =
            if is_for_all { (group_mac(ALL_NODES), ALL_NODES) } else { (somebody(rng), other) };
        let flags = if is_for_all && !is_odd(rng) { flags & !0x40 } else { flags };
        let options = [&[2, 1][..], &says].concat();
        // A router may answer for others: the source is not the target.
        let source = if rng.u8(..4) == 0 { any_host6(rng) } else { own };
        Message { dst, source, destination, kind: 136, flags, target: own, options }
    } else {
        let group = solicited_node(other);
        let (dst, destination) = match rng.u8(..8) {
            0 => (somebody(rng), other),
            1 => (somebody(rng), group),
            _ => (group_mac(group), group),
        };
        let (source, options) = match rng.u8(..8) {
            0 => ([0; 16], vec![]),
            _ => (own, [&[1, 1][..], &says].concat()),
        };
        Message { dst, source, destination, kind: 135, flags: 0, target: other, options }
    };
    spoiled(rng, message, from)
}

/// The packet of a message, with something wrong now and then.
fn spoiled(rng: &mut Rng, mut message: Message, from: Sender<'_>) -> ([u8; 6], u16, Vec<u8>) {
    let lie = if is_odd(rng) { rng.u8(..14) } else { u8::MAX };
    match lie {
        0 => message.source = odd6(rng),
        1 => message.target = odd6(rng),
        2 => {
            let odd = odd6(rng);
            message.destination = pick(rng, &[ALL_NODES, solicited_node(odd), odd]);
        }
        3 => message.dst = pick(rng, &[ALL, [0x33, 0x33, 0, 0, 0, 1], [1, 0, 0x5e, 0, 0, 1]]),
        // None, the other one, a nonce (RFC 3971) or another before or behind it, and a length that
        // lies.
        4 => message.options.clear(),
        5 if !message.options.is_empty() => {
            message.options.splice(..1, [rng.u8(..4)]).for_each(drop)
        }
        6 => message.options.extend([14, 1, 1, 2, 3, 4, 5, 6]),
        7 => message.options.splice(..0, [14, 1, 1, 2, 3, 4, 5, 6]).for_each(drop),
        8 if !message.options.is_empty() => message.options[1] = rng.u8(..3),
        9 => message.kind = rng.u8(133..138),
        _ => {}
    }
    let code = u8::from(lie == 10);
    let spare = if rng.u8(..8) == 0 { rng.u8(..) } else { 0 };
    let mut icmp = [
        &[message.kind, code, 0, 0, message.flags | spare & 0x1f, 0, 0, spare][..],
        &message.target,
    ]
    .concat();
    icmp.extend(&message.options);
    let length = icmp.len() as u16;
    let mut checksum = checksum(message.source, message.destination, &icmp);
    if lie == 11 {
        checksum = pick(rng, &[0, 0xffff, checksum ^ 1 << 3, checksum.swap_bytes()]);
    }
    icmp[2..4].copy_from_slice(&checksum.to_be_bytes());
    let hops = if lie == 12 { pick(rng, &[254, 64, 0]) } else { 255 };
    let said = if lie == 13 {
        pick(rng, &[0, length - 8, length + 8, length + from.mark.len() as u16])
    } else {
        length
    };
    let class = if rng.u8(..4) == 0 { rng.u8(..) } else { 0 };
    let label = if rng.u8(..4) == 0 { rng.u8(..) } else { 0 };
    let [a, b] = said.to_be_bytes();
    let header = [0x60 | class >> 4, class << 4 | label & 0xf, label, 0, a, b, ICMP6, hops];
    (message.dst, IPV6, [&header[..], &message.source, &message.destination, &icmp].concat())
}

/// RFC 4443 section 2.3.
fn checksum(source: [u8; 16], destination: [u8; 16], icmp: &[u8]) -> u16 {
    let covered =
        [&source[..], &destination, &(icmp.len() as u32).to_be_bytes(), &[0, 0, 0, ICMP6], icmp]
            .concat();
    let sum: u32 = covered
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}
