//! The model against the documents' own sentences, on bytes that are written out.

use std::{collections::BTreeMap, net::IpAddr};

use sillon_rig::NodeFile;

use super::{Heard, Question};
use crate::forwarding::{Device, Node, Place, Verdict};

const A: [u8; 6] = [2, 0, 0, 0, 0, 1];
const B: [u8; 6] = [2, 0, 0, 0, 0, 2];
const ALL: [u8; 6] = [0xff; 6];

fn file() -> NodeFile {
    let file = NodeFile::new("model", &["10.99.0.1"]).port("p0", "access").port("p1", "access");
    let file = file.segment("alder-lan", 100, "lan", &[]).key("mac_limit", 2).key("suppress", true);
    file.attach("alder-lan", "p0", "dot1q 7").attach("alder-lan", "p1", "untagged")
}

fn parse(file: &NodeFile) -> sillon::model::NodeConfig {
    sillon::model::parse("model", file.text()).unwrap().0
}

fn node(file: &NodeFile) -> Node {
    let device = |(at, name): (usize, &str)| Device {
        name: name.to_owned(),
        mac: [2, 9, 9, 9, 9, at as u8],
    };
    Node::new(
        parse(file),
        ["p0", "p1"].into_iter().enumerate().map(device).collect(),
        BTreeMap::new(),
    )
}

/// Untagged.
fn arp(to: [u8; 6], from: [u8; 6], operation: u8, sender: u8, target: ([u8; 6], u8)) -> Vec<u8> {
    let head = [8, 6, 0, 1, 8, 0, 6, 4, 0, operation];
    [&to[..], &from, &head, &from, &[10, 0, 0, sender], &target.0, &[10, 0, 0, target.1, 0xaa]]
        .concat()
}

/// In the tag of the first attachment.
fn tagged(frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &[0x81, 0, 0xe0, 7], &frame[12..]].concat()
}

fn answer(verdict: Verdict, question: Question) -> (Place, Vec<u8>) {
    match verdict {
        Verdict::Answered(is, mut copy) if is == question => (copy.to, copy.ways.remove(0).1),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_becomes_the_reply_in_its_own_tags() {
    let mut node = node(&file());
    assert!(matches!(node.receive(1, &arp(ALL, B, 1, 2, ([0; 6], 2))), Verdict::Flooded(_)));
    let verdict = node.receive(0, &tagged(&arp(ALL, A, 1, 1, ([0; 6], 2))));
    let reply = tagged(&arp(A, B, 2, 2, (A, 1)));
    assert_eq!(answer(verdict, Question::Arp), (Place::Attachment(0), reply));
    assert_eq!(node.counts.answered, BTreeMap::from([((0, Question::Arp), 1)]));
    assert_eq!(node.counts.traffic[&Place::Attachment(0)].out_frames, 1);
    // The owner itself, from the same place, and one who asks for nobody's.
    for question in [arp(ALL, B, 1, 2, ([0; 6], 1)), arp(ALL, B, 1, 9, ([0; 6], 9))] {
        let is_answered = matches!(node.receive(1, &question), Verdict::Answered(..));
        assert_eq!(is_answered, question[41] == 1);
    }
}

#[test]
fn a_probe_says_nothing_and_reaches_the_owner() {
    let mut node = node(&file());
    node.receive(1, &arp(ALL, B, 1, 2, ([0; 6], 2)));
    let mut probe = arp(ALL, A, 1, 0, ([0; 6], 2));
    probe[28..32].fill(0);
    assert!(matches!(node.receive(0, &tagged(&probe)), Verdict::Flooded(_)));
    assert_eq!((node.heard, node.counts.bindings.len()), (None, 1));
}

/// RFC 4861 section 4.3, hop limit 255: B asks for fd00::1; the checksum by hand.
fn solicitation(from: [u8; 6], source: u8, target: u8) -> Vec<u8> {
    let address = |host| [&[0xfd, 0][..], &[0; 13], &[host]].concat();
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, target];
    let icmp = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &address(target), &[1, 1], &from].concat();
    message(([0x33, 0x33, 0xff, 0, 0, target], from), (&address(source), &group), icmp)
}

fn advertisement(
    (to, from): ([u8; 6], [u8; 6]),
    flags: u8,
    target: u8,
    whom: Option<u8>,
) -> Vec<u8> {
    let address = |host| [&[0xfd, 0][..], &[0; 13], &[host]].concat();
    let all = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1].to_vec();
    let icmp = [&[136, 0, 0, 0, flags, 0, 0, 0][..], &address(target), &[2, 1], &from].concat();
    message((to, from), (&address(target), &whom.map_or(all, address)), icmp)
}

fn message(
    (to, from): ([u8; 6], [u8; 6]),
    (source, destination): (&[u8], &[u8]),
    icmp: Vec<u8>,
) -> Vec<u8> {
    let (source, destination) =
        (<[u8; 16]>::try_from(source).unwrap(), <[u8; 16]>::try_from(destination).unwrap());
    let mut icmp = icmp;
    let kind = etherparse::Icmpv6Type::Unknown {
        type_u8: icmp[0],
        code_u8: 0,
        bytes5to8: [icmp[4], icmp[5], icmp[6], icmp[7]],
    };
    let checksum = kind.calc_checksum(source, destination, &icmp[8..]).unwrap();
    icmp[2..4].copy_from_slice(&checksum.to_be_bytes());
    let header = [0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255];
    [&to[..], &from, &header, &source, &destination, &icmp].concat()
}

const EVERYBODY: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

#[test]
fn a_solicitation_becomes_the_advertisement_with_the_flags_that_were_heard() {
    let mut node = node(&file());
    // R and O.
    node.receive(0, &tagged(&advertisement((EVERYBODY, A), 0xa0, 1, None)));
    let verdict = node.receive(1, &solicitation(B, 2, 1));
    let reply = advertisement((B, A), 0xe0, 1, Some(2));
    assert_eq!(answer(verdict, Question::Neighbour), (Place::Attachment(1), reply));
    // Who asked has not said whether it is a router, and so is not known by that.
    assert_eq!((node.heard, node.counts.bindings.len()), (Some(Heard::TooLittle), 1));
}

#[test]
fn what_does_not_override_replaces_no_mac() {
    let mut node = node(&file());
    node.receive(0, &tagged(&advertisement((EVERYBODY, A), 0x20, 1, None)));
    node.receive(1, &advertisement((EVERYBODY, B), 0, 1, None));
    assert_eq!(node.heard, Some(Heard::TooLittle));
    node.receive(1, &advertisement((EVERYBODY, B), 0x20, 1, None));
    assert_eq!(node.heard, Some(Heard::Changed));
    // A hint moves it back, and its flags stay.
    node.receive(0, &tagged(&solicitation(A, 1, 3)));
    let claim = node.counts.bindings.values().next().unwrap();
    assert_eq!((claim.mac, claim.overrides, node.heard), (A, true, Some(Heard::Changed)));
}

#[test]
fn a_segment_that_is_full_knows_no_more_and_forgets_nobody() {
    let mut node = node(&file());
    for address in 1..=3 {
        node.receive(1, &arp(ALL, B, 1, address, ([0; 6], address)));
    }
    assert_eq!((node.heard, node.counts.bindings.len()), (Some(Heard::Refused), 2));
    assert_eq!(node.counts.bindings_refused, BTreeMap::from([(0, 1)]));
    node.receive(1, &arp(ALL, B, 1, 1, ([0; 6], 1)));
    assert_eq!(node.heard, Some(Heard::Again));
}

#[test]
fn a_reload_forgets_what_a_guard_would_no_longer_let_pass() {
    let heard = |after: NodeFile| {
        let mut node = node(&file());
        node.receive(1, &arp(ALL, B, 1, 2, ([0; 6], 2)));
        node.reconfigure(parse(&after), BTreeMap::new());
        node.counts.bindings.keys().map(|(_, address)| *address).collect::<Vec<IpAddr>>()
    };
    assert_eq!(heard(file()), [IpAddr::from([10, 0, 0, 2])]);
    assert!(heard(file().key("prefixes", "[\"10.0.0.0/24\"]")).is_empty());
}
