//! A tag that a container's kernel leaves to the device (`tx-vlan-hw-insert`), as it does for a
//! VLAN device: it is beside the data on its way over the veth, where native XDP does not see it.
//! Whose the frame is, that tag says and not what is behind it.

use std::time::Instant;

use sillon_rig::{Fabric, Frame, NodeFile, Own, Tag, Underlay, Wire, frame::BROADCAST};

use crate::common::{SILENCE, comes, datagram, fabric, mac, soon};

/// Hooks of the container's port, and of the one where alder and birch have a host each.
const HOOKS: [(&str, &str); 2] = [("xdp", "xdp"), ("xdp", "tc")];
/// Hosts behind `p1`.
const ALDERS: u8 = 8;
const BIRCHS: u8 = 9;

/// A container on `p0` whose frames get a tag, and both operators' hosts on `p1`.
struct Bench {
    fabric: Fabric,
    container: Wire,
    tag: Tag,
    hosts: Wire,
}

/// An operator's segment, its port and the tags there.
type Place = (&'static str, &'static str, &'static str);

impl Bench {
    fn new(tag: Tag, (from, to): (&str, &str), places: &[Place]) -> Self {
        let mut fabric = fabric(Underlay::Direct);
        let [container, hosts] = ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap());
        let netns = &container.netns;
        let on = ["-K", "eth0", "txvlan", "on", "tx-vlan-stag-hw-insert", "on"];
        netns.run("ethtool", &on).unwrap();
        let file = fabric.file(0).port_at("p0", "access", from).port_at("p1", "access", to);
        let file = file.segment("alder-lan", 100, "lan", &[]).segment("birch-lan", 200, "lan", &[]);
        let attach =
            |file: NodeFile, (segment, port, encap): &Place| file.attach(segment, port, encap);
        let file = places.iter().fold(file, attach);
        fabric.edges[0].start(&file).unwrap();
        Self { fabric, container, tag, hosts }
    }

    /// Has the host be learned where its frames with these tags come in.
    fn learn(&self, host: u8, tags: &[Tag]) {
        let hello = datagram(host, BROADCAST, "hello").tagged(tags);
        self.hosts.send(&hello).unwrap();
        let edge = &self.fabric.edges[0];
        let is_known = || {
            let fdb = edge.show("fdb").unwrap();
            fdb.iter().any(|entry| entry["mac"] == format!("02:00:00:00:00:{host:02x}"))
        };
        assert!(soon(is_known), "{host}");
        self.container.drain().unwrap();
    }

    /// What of a frame with the tag beside it comes to the hosts' port in a while, with these tags.
    fn seen(&self, frame: &Frame) -> Vec<Vec<Tag>> {
        self.hosts.drain().unwrap();
        let netns = &self.container.netns;
        let _pushing = netns.enter(|| Ok(Own::pushing("eth0", self.tag)?)).unwrap();
        self.container.send(frame).unwrap();
        let end = Instant::now() + SILENCE;
        let mut seen = Vec::new();
        while let Some(frame) = self
            .hosts
            .expect(end.saturating_duration_since(Instant::now()), |frame| {
                frame.contains(b"tagged")
            })
            .unwrap()
        {
            seen.push(frame.tags());
        }
        seen
    }
}

fn birchs_frame(to: [u8; 6]) -> Frame {
    datagram(7, to, "tagged")
}

/// The frame is whose its tag is, and not that of the port's untagged attachment.
#[test]
fn a_tag_beside_the_data_is_the_frames_own_at_xdp() {
    for at in HOOKS {
        let places = [
            ("alder-lan", "p0", "untagged"),
            ("birch-lan", "p0", "dot1q 200"),
            ("alder-lan", "p1", "dot1q 100"),
            ("birch-lan", "p1", "dot1q 201"),
        ];
        let bench = Bench::new(Tag::c(200), at, &places);
        bench.learn(ALDERS, &[Tag::c(100)]);
        bench.learn(BIRCHS, &[Tag::c(201)]);
        bench.container.send(&datagram(6, mac(ALDERS), "alder's own")).unwrap();
        assert!(comes(&bench.hosts, "alder's own"), "{at:?}");
        for to in [BROADCAST, mac(BIRCHS), mac(ALDERS)] {
            // More than once: also when the flow's decision is cached.
            for round in 0..3 {
                let seen = bench.seen(&birchs_frame(to));
                assert_eq!(seen, [[Tag::c(201)]], "{at:?} to {to:?}, round {round}");
            }
        }
    }
}

/// Nor is it taken for the tag behind it.
#[test]
fn a_tag_beside_the_data_is_not_overlooked_for_the_one_behind_it() {
    for at in HOOKS {
        let places = [
            ("alder-lan", "p0", "dot1q 100"),
            ("birch-lan", "p0", "qinq 200.100"),
            ("alder-lan", "p1", "untagged"),
            ("birch-lan", "p1", "dot1q 201"),
        ];
        let bench = Bench::new(Tag::s(200), at, &places);
        bench.learn(ALDERS, &[]);
        bench.learn(BIRCHS, &[Tag::c(201)]);
        for to in [BROADCAST, mac(BIRCHS), mac(ALDERS)] {
            let seen = bench.seen(&birchs_frame(to).tagged(&[Tag::c(100)]));
            assert_eq!(seen, [[Tag::c(201)]], "{at:?} to {to:?}");
        }
    }
}

/// A tag that is nobody's is dropped for that.
#[test]
fn a_tag_beside_the_data_that_is_nobodys_is_dropped_at_xdp() {
    for at in HOOKS {
        let places = [
            ("alder-lan", "p0", "untagged"),
            ("birch-lan", "p0", "dot1q 200"),
            ("alder-lan", "p1", "untagged"),
        ];
        let bench = Bench::new(Tag::c(300), at, &places);
        bench.learn(ALDERS, &[]);
        for to in [BROADCAST, mac(ALDERS)] {
            let dropped = || bench.fabric.edges[0].dropped("p0", "no-attachment").unwrap();
            let before = dropped();
            assert_eq!(bench.seen(&birchs_frame(to)), [] as [Vec<Tag>; 0], "{at:?} to {to:?}");
            assert!(soon(|| dropped() > before), "{at:?} to {to:?}");
        }
    }
}

/// Where a port has one operator alone, what is beside the data decides nothing; but it does not
/// leave with the frame either, where it is another's tag.
#[test]
fn a_tag_beside_the_data_does_not_leave_by_a_port_where_it_is_a_rivals() {
    for at in HOOKS {
        for encap in ["untagged", "port"] {
            let places = [
                ("alder-lan", "p0", encap),
                ("alder-lan", "p1", "dot1q 100"),
                ("birch-lan", "p1", "dot1q 200"),
            ];
            let bench = Bench::new(Tag::c(200), at, &places);
            bench.learn(ALDERS, &[Tag::c(100)]);
            for to in [BROADCAST, mac(ALDERS)] {
                let seen = bench.seen(&birchs_frame(to));
                let is_birchs = |tags: &Vec<Tag>| tags.first().is_none_or(|tag| tag.vid == 200);
                assert!(!seen.iter().any(is_birchs), "{at:?} {encap} to {to:?}: {seen:?}");
            }
        }
    }
}

/// A port whose tags are all its operator's carries this one like any other.
#[test]
fn a_tag_beside_the_data_is_carried_by_a_port_that_is_transparent() {
    for at in HOOKS {
        let places = [("alder-lan", "p0", "port"), ("alder-lan", "p1", "port")];
        let bench = Bench::new(Tag::c(200), at, &places);
        bench.learn(ALDERS, &[]);
        for to in [BROADCAST, mac(ALDERS)] {
            assert_eq!(bench.seen(&birchs_frame(to)), [[Tag::c(200)]], "{at:?} to {to:?}");
        }
    }
}
