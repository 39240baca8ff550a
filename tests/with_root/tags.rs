//! Tags: which attachment a frame belongs to, what becomes of its priority, and that no tag leads
//! into somebody else's segment.

use sillon_rig::{
    Fabric, Family, Frame, Tag, Underlay, Wire,
    frame::{BROADCAST, Macs},
};

use crate::common::{self, PATIENCE, comes, datagram, fabric, mac, soon, stays_away};

/// `p0` is shared; each of its attachments' segments has an untagged port of its own.
const SHARED: [(&str, &str); 4] = [
    ("alder-lan", "untagged"),
    ("birch-lan", "dot1q 100"),
    ("cedar-lan", "qinq 200.300"),
    ("dogwood-lan", "qinq 201"),
];

struct Shared {
    fabric: Fabric,
    shared: Wire,
    /// Of the segments, in the order of [`SHARED`].
    own: Vec<Wire>,
}

fn shared(attached: &[(&str, &str)]) -> Shared {
    let mut fabric = fabric(Underlay::Direct);
    let mut file = fabric.file(0).port("p0", "access");
    let shared = fabric.plug(0, "p0").unwrap();
    let mut own = Vec::new();
    for (number, (segment, encap)) in attached.iter().enumerate() {
        let port = format!("own{number}");
        // A transparent end is needed to see what a transparent attachment carries.
        let at_own = if *encap == "qinq 201" { "port" } else { "untagged" };
        file = file.port(&port, "access").segment(segment, 100 + number as u32, "lan", &[]);
        file = file.attach(segment, "p0", encap).attach(segment, &port, at_own);
        own.push(fabric.plug(0, &port).unwrap());
    }
    fabric.edges[0].start(&file).unwrap();
    Shared { fabric, shared, own }
}

impl Shared {
    /// Which of the segments a frame with these tags comes out of, and how.
    fn comes_out(&self, tags: &[Tag]) -> Vec<(usize, Vec<Tag>)> {
        let word = format!("{tags:?}");
        self.shared.send(&datagram(1, BROADCAST, &word).tagged(tags)).unwrap();
        std::thread::sleep(common::SILENCE);
        let mut came = Vec::new();
        for (number, wire) in self.own.iter().enumerate() {
            let frames = wire.drain().unwrap();
            let ours = frames.iter().filter(|frame| frame.contains(word.as_bytes()));
            came.extend(ours.map(|frame| (number, frame.tags())));
        }
        came
    }
}

#[test]
fn exactly_the_tags_of_an_attachment_lead_to_its_segment() {
    let shared = shared(&SHARED);
    let priority = |tag: Tag| tag.with_priority(5, true);
    let cases = [
        (vec![], Some(0)),
        (vec![Tag::c(0)], Some(0)),
        (vec![priority(Tag::c(0))], Some(0)),
        (vec![Tag::s(0)], Some(0)),
        (vec![Tag::c(100)], Some(1)),
        (vec![priority(Tag::c(100))], Some(1)),
        (vec![Tag::s(200), Tag::c(300)], Some(2)),
        (vec![Tag::s(201)], Some(3)),
        (vec![Tag::s(201), Tag::c(301)], Some(3)),
        (vec![Tag::s(200)], None),
        (vec![Tag::s(200), Tag::c(301)], None),
        (vec![Tag::s(201), Tag::c(301), Tag::c(300)], Some(3)),
        // The right VIDs under the wrong TPID are other tags.
        (vec![Tag::s(100)], None),
        (vec![Tag::c(200)], None),
        (vec![Tag::c(200), Tag::c(300)], None),
        (vec![Tag::c(101)], None),
        (vec![Tag::c(4094)], None),
    ];
    for (tags, wanted) in cases {
        let came: Vec<usize> =
            shared.comes_out(&tags).into_iter().map(|(number, _)| number).collect();
        assert_eq!(came, wanted.into_iter().collect::<Vec<_>>(), "{tags:?}");
    }
}

#[test]
fn a_double_tagged_frame_does_not_hop_into_another_segment() {
    let shared = shared(&SHARED);
    let dropped = |name: &str, reason: &str| shared.fabric.edges[0].dropped(name, reason).unwrap();
    let hops = [
        (vec![Tag::c(0), Tag::c(100)], "p0 untagged"),
        (vec![Tag::c(0), Tag::s(200)], "p0 untagged"),
        (vec![Tag::c(100), Tag::c(100)], "p0 dot1q 100"),
        (vec![Tag::c(100), Tag::s(200)], "p0 dot1q 100"),
        (vec![Tag::s(200), Tag::c(300), Tag::c(100)], "p0 qinq 200.300"),
    ];
    for (tags, name) in hops {
        let before = dropped(name, "nested-tag");
        assert_eq!(shared.comes_out(&tags), [], "{tags:?}");
        assert!(soon(|| dropped(name, "nested-tag") == before + 1), "{tags:?}");
    }
}

#[test]
fn a_tag_without_an_attachment_does_not_fall_through_to_the_untagged_one() {
    let shared = shared(&SHARED[..1]);
    let cases = [
        (vec![Tag::c(1)], "no-attachment"),
        (vec![Tag::s(1)], "no-attachment"),
        (vec![Tag::s(1), Tag::c(1)], "no-attachment"),
        (vec![Tag::c(4095)], "reserved-vid"),
        (vec![Tag { tpid: 0x9100, ..Tag::c(1) }], "unknown-tpid"),
    ];
    for (tags, reason) in cases {
        let before = shared.fabric.edges[0].dropped("p0", reason).unwrap();
        assert_eq!(shared.comes_out(&tags), [], "{tags:?}");
        assert!(
            soon(|| shared.fabric.edges[0].dropped("p0", reason).unwrap() == before + 1),
            "{tags:?} {reason}"
        );
    }
    assert_eq!(shared.comes_out(&[]), [(0, vec![])]);
}

#[test]
fn an_untagged_frame_needs_an_untagged_attachment() {
    let shared = shared(&SHARED[1..2]);
    assert_eq!(shared.comes_out(&[]), []);
    assert_eq!(shared.comes_out(&[Tag::c(0)]), []);
    assert!(soon(|| shared.fabric.edges[0].dropped("p0", "no-attachment").unwrap() == 2));
}

#[test]
fn what_a_transparent_attachment_carries_arrives_as_it_was() {
    let shared = shared(&[("dogwood-lan", "qinq 201")]);
    let inner = [
        vec![],
        vec![Tag::c(1).with_priority(3, false)],
        vec![Tag::s(9), Tag::c(8).with_priority(7, true)],
        vec![Tag::c(1), Tag::c(2), Tag::c(3)],
    ];
    for inner in inner {
        let tags = [&[Tag::s(201)], &inner[..]].concat();
        assert_eq!(shared.comes_out(&tags), [(0, inner)]);
    }
}

/// Every encapsulation with a tag of its own, on both edges, in one segment: `p0` …
const TAGGED: [(&str, &[Tag]); 3] = [
    ("dot1q 100", &[Tag::c(100)]),
    ("qinq 200", &[Tag::s(200)]),
    ("qinq 200.300", &[Tag::s(200), Tag::c(300)]),
];

fn priorities(family: Family) {
    let mut fabric = fabric(Underlay::Direct);
    let wires = [0, 1].map(|edge| {
        let remote = fabric.vtep(1 - edge, family);
        let mut file = fabric.file(edge).segment("alder-lan", 100, "lan", &[remote]);
        for (number, (encap, _)) in TAGGED.iter().enumerate() {
            let name = format!("p{number}");
            file = file.port(&name, "access").attach("alder-lan", &name, encap);
        }
        let wires = [0, 1, 2].map(|number| fabric.plug(edge, &format!("p{number}")).unwrap());
        fabric.edges[edge].start(&file).unwrap();
        wires
    });
    let frame = |from: u8, to, word: &str| {
        let macs = Macs { from: mac(from), to };
        Frame::ethertype(macs, 0x88b5, format!("{word:60}").as_bytes())
    };
    for (number, (_, tags)) in TAGGED.iter().enumerate() {
        wires[1][number].send(&frame(10 + number as u8, BROADCAST, "hello").tagged(tags)).unwrap();
        assert!(comes(&wires[0][0], "hello"));
    }
    let with = |tags: &[Tag], pcp, dei| {
        let mut tags = tags.to_vec();
        tags[0] = tags[0].with_priority(pcp, dei);
        tags
    };
    for (from, to) in (0..9).map(|pair| (pair / 3, pair % 3)) {
        for (pcp, dei) in [(0, false), (5, false), (7, true), (0, true)] {
            // Known unicast goes by XDP, the broadcast by TC: both keep it.
            for dst in [mac(10 + to as u8), BROADCAST] {
                let plain = frame(1, dst, &format!("{from} {to} {pcp} {dei}"));
                wires[0][from].send(&plain.tagged(&with(TAGGED[from].1, pcp, dei))).unwrap();
                let came = wires[1][to]
                    .expect(PATIENCE, |came| came.popped(came.tags().len()) == plain)
                    .unwrap();
                let outer = came.unwrap().tags()[0];
                let wanted = TAGGED[to].1[0].with_priority(pcp, dei);
                assert_eq!(outer, wanted, "{:?} to {:?}, {dst:x?}", TAGGED[from].0, TAGGED[to].0);
            }
        }
    }
}

#[test]
fn priority_and_drop_eligibility_survive_translation_and_tunnel() {
    priorities(Family::V4);
    priorities(Family::V6);
}

#[test]
fn what_no_operator_may_send_is_dropped_for_its_reason() {
    let shared = shared(&SHARED[..1]);
    let send = |from: [u8; 6], to: [u8; 6]| {
        shared
            .shared
            .send(&Frame::ethertype(Macs { from, to }, 0x0800, b"forbidden forbidden"))
            .unwrap();
    };
    send([3, 0, 0, 0, 0, 1], BROADCAST);
    send([0; 6], BROADCAST);
    for last in 0..16 {
        send(mac(1), [0x01, 0x80, 0xc2, 0, 0, last]);
    }
    let dropped = |reason| shared.fabric.edges[0].dropped("p0 untagged", reason).unwrap();
    assert!(soon(|| dropped("link-local-control") == 16));
    assert_eq!((dropped("source-group"), dropped("source-zero")), (1, 1));
    assert!(stays_away(&shared.own[0], "forbidden"));
    send(mac(1), mac(1));
    send(mac(2), BROADCAST);
    assert!(comes(&shared.own[0], "forbidden"));
    assert!(soon(|| dropped("same-exit") == 1), "to itself");
}

#[test]
fn a_port_without_an_attachment_carries_nothing_and_says_nothing() {
    let mut fabric = fabric(Underlay::Direct);
    let [bare, busy] = ["bare", "busy"].map(|port| fabric.plug(0, port).unwrap());
    let file = fabric.file(0).port("bare", "handover").port("busy", "access");
    let file = file.segment("alder-lan", 100, "lan", &[]).attach("alder-lan", "busy", "port");
    fabric.edges[0].start(&file).unwrap();
    bare.drain().unwrap();
    bare.send(&datagram(1, BROADCAST, "anybody")).unwrap();
    assert!(stays_away(&busy, "anybody"));
    assert!(soon(|| fabric.edges[0].dropped("bare", "no-attachment").unwrap() == 1));
    // The node itself speaks there neither: an operator learns nothing of the owner's machine.
    fabric.edges[0]
        .netns
        .ip("addr add 192.0.2.1/24 dev bare\nneigh add 192.0.2.2 lladdr 02:00:00:00:00:09 dev bare")
        .unwrap();
    let _ = fabric.edges[0]
        .netns
        .command("ping")
        .args(["-c", "2", "-W", "1", "-i", "0.1", "192.0.2.2"])
        .output()
        .unwrap();
    assert!(soon(|| fabric.edges[0].dropped("bare", "host-egress").unwrap() >= 2));
    assert_eq!(bare.drain().unwrap(), []);
}
