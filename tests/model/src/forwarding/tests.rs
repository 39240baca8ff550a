//! The model against the documents' own sentences: bytes are written out here, so that the model is
//! not only compared with what it should find wrong.

use std::{collections::BTreeMap, net::IpAddr};

use sillon_abi::DropReason;
use sillon_rig::NodeFile;

use super::{
    Copy, Counts, Device, Flood, Node, Place, Scope, Verdict, Way,
    police::{Clock, Colour, Direction, Looked, Moment, Witness},
};

/// All happens in one moment, in which nothing grows: then nothing is open.
struct Still;

impl Witness for Still {
    fn latest(&mut self, _: &Counts, _: Looked) -> Moment {
        0
    }

    fn colour(&mut self, _: &Counts, _: usize, _: Direction) -> Colour {
        panic!("nothing is open");
    }

    fn was_flooded(&mut self, _: &Counts, _: usize, _: DropReason) -> bool {
        panic!("nothing is open");
    }
}

impl Node {
    /// A frame comes in, and no time passes.
    pub fn receive(&mut self, device: usize, frame: &[u8]) -> Verdict {
        self.receive_at(device, frame, &mut Clock::new(0, &mut Still))
    }

    /// So do the copies leave.
    fn flood(&mut self, flood: &Flood) -> Vec<Copy> {
        self.flood_at(flood, &mut Clock::new(0, &mut Still))
    }
}

fn file() -> NodeFile {
    let file = NodeFile::new("model", &["10.99.0.1"]);
    let file = file.port("p0", "access").port("p1", "handover").port("up0", "uplink");
    let file = file.segment("alder-lan", 100, "lan", &["10.99.0.2", "10.99.0.3"]);
    let file = file.key("mac_limit", 2).key("dscp", 46).segment("birch-tree", 200, "tree", &[]);
    let file = file.attach("alder-lan", "p0", "untagged").attach("alder-lan", "p1", "qinq 200.300");
    let file = file.attach("birch-tree", "p0", "dot1q 100").key("role", "\"leaf\"");
    file.attach("birch-tree", "p1", "dot1q 101").key("role", "\"leaf\"")
}

const P0: usize = 0;
const P1: usize = 1;
const UP0: usize = 2;
const A: [u8; 6] = [2, 0, 0, 0, 0, 1];
const B: [u8; 6] = [2, 0, 0, 0, 0, 2];
const ALL: [u8; 6] = [0xff; 6];
const FAR: [u8; 4] = [10, 99, 0, 2];

fn node() -> Node {
    let (config, _) = sillon::model::parse("model", file().text()).unwrap();
    let names = ["p0", "p1", "up0"].into_iter().enumerate();
    let devices =
        names.map(|(at, name)| Device { name: name.to_owned(), mac: [2, 9, 9, 9, 9, at as u8] });
    let way = Way { device: UP0, next_hop: [2, 8, 8, 8, 8, 8], mtu: 1600 };
    let ways = BTreeMap::from([(IpAddr::from(FAR), vec![way])]);
    Node::new(config, devices.collect(), ways)
}

/// A frame with these words behind its addresses.
fn frame(to: [u8; 6], from: [u8; 6], words: &[u16]) -> Vec<u8> {
    let words: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    [&to[..], &from, &words].concat()
}

/// VXLAN to the node around a frame, with this TOS.
fn tunnelled(source: [u8; 4], vni: u8, tos: u8, inner: &[u8]) -> Vec<u8> {
    let udp =
        [&[0xc0, 0, 0x12, 0xb5][..], &(inner.len() as u16 + 16).to_be_bytes(), &[0, 0]].concat();
    let vxlan = [8, 0, 0, 0, 0, 0, vni, 0];
    let mut ip = etherparse::Ipv4Header::new(
        inner.len() as u16 + 16,
        64,
        etherparse::IpNumber::UDP,
        source,
        [10, 99, 0, 1],
    )
    .unwrap();
    ip.ecn = (tos & 3).try_into().unwrap();
    ip.header_checksum = ip.calc_header_checksum();
    let ethernet = frame([2, 9, 9, 9, 9, UP0 as u8], [2, 8, 8, 8, 8, 8], &[0x0800]);
    [&ethernet[..], &ip.to_bytes(), &udp, &vxlan, inner].concat()
}

fn sent(verdict: Verdict) -> Copy {
    match verdict {
        Verdict::Sent(copy) => copy,
        other => panic!("{other:?}"),
    }
}

#[test]
fn known_unicast_leaves_in_the_tags_of_its_exit_with_its_priority() {
    let mut node = node();
    assert!(matches!(
        node.receive(P1, &frame(ALL, B, &[0x88a8, 200, 0x8100, 300, 0x88b5, 1])),
        Verdict::Flooded(_)
    ));
    // A priority tag on an untagged attachment.
    let copy = sent(node.receive(P0, &frame(B, A, &[0x8100, 0xb000, 0x88b5, 7])));
    assert_eq!(copy.to, Place::Attachment(1));
    assert_eq!(
        copy.ways,
        [(P1, frame(B, A, &[0x88a8, 0xb000 | 200, 0x8100, 0xb000 | 300, 0x88b5, 7]))]
    );
}

#[test]
fn no_frame_falls_through_to_another_attachment() {
    let mut node = node();
    let at_port = |reason| Verdict::Dropped(Scope::Port(P0), reason);
    assert_eq!(
        node.receive(P0, &frame(ALL, A, &[0x8100, 101, 0x88b5])),
        at_port(DropReason::NoAttachment)
    );
    assert_eq!(
        node.receive(P0, &frame(ALL, A, &[0x88a8, 100, 0x88b5])),
        at_port(DropReason::NoAttachment)
    );
    assert_eq!(
        node.receive(P0, &frame(ALL, A, &[0x9100, 100, 0x88b5])),
        at_port(DropReason::UnknownTpid)
    );
    assert_eq!(
        node.receive(P0, &frame(ALL, A, &[0x8100, 4095, 0x88b5])),
        at_port(DropReason::ReservedVid)
    );
    // Double tagging: the inner tag would name the other port's attachment.
    let nested = Verdict::Dropped(Scope::Attachment(2), DropReason::NestedTag);
    assert_eq!(node.receive(P0, &frame(ALL, A, &[0x8100, 100, 0x8100, 101, 0x88b5])), nested);
}

#[test]
fn a_flood_reaches_every_other_point_and_what_is_out_of_reach_is_counted() {
    let mut node = node();
    let Verdict::Flooded(flood) = node.receive(P0, &frame(ALL, A, &[0x0806, 5])) else {
        panic!("no flood")
    };
    let copies = node.flood(&flood);
    let to: Vec<Place> = copies.iter().map(|copy| copy.to).collect();
    assert_eq!(to, [Place::Attachment(1), Place::Remote(FAR.into())]);
    assert_eq!(
        node.counts.drops,
        BTreeMap::from([((Scope::Attachment(0), DropReason::Unreachable), 1)])
    );
    // 14 + 20 + 8 + 8 bytes around 16; DSCP 46 (RFC 2474), DF, port 4789, VNI 100.
    let (device, bytes) = &copies[1].ways[0];
    assert_eq!((*device, bytes.len()), (UP0, 66));
    assert_eq!(
        bytes[..24],
        *[
            &frame([2, 8, 8, 8, 8, 8], [2, 9, 9, 9, 9, 2], &[0x0800])[..],
            &[0x45, 184, 0, 52, 0, 0, 0x40, 0, 64, 17]
        ]
        .concat()
    );
    assert_eq!(bytes[26..34], [10, 99, 0, 1, 10, 99, 0, 2]);
    assert_eq!(bytes[36..50], [0x12, 0xb5, 0, 32, 0, 0, 8, 0, 0, 0, 0, 0, 100, 0]);
    assert_eq!(bytes[50..], frame(ALL, A, &[0x0806, 5]));
}

#[test]
fn a_tunnel_is_of_its_vni_and_its_source_together() {
    let mut node = node();
    let inner = frame(ALL, B, &[0x88b5, 1]);
    let receive =
        |node: &mut Node, source, vni| node.receive(UP0, &tunnelled(source, vni, 0, &inner));
    assert!(matches!(receive(&mut node, FAR, 100), Verdict::Flooded(_)));
    let unknown = Verdict::Dropped(Scope::Segment(1), DropReason::UnknownSource);
    assert_eq!(receive(&mut node, FAR, 200), unknown);
    assert_eq!(
        receive(&mut node, FAR, 7),
        Verdict::Dropped(Scope::Port(UP0), DropReason::UnknownVni)
    );
    // To somebody else, it is the host's.
    let mut other = tunnelled(FAR, 100, 0, &inner);
    other[33] = 9;
    assert_eq!(node.receive(UP0, &other), Verdict::Host);
}

#[test]
fn what_came_out_of_a_tunnel_goes_into_none() {
    let mut node = node();
    node.receive(UP0, &tunnelled(FAR, 100, 0, &frame(ALL, B, &[0x88b5])));
    let from_third = tunnelled([10, 99, 0, 3], 100, 0, &frame(B, A, &[0x88b5]));
    let dropped = Verdict::Dropped(Scope::Segment(0), DropReason::SplitHorizon);
    assert_eq!(node.receive(UP0, &from_third), dropped);
}

#[test]
fn leaves_reach_no_leaf() {
    let mut node = node();
    let leaf = frame(ALL, A, &[0x8100, 100, 0x88b5]);
    let Verdict::Flooded(flood) = node.receive(P0, &leaf) else { panic!("no flood") };
    assert_eq!(node.flood(&flood), []);
    let to_leaf = frame(A, B, &[0x8100, 101, 0x88b5]);
    assert_eq!(
        node.receive(P1, &to_leaf),
        Verdict::Dropped(Scope::Attachment(3), DropReason::LeafToLeaf)
    );
}

#[test]
fn a_segment_with_its_share_learns_no_more_but_follows_a_move() {
    let mut node = node();
    for host in 1..=3 {
        node.receive(P0, &frame(ALL, [2, 0, 0, 0, 0, host], &[0x88b5]));
    }
    assert_eq!(
        (node.counts.learned(0), node.counts.refused.get(&Scope::Segment(0))),
        (2, Some(&1))
    );
    node.receive(P1, &frame(ALL, A, &[0x88a8, 200, 0x8100, 300, 0x88b5]));
    assert_eq!(node.counts.fdb[&(0, A)].place, Place::Attachment(1));
}

/// A 20-byte IPv4 header with this TOS and a right checksum.
fn packet(ecn: u8) -> Vec<u8> {
    let mut ip =
        etherparse::Ipv4Header::new(0, 64, etherparse::IpNumber::UDP, [10; 4], [11; 4]).unwrap();
    ip.ecn = ecn.try_into().unwrap();
    ip.header_checksum = ip.calc_header_checksum();
    ip.to_bytes().to_vec()
}

#[test]
fn congestion_on_the_underlay_reaches_the_packet_with_a_right_checksum() {
    let mut node = node();
    let inner = |ecn| [frame(ALL, B, &[0x0800]), packet(ecn)].concat();
    let Verdict::Flooded(flood) = node.receive(UP0, &tunnelled(FAR, 100, 3, &inner(2))) else {
        panic!("no flood")
    };
    assert_eq!(flood.frame[14..], packet(3));
    let lost = Verdict::Dropped(Scope::Segment(0), DropReason::EcnNotCapable);
    assert_eq!(node.receive(UP0, &tunnelled(FAR, 100, 3, &inner(0))), lost);
}

/// MEF 10.3 section 12, IEEE 802.1Q clause 6.9.3, RFC 2597: a frame that EIR alone covers may be
/// dropped first, and all that is the owner's says so.
#[test]
fn a_yellow_frame_is_marked_where_the_owner_may_and_nowhere_else() {
    let file = NodeFile::new("model", &["10.99.0.1"])
        .profile("it")
        .key("eir", "\"64 kbit/s\"")
        .key("ebs", "\"1600 B\"");
    let file = ["p0", "p1"]
        .into_iter()
        .fold(file, |file, port| file.port(port, "access"))
        .port("up0", "uplink");
    let file = file.segment("alder-lan", 100, "lan", &["10.99.0.2"]).key("dscp", 10);
    let file = file.attach("alder-lan", "p0", "qinq 7").key("ingress", "\"it\"");
    let file = file.attach("alder-lan", "p1", "qinq 8").attach("alder-lan", "p1", "untagged");
    let (config, _) = sillon::model::parse("model", file.text()).unwrap();
    let names = ["p0", "p1", "up0"].into_iter().enumerate();
    let devices =
        names.map(|(at, name)| Device { name: name.to_owned(), mac: [2, 9, 9, 9, 9, at as u8] });
    let way = Way { device: UP0, next_hop: [2, 8, 8, 8, 8, 8], mtu: 1600 };
    let mut node =
        Node::new(config, devices.collect(), BTreeMap::from([(IpAddr::from(FAR), vec![way])]));
    // S-tag 7, and a priority tag of the operator's own with PCP 2.
    let yellow = frame(ALL, A, &[0x88a8, 0xa007, 0x8100, 0x4000, 0x88b5, 1]);
    let Verdict::Flooded(flood) = node.receive(P0, &yellow) else { panic!("no flood") };
    assert!(flood.yellow);
    let copies = node.flood(&flood);
    let to = |place| &copies.iter().find(|copy| copy.to == place).unwrap().ways[0].1;
    let stacked = frame(ALL, A, &[0x88a8, 0x5008, 0x8100, 0x4000, 0x88b5, 1]);
    assert_eq!(
        *to(Place::Attachment(1)),
        stacked,
        "DEI in the tag of the attachment, and the carried one as it was"
    );
    assert_eq!(*to(Place::Attachment(2)), frame(ALL, A, &[0x88b5, 1]));
    let tunnel = to(Place::Remote(FAR.into()));
    assert_eq!(
        (tunnel[15], tunnel[45]),
        (12 << 2, 2),
        "AF12 for AF11, and the mark behind the flags"
    );
    assert_eq!(tunnel[50..], frame(ALL, A, &[0x8100, 0x4000, 0x88b5, 1]));
    // At the other node the mark becomes DEI again.
    let mut marked = tunnelled(FAR, 100, 0, &frame(ALL, B, &[0x88b5, 2]));
    marked[45] = 2;
    let Verdict::Flooded(flood) = node.receive(UP0, &marked) else { panic!("no flood") };
    let copies = node.flood(&flood);
    assert_eq!(copies[0].ways[0].1, frame(ALL, B, &[0x88a8, 0x1007, 0x88b5, 2]));
    // 26 tokens are left of 1600 when 60 were taken so often; then it is red.
    let passed =
        (0..40).filter(|_| !matches!(node.receive(P0, &yellow), Verdict::Dropped(..))).count();
    assert_eq!(passed, 25, "a frame is charged 60 bytes at least");
}
