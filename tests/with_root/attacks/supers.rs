//! Super-packets that pass for one packet: a frame that says "take me apart" (virtio's `gso_size`)
//! in a shape that nobody counts. Whoever charges it as one packet, or finds it too small to be
//! several, lets through a thousand.

use etherparse::PacketBuilder;
use sillon_rig::{
    Frame, Undone,
    undone::{ECN, TCP4, TCP6, UDP, UDP_FRAGMENTS},
};

use crate::{
    attacks::{
        frames::*,
        lan::{ATTACKER, VICTIM},
        undone::*,
    },
    common::{mac, soon},
};

/// The reason for which they are dropped.
const REASON: &str = "segment-shape";
/// How often each is sent.
const TIMES: usize = 5;
/// Bytes of the payloads.
const PAYLOAD: usize = 1200;
/// Where the packet behind an Ethernet header has its first payload, without options.
const BEHIND_V4: usize = 14 + 20;
const BEHIND_V6: usize = 14 + 40;

/// Over both IP versions: a datagram or a segment with all fields but its checksum right, which is
/// left to the device.
fn packet(is_tcp: bool, is_v6: bool) -> (Undone, Frame) {
    let ethernet = PacketBuilder::ethernet2(mac(ATTACKER), mac(VICTIM));
    let ip = if is_v6 {
        ethernet.ipv6(link_local(ATTACKER).octets(), link_local(VICTIM).octets(), 64)
    } else {
        ethernet.ipv4([10, 0, 0, ATTACKER], [10, 0, 0, VICTIM], 64)
    };
    let payload: Vec<u8> = WORD.iter().copied().cycle().take(PAYLOAD).collect();
    let mut bytes = Vec::new();
    let (offset, written) = if is_tcp {
        (16, ip.tcp(4000, 4001, 7, 1024).ack(7).write(&mut bytes, &payload))
    } else {
        (6, ip.udp(4000, 4001).write(&mut bytes, &payload))
    };
    written.unwrap();
    (Undone::checksum(if is_v6 { BEHIND_V6 } else { BEHIND_V4 }, offset), Frame(bytes))
}

/// The same behind a header of destination options, as many as it takes.
fn behind_options((undone, frame): (Undone, Frame), eights: u8) -> (Undone, Frame) {
    let len = usize::from(eights) * 8;
    let mut bytes = frame.0;
    let next = bytes[14 + 6];
    bytes[14 + 6] = DESTINATION;
    let whole = (bytes.len() - BEHIND_V6 + len) as u16;
    bytes[14 + 4..14 + 6].copy_from_slice(&whole.to_be_bytes());
    // PadN over all that is left.
    let mut options = vec![0; len];
    options[..4].copy_from_slice(&[next, eights - 1, 1, len as u8 - 4]);
    bytes.splice(BEHIND_V6..BEHIND_V6, options);
    (undone.moved(len), Frame(bytes))
}

/// A shape that the kernel would take apart, and into how many packets at least.
type Shape = (&'static str, Undone, Frame);

fn shapes() -> Vec<Shape> {
    let many = |(undone, frame): (Undone, Frame), kind: u8, size: u16| {
        let header = usize::from(undone.start) + if kind & 0x7f == UDP { 8 } else { 20 };
        (undone.segments(kind, header, size), frame)
    };
    let named = |name, (undone, frame)| (name, undone, frame);
    let options = |is_tcp| behind_options(packet(is_tcp, true), 1);
    vec![
        named("TCP behind options, 8 bytes each", many(options(true), TCP6, 8)),
        named("TCP behind options, 1 byte each", many(options(true), TCP6, 1)),
        named("TCP behind options, 1000 bytes each", many(options(true), TCP6, 1000)),
        named("UDP behind options, 8 bytes each", many(options(false), UDP, 8)),
        named("UDP behind long options", many(behind_options(packet(false, true), 16), UDP, 1)),
        named("TCP over IPv4, 1 byte each", many(packet(true, false), TCP4, 1)),
        named("TCP over IPv4, 47 bytes each", many(packet(true, false), TCP4, 47)),
        named("TCP over IPv6, 8 bytes each", many(packet(true, true), TCP6, 8)),
        named("UDP over IPv4, 1 byte each", many(packet(false, false), UDP, 1)),
        named("UDP over IPv6, 8 bytes each", many(packet(false, true), UDP, 8)),
        named("TCP with ECN, 1 byte each", many(packet(true, false), TCP4 | ECN, 1)),
        named("IPv4's type on an IPv6 packet", many(packet(true, true), TCP4, 500)),
        named("IPv6's type on an IPv4 packet", many(packet(true, false), TCP6, 500)),
        named("fragments of UDP", many(packet(false, false), UDP_FRAGMENTS, 8)),
        named("fragments of UDP over IPv6", many(packet(false, true), UDP_FRAGMENTS, 8)),
    ]
}

/// Whether the kernel takes it from a sender at all, and how many packets it makes of it with
/// nobody between.
fn makes(undone: Undone, frame: &Frame) -> usize {
    packets_as_they_leave(undone, frame).map_or(0, |came| came.len())
}

fn pass_for_one(is_machine: bool) {
    let shapes: Vec<_> =
        shapes().into_iter().map(|shape| (makes(shape.1, &shape.2), shape)).collect();
    let works = shapes.iter().filter(|(packets, _)| *packets > 2).count();
    assert!(
        works >= 8,
        "the attack works: {:?}",
        shapes.iter().map(|one| (one.0, one.1.0)).collect::<Vec<_>>()
    );
    // A container's own kernel makes fragments before they leave: what comes are packets like
    // others.
    let is_whole = |shape: &Shape| is_machine || shape.1.gso_type != UDP_FRAGMENTS;
    let shapes: Vec<_> = shapes.into_iter().filter(|(_, shape)| is_whole(shape)).collect();
    let mut bench = Bench::new(is_machine);
    let mut seen = Vec::new();
    for at in [("tc", "tc"), ("tc", "xdp")] {
        let remote = bench.fabric.vtep(1, sillon_rig::Family::V4);
        let file = bench.file(at).segment("alder-lan", 100, "lan", &[remote]);
        let file = file.attach("alder-lan", "p0", "untagged").attach("alder-lan", "p1", "untagged");
        bench.bring(at, &file);
        for is_known in [false, true] {
            if is_known {
                let hello = crate::common::datagram(VICTIM, [0xff; 6], "hello");
                bench.near.wire.send(&hello).unwrap();
            }
            bench.forget();
            for (packets, (name, undone, frame)) in &shapes {
                let before = bench.dropped(REASON);
                let taken = (0..TIMES).filter(|_| bench.attacker.try_send(*undone, frame)).count();
                // Of what is empty, the kernel does not say what it is.
                let is_it = |came: &&Frame| came.0.is_empty() || came.contains(WORD);
                let came = bench.near.seen_now().iter().filter(is_it).count();
                if came > 0 {
                    let how = if is_known { "known unicast" } else { "flooded" };
                    seen.push(format!("{came} packets of {taken}: {name}, {how} at {at:?}"));
                }
                // What it says of a kind that the kernel knows of another reaches nobody: it may be
                // dropped by that.
                let least = if *packets > 0 { taken as u64 } else { 0 };
                if !soon(|| bench.dropped(REASON) - before >= least) {
                    let dropped = bench.dropped(REASON) - before;
                    seen.push(format!("{dropped} of {taken} dropped: {name} at {at:?}"));
                }
            }
        }
    }
    assert!(seen.is_empty(), "{seen:#?}");
}

#[test]
fn super_packets_of_a_container_that_pass_for_one() {
    pass_for_one(false);
}

#[test]
fn super_packets_of_a_virtual_machine_that_pass_for_one() {
    pass_for_one(true);
}
