//! What must not be taken for an attack: what containers and virtual machines leave to their
//! devices every day. It arrives, on the node and behind either tunnel, as if they had done all of
//! it themselves.

use etherparse::PacketBuilder;
use sillon_rig::{
    Family, Frame, Tag, Undone,
    frame::BROADCAST,
    undone::{TCP4, TCP6, UDP, compensate},
};

use crate::{
    attacks::{
        frames::*,
        lan::{ATTACKER, VICTIM},
        undone::*,
    },
    common::{datagram, mac},
};

/// A whole frame, where the header of its transport is, and its checksum in that.
type Whole = (&'static str, Frame, usize, usize);

/// Over IPv4 or IPv6, to one address: TCP or UDP.
fn packet(is_tcp: bool, is_v6: bool, payload: &[u8]) -> Frame {
    let ethernet = PacketBuilder::ethernet2(mac(ATTACKER), mac(VICTIM));
    let ip = if is_v6 {
        ethernet.ipv6(link_local(ATTACKER).octets(), link_local(VICTIM).octets(), 64)
    } else {
        ethernet.ipv4([10, 0, 0, ATTACKER], [10, 0, 0, VICTIM], 64)
    };
    let mut bytes = Vec::new();
    let written = if is_tcp {
        ip.tcp(4000, 4001, 7, 1024).ack(7).write(&mut bytes, payload)
    } else {
        ip.udp(4000, 4001).write(&mut bytes, payload)
    };
    written.unwrap();
    Frame(bytes)
}

/// With `options` behind the IP header; no transport's checksum counts them.
fn with_options(mut frame: Frame, is_v6: bool, options: &[u8]) -> Frame {
    let len = options.len() as u16;
    if is_v6 {
        let (next, payload) = (frame.0[20], u16::from_be_bytes([frame.0[18], frame.0[19]]));
        frame.0[18..20].copy_from_slice(&(payload + len).to_be_bytes());
        frame.0[20] = DESTINATION;
        frame.0.splice(54..54, [&[next, (len / 8 - 1) as u8][..], &options[2..]].concat());
        return frame;
    }
    let total = u16::from_be_bytes([frame.0[16], frame.0[17]]) + len;
    frame.0[14] += (len / 4) as u8;
    frame.0[16..18].copy_from_slice(&total.to_be_bytes());
    frame.0.splice(34..34, options.iter().copied());
    let header = Undone::checksum(14, 10);
    let end = 34 + options.len();
    frame.0[24..26].fill(0);
    header.finish(&mut frame.0[..end]);
    frame
}

fn ordinary() -> Vec<Whole> {
    let udp = |is_v6| packet(false, is_v6, WORD);
    let tcp = |is_v6| packet(true, is_v6, WORD);
    // A header of SCTP (RFC 9260) has its checksum 8 bytes in; who leaves it to a device by
    // virtio's header gets it wrong, and nothing else.
    let mut sctp = udp(false);
    sctp.0[23] = 132;
    sctp.0.extend([0; 8]);
    let pad = [1, 1, 1, 1, 1, 1, 1, 1];
    let pad6 = [0, 0, 1, 4, 0, 0, 0, 0];
    vec![
        ("UDP over IPv4", udp(false), 34, 6),
        ("UDP over IPv6", udp(true), 54, 6),
        ("TCP over IPv4", tcp(false), 34, 16),
        ("TCP over IPv6", tcp(true), 54, 16),
        ("UDP behind IPv4 options", with_options(udp(false), false, &pad), 42, 6),
        ("TCP behind IPv4 options", with_options(tcp(false), false, &pad[..4]), 38, 16),
        ("UDP behind an extension header", with_options(udp(true), true, &pad6), 62, 6),
        ("TCP behind an extension header", with_options(tcp(true), true, &pad6), 62, 16),
        ("SCTP", sctp, 34, 8),
    ]
}

/// Takes the checksum out of a whole frame, and says where it was. What stands in its place is what
/// makes it come out (the pseudo header).
pub fn leave(whole: &Frame, start: usize, offset: usize) -> (Undone, Frame) {
    let (undone, at) = (Undone::checksum(start, offset), start + offset);
    let mut left = whole.clone();
    let sum = u16::from_be_bytes([whole.0[at], whole.0[at + 1]]);
    compensate(&mut left.0, undone, at, sum);
    (undone, left)
}

fn is_left_and_arrives(is_machine: bool, family: Family) {
    let mut bench = Bench::new(is_machine);
    // A tap is refused at XDP.
    for at in EVERYWHERE.into_iter().filter(|at| !is_machine || at.0 == "tc") {
        // Tags of the attachment, and one that is the operator's.
        let ways = [
            ("untagged", "untagged", vec![], vec![]),
            ("dot1q 10", "untagged", vec![Tag::c(10)], vec![]),
            ("qinq 300.301", "dot1q 10", vec![Tag::s(300), Tag::c(301)], vec![]),
            ("qinq 300", "port", vec![Tag::s(300)], vec![Tag::c(7)]),
        ];
        for (own, theirs, tags, inside) in ways {
            let [remote, back] = [1, 0].map(|edge| bench.fabric.vtep(edge, family));
            let file = bench.file(at).segment("alder-lan", 100, "lan", &[remote]);
            bench.bring(at, &file.attach("alder-lan", "p0", own).attach("alder-lan", "p1", theirs));
            let far = bench.fabric.file(1).port_at("p0", "access", "tc");
            let far = far.segment("alder-lan", 100, "lan", &[back]);
            bench.bring_far(&far.attach("alder-lan", "p0", theirs));
            let out = if theirs == "dot1q 10" { vec![Tag::c(10)] } else { vec![] };
            for is_known in [false, true] {
                if is_known {
                    let hello = datagram(VICTIM, BROADCAST, "hello").tagged(&out);
                    bench.near.wire.send(&hello).unwrap();
                }
                bench.forget();
                // From port to port at XDP nobody makes a checksum that is left: see
                // docs/explanation/hooks.md.
                if is_known && at.0 == "xdp" {
                    continue;
                }
                for (name, mut whole, start, offset) in ordinary() {
                    if !is_known {
                        whole.0[..6].copy_from_slice(&BROADCAST);
                    }
                    let (undone, left) = leave(&whole, start, offset);
                    let before = [&tags[..], &inside].concat();
                    let undone = undone.moved(4 * before.len());
                    bench.attacker.send(undone, &left.tagged(&before));
                    let wanted = whole.tagged(&[&out[..], &inside].concat());
                    let receivers =
                        [&bench.near, &bench.far].into_iter().take(if is_known { 1 } else { 2 });
                    for receiver in receivers {
                        let came = receiver.expect(|came| came.contains(WORD));
                        assert_eq!(
                            came.as_ref(),
                            Some(&wanted),
                            "{name} from {own} to {theirs} at {at:?}, known: {is_known}: {:?}",
                            bench.fabric.edges[0].drops()
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn checksums_that_containers_leave_to_their_device_are_made() {
    is_left_and_arrives(false, Family::V4);
}

#[test]
fn checksums_that_virtual_machines_leave_to_their_device_are_made() {
    is_left_and_arrives(true, Family::V6);
}

/// Super-packets of TCP and of UDP (USO) arrive with every byte, whole or taken apart, near and
/// far.
#[test]
fn super_packets_that_are_what_they_say_arrive() {
    /// Bytes in a packet, and packets.
    const SIZE: usize = 1000;
    const PACKETS: usize = 9;
    let payload: Vec<u8> = (0..SIZE * PACKETS).map(|at| (at / SIZE) as u8 + b'0').collect();
    for is_machine in [false, true] {
        let mut bench = Bench::new(is_machine);
        for (at, family) in [(("tc", "tc"), Family::V4), (("tc", "xdp"), Family::V6)] {
            let [remote, back] = [1, 0].map(|edge| bench.fabric.vtep(edge, family));
            let file = bench.file(at).segment("alder-lan", 100, "lan", &[remote]);
            let file =
                file.attach("alder-lan", "p0", "untagged").attach("alder-lan", "p1", "untagged");
            bench.bring(at, &file);
            let far = bench.fabric.file(1).port_at("p0", "access", "tc");
            let far = far.segment("alder-lan", 100, "lan", &[back]);
            bench.bring_far(&far.attach("alder-lan", "p0", "untagged"));
            bench.forget();
            for (is_tcp, is_v6) in [(true, false), (true, true), (false, false), (false, true)] {
                let whole = packet(is_tcp, is_v6, &payload);
                let start = if is_v6 { 54 } else { 34 };
                let (undone, left) = leave(&whole, start, if is_tcp { 16 } else { 6 });
                let kind = match (is_tcp, is_v6) {
                    (true, false) => TCP4,
                    (true, true) => TCP6,
                    (false, _) => UDP,
                };
                let header = start + if is_tcp { 20 } else { 8 };
                bench.attacker.send(undone.segments(kind, header, SIZE as u16), &left);
                for receiver in [&bench.near, &bench.far] {
                    let mut came = vec![0; PACKETS];
                    while came.iter().sum::<usize>() < SIZE * PACKETS {
                        let is_it = |frame: &Frame| frame.0.len() > header + SIZE - 1;
                        let frame = receiver.expect(is_it).unwrap_or_else(|| {
                            panic!(
                                "TCP {is_tcp}, IPv6 {is_v6}, {at:?}, machine {is_machine}: \
                                    {came:?} {:?}",
                                bench.fabric.edges[0].drops()
                            )
                        });
                        for byte in &frame.0[header..] {
                            came[usize::from(byte - b'0')] += 1;
                        }
                    }
                    assert_eq!(came, [SIZE; PACKETS], "TCP {is_tcp}, IPv6 {is_v6}");
                }
            }
        }
    }
}
