//! Checksums that are left to the device (CHECKSUM_PARTIAL), where "the checksum" is something
//! else: the kernel writes two bytes of the sender's choosing wherever the sender likes, after
//! everybody has looked. RFC 1071 makes any value of the sum one free word away.

use sillon_rig::{
    Frame, Tag, Undone,
    frame::{BROADCAST, Macs},
    undone::compensate,
};

use crate::{
    attacks::{
        frames::*,
        lan::{ATTACKER, VICTIM},
        undone::*,
    },
    common::{datagram, mac, soon, v4, v6},
};

/// The reason for which it is dropped.
const REASON: &str = "checksum-offset";
/// What the kernel lets a virtual machine write over, which has no program between: what is behind
/// so many bytes.
const FIRST: usize = 20;
/// Where a frame's first tag says its VID.
const TCI: usize = 14;
/// How often each is sent.
const TIMES: usize = 10;

/// A frame that becomes `sent` with `wanted` at `target` when the kernel is done with it, once it
/// has the tags `out` in place of `tags`; its last two bytes are free. `sent` is without tags;
/// `target` is meant with the tags `out`.
fn rewrites(
    sent: &Frame,
    (tags, out): (&[Tag], &[Tag]),
    target: usize,
    wanted: u16,
) -> (Undone, Frame) {
    let mut sent = sent.clone();
    if !sent.0.len().is_multiple_of(2) {
        sent.0.push(0);
    }
    sent.0.extend([0; 2]);
    let mut leaves = sent.tagged(out);
    let at_exit = Undone::checksum(target, 0);
    let free = leaves.0.len() - 2;
    compensate(&mut leaves.0, at_exit, free, wanted);
    // The kernel does it if nobody is in between.
    let came = as_it_leaves(at_exit, &leaves).unwrap();
    assert_eq!(came.0[target..target + 2], wanted.to_be_bytes(), "the attack works: {came:?}");
    let end = sent.0.len();
    sent.0[end - 2..].copy_from_slice(&leaves.0[free..]);
    let start = target + 4 * tags.len() - 4 * out.len();
    (Undone::checksum(start, 0), sent.tagged(tags))
}

/// alder's attachments at `p0` and at the shared port, and birch's there; the tags of the first
/// two.
type Shared = (&'static str, &'static str, &'static str, Vec<Tag>, Vec<Tag>);

/// alder's frames come out of a port that it shares with birch in birch's VLAN, or as one of
/// birch's C-VIDs.
#[test]
fn a_checksum_written_over_the_vid() {
    // The kernel forgets of a checksum that begins in front of what it takes for the packet; with
    // two tags in and one out, the last tag's place is behind that.
    let two = vec![Tag::s(300), Tag::c(301)];
    let one = vec![Tag::s(300), Tag::c(0)];
    let cases: [Shared; 3] = [
        ("qinq 300.301", "dot1q 100", "dot1q 200", two.clone(), vec![Tag::c(100)]),
        ("qinq 300.301", "qinq 100", "qinq 200", two, vec![Tag::s(100)]),
        ("qinq 300", "dot1q 100", "dot1q 200", one, vec![Tag::c(100)]),
    ];
    let forged = |tags: &[Tag], out: &[Tag], to| {
        rewrites(&datagram(ATTACKER, to, "attack!"), (tags, out), TCI, 200)
    };
    let cases = cases.map(|(own, shared, others, tags, out)| {
        let attacks = [BROADCAST, mac(VICTIM)].map(|to| forged(&tags, &out, to));
        (own, shared, others, out, attacks)
    });
    let mut bench = Bench::new(false);
    let mut seen = Vec::new();
    for at in EVERYWHERE {
        for (own, shared, others, out, attacks) in &cases {
            let file = bench.file(at).segment("alder-lan", 100, "lan", &[]);
            let file = file.attach("alder-lan", "p0", own).attach("alder-lan", "p1", shared);
            let file = file.segment("birch-lan", 200, "lan", &[]).attach("birch-lan", "p1", others);
            bench.bring(at, &file.attach("birch-lan", "p2", "untagged"));
            // The victim of what is sent to one address is behind the shared port, in alder's own
            // VLAN.
            bench.near.wire.send(&datagram(VICTIM, BROADCAST, "hello").tagged(out)).unwrap();
            bench.forget();
            let before = bench.dropped(REASON);
            for (name, (undone, frame)) in ["a broadcast", "known unicast"].iter().zip(attacks) {
                (0..TIMES).for_each(|_| bench.attacker.send(*undone, frame));
                let is_escaped = |came: &&Frame| came.contains(WORD) && came.tags() != *out;
                let escaped = bench.near.seen_now().iter().filter(is_escaped).count();
                if escaped > 0 {
                    seen.push(format!(
                        "{escaped} of {TIMES}: {name} from {own} to {shared} at {at:?}"
                    ));
                }
                assert!(
                    !bench.other.seen().iter().any(|frame| frame.contains(WORD)),
                    "{name} in birch's port"
                );
            }
            // What XDP sends to one port, nobody looks at, and nobody makes: the kernel has
            // forgotten it.
            let least = TIMES as u64 * if at.0 == "xdp" { 1 } else { 2 };
            if !soon(|| bench.dropped(REASON) - before >= least) {
                let dropped = bench.dropped(REASON) - before;
                seen.push(format!("{dropped} of {least} dropped from {own} to {shared} at {at:?}"));
            }
        }
    }
    assert!(seen.is_empty(), "{seen:#?}");
}

/// What no guard lets through as it is: what is sent, where what is written over it goes, what that
/// is, and how the victim tells.
fn harmless() -> Vec<(&'static str, Frame, usize, u16)> {
    let macs = Macs { from: mac(ATTACKER), to: BROADCAST };
    let datagram = |from, ports| Frame::udp(macs, (from, [255; 4].into()), ports, WORD);
    let echo = icmpv6(
        from_attacker(),
        link_local(ATTACKER),
        &[],
        &[&[128, 0, 0, 0, 0, 1, 0, 1][..], WORD].concat(),
    );
    let six = Frame::udp(from_attacker(), (v6(ATTACKER), v6(VICTIM)), (1547, 1546), WORD);
    let own = match v4(ATTACKER) {
        std::net::IpAddr::V4(own) => own,
        std::net::IpAddr::V6(_) => unreachable!(),
    };
    let asks = arp(macs, 1, (mac(ATTACKER), own), own);
    let word = |bytes: [u8; 2]| u16::from_be_bytes(bytes);
    vec![
        ("a DHCP offer", datagram(v4(ATTACKER), (1067, 1068)), 36, 68),
        ("a DHCPv6 advertisement", six, 56, 546),
        ("a router advertisement", echo, 54, word([134, 0])),
        (
            "a source outside of its prefixes",
            datagram(v4(ATTACKER), (4000, 4001)),
            28,
            word([0, VICTIM]),
        ),
        ("ARP for another", asks, 30, word([0, VICTIM])),
        ("another MAC", datagram(v4(ATTACKER), (4000, 4001)), 10, word([0, VICTIM])),
        ("another ethertype", datagram(v4(ATTACKER), (4000, 4001)), 12, 0x88cc),
    ]
}

fn evades_the_guards(is_machine: bool) {
    let mut bench = Bench::new(is_machine);
    let mut seen = Vec::new();
    let tags = [Tag::s(300), Tag::c(301)];
    let attacks: Vec<_> = harmless()
        .into_iter()
        .filter(|(_, _, target, _)| !is_machine || target + 8 >= FIRST)
        .map(|(name, sent, target, wanted)| {
            (name, rewrites(&sent, (&tags, &[]), target, wanted), target, wanted.to_be_bytes())
        })
        .collect();
    // A tap is refused at XDP.
    for at in EVERYWHERE.into_iter().filter(|at| !is_machine || at.0 == "tc") {
        let remote = bench.fabric.vtep(1, sillon_rig::Family::V4);
        let file = bench.file(at).segment("alder-lan", 100, "lan", &[remote]).attach(
            "alder-lan",
            "p0",
            "qinq 300.301",
        );
        let file = file.key("macs", format!("[\"02:00:00:00:00:{ATTACKER:02x}\"]"));
        let file = file.key(
            "prefixes",
            format!(
                "[\"10.0.0.{ATTACKER}/32\", \"fe80::{ATTACKER}/128\", \"fd00::{ATTACKER}/128\"]"
            ),
        );
        let file = file.key("ethertypes", "[\"ipv4\", \"arp\", \"ipv6\"]");
        let file = file.attach("alder-lan", "p1", "untagged").key("trusted", "[\"dhcp\", \"ra\"]");
        bench.bring(at, &file);
        bench.forget();
        for (name, (undone, frame), target, wanted) in &attacks {
            (0..TIMES).for_each(|_| bench.attacker.send(*undone, frame));
            let is_rewritten =
                |came: &&Frame| came.contains(WORD) && came.0[*target..*target + 2] == *wanted;
            let came = bench.near.seen_now().iter().filter(is_rewritten).count();
            if came > 0 {
                seen.push(format!("{came} of {TIMES}: {name} at {at:?}"));
            }
        }
        let sent = (attacks.len() * TIMES) as u64;
        if !soon(|| bench.dropped(REASON) == sent) {
            seen.push(format!(
                "{} of {sent} dropped for {REASON} at {at:?}",
                bench.dropped(REASON)
            ));
        }
    }
    assert!(seen.is_empty(), "{seen:#?}");
}

#[test]
fn a_checksum_that_makes_a_frame_what_no_guard_lets_a_container_send() {
    evades_the_guards(false);
}

#[test]
fn a_checksum_that_makes_a_frame_what_no_guard_lets_a_virtual_machine_send() {
    evades_the_guards(true);
}

/// A tunnel of the container's own, whose inner checksum is left to the device: that of the inner
/// header arrives, one that is beside it does not.
#[test]
fn a_checksum_beside_the_header_in_a_tunnel() {
    let inner = datagram(ATTACKER, mac(VICTIM), "attack!");
    let payload = [&[8, 0, 0, 0, 0, 0, 7, 0][..], &inner.0].concat();
    let macs = Macs { from: mac(ATTACKER), to: BROADCAST };
    let whole = Frame::udp(macs, (v4(ATTACKER), v4(VICTIM)), (50_000, 4789), &payload);
    // Behind Ethernet, IPv4 and UDP are the VXLAN header and the inner frame.
    let (vxlan, frame) = (42, 50);
    let (ip, udp) = (frame + 14, frame + 34);
    let lies =
        [(vxlan, 4), (frame, 0), (frame, 12), (ip, 10), (ip, 16), (udp, 0), (udp, 2), (udp, 8)];
    let mut bench = Bench::new(false);
    let file = bench.file(("tc", "tc")).segment("alder-lan", 100, "lan", &[]);
    let file = file.attach("alder-lan", "p0", "untagged").attach("alder-lan", "p1", "untagged");
    bench.bring(("tc", "tc"), &file);
    bench.forget();
    let come =
        |bench: &Bench| bench.near.seen_now().iter().filter(|came| came.contains(WORD)).count();
    (0..TIMES).for_each(|_| bench.attacker.send(Undone::checksum(udp, 6), &whole));
    assert_eq!(come(&bench), TIMES, "{:?}", bench.dropped(REASON));
    for (count, (start, offset)) in (1..).zip(lies) {
        let undone = Undone::checksum(start, offset);
        let left = as_it_leaves(undone, &whole).unwrap();
        assert_ne!(left, whole, "the attack works: {start}+{offset}");
        (0..TIMES).for_each(|_| bench.attacker.send(undone, &whole));
        assert_eq!(come(&bench), 0, "{start}+{offset}");
        assert!(soon(|| bench.dropped(REASON) == count * TIMES as u64), "{start}+{offset}");
    }
}
