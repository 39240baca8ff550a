//! `sillon verify`: finds nothing on a node at work, and finds each entry that somebody else has
//! written into a map.

mod drift;
mod foreign;
mod kinds;
mod mutate;
mod raw;

use aya::{
    Pod,
    maps::{Array, HashMap},
};
use serde_json::Value;
use sillon_abi::{
    Attachment, ClassKey, DropKey, Drops, Endpoint, EthertypeKey, FdbEntry, FdbKey, FloodKey,
    Guards, Label, Mac, NodeEntry, PathEntry, PortEntry, Rate, Rates, RemoteEntry, ScopeKind,
    Segment, TunnelEntry, TunnelKey, map,
};
use sillon_rig::{Fabric, Node, Tag, Underlay, Wire, frame::BROADCAST};

use crate::common::maps::{self, element, entries, expect, opened, pin, verified};
use crate::common::{comes, datagram, fabric, soon};

/// alder and birch share a port and a remote; both have learned addresses.
fn at_work() -> (Fabric, Vec<Wire>) {
    at_work_with("")
}

/// The same, with these keys of the node.
fn at_work_with(keys: &str) -> (Fabric, Vec<Wire>) {
    let mut fabric = fabric(Underlay::Direct);
    let wires: Vec<Wire> =
        ["p0", "p1"].into_iter().map(|port| fabric.plug(0, port).unwrap()).collect();
    let file = fabric.file(0).with_node_keys(keys).port("p0", "access").port("p1", "access");
    let file = file.segment("alder-lan", 100, "lan", &["10.99.0.2"]).segment(
        "birch-lan",
        200,
        "lan",
        &["10.99.0.2", "fd99::2"],
    );
    let file = file.segment("cedar-line", 300, "line", &["10.99.0.2"]).segment(
        "cedar-tree",
        400,
        "tree",
        &[],
    );
    let file = file.attach("alder-lan", "p0", "untagged").key("prefixes", "[\"10.0.0.0/24\"]");
    let file = file.key("ethertypes", "[\"ipv4\", \"arp\"]");
    let file = file.attach("alder-lan", "p1", "dot1q 1").key("macs", "[\"02:00:00:00:00:09\"]");
    let file = file.attach("birch-lan", "p0", "dot1q 2").attach("birch-lan", "p1", "untagged");
    let file = file
        .attach("cedar-line", "p0", "qinq 3.4")
        .attach("cedar-tree", "p1", "qinq 5")
        .key("role", "\"leaf\"");
    fabric.edges[0].start(&file).unwrap();
    wires[0].send(&datagram(1, BROADCAST, "alder")).unwrap();
    assert!(comes(&wires[1], "alder"));
    wires[0].send(&datagram(1, BROADCAST, "birch").tagged(&[Tag::c(2)])).unwrap();
    assert!(comes(&wires[1], "birch"));
    // The agent would put right what the tests write.
    fabric.edges[0].stop().unwrap();
    (fabric, wires)
}

/// Writes something else into a hash, and back again.
fn with_entry<K: Pod + Send + Sync, V: Pod + Send + Sync>(
    node: &Node,
    name: &'static str,
    key: K,
    value: V,
    check: impl FnOnce(),
) {
    let write = |value: Option<V>| {
        node.netns
            .enter(|| {
                let mut map = opened::<HashMap<_, K, V>>(name);
                let before = map.get(&key, 0).ok();
                match value {
                    Some(value) => map.insert(key, value, 0)?,
                    None => map.remove(&key)?,
                }
                Ok(before)
            })
            .unwrap()
    };
    let before = write(Some(value));
    check();
    write(before);
}

fn with_element<V: Pod + Send + Sync>(
    node: &Node,
    name: &'static str,
    index: u32,
    change: impl FnOnce(&mut V),
    check: impl FnOnce(),
) {
    let before: V = element(node, name, index);
    let mut value = before;
    change(&mut value);
    let write = |value: V| {
        node.netns.enter(|| Ok(opened::<Array<_, V>>(name).set(index, value, 0)?)).unwrap()
    };
    write(value);
    check();
    write(before);
}

struct Ids {
    alder: u32,
    birch: u32,
    /// alder's and birch's attachments on `p0`.
    alder_p0: (u32, Attachment),
    birch_p0: (u32, Attachment),
    alder_segment: Segment,
}

fn ids(node: &Node) -> Ids {
    let segments: Vec<(u32, Segment)> = entries(node, map::SEGMENTS);
    let of_vni = |vni| *segments.iter().find(|(_, segment)| segment.vni == vni).unwrap();
    let ((alder, alder_segment), (birch, _)) = (of_vni(100), of_vni(200));
    let classes: Vec<(ClassKey, u32)> = entries(node, map::CLASSES);
    let on_p0 = |uid, outer| {
        let attachments = classes.iter().filter(|(class, _)| class.outer == outer);
        let mut attachments =
            attachments.map(|(_, id)| (*id, element::<Attachment>(node, map::ATTACHMENTS, *id)));
        attachments.find(|(_, attachment)| attachment.segment == uid).unwrap()
    };
    Ids { alder, birch, alder_p0: on_p0(alder, 0), birch_p0: on_p0(birch, 2), alder_segment }
}

#[test]
fn a_node_at_work_is_in_order() {
    let (fabric, _wires) = at_work();
    let report = verified(&fabric.edges[0]);
    assert_eq!(report["violations"].as_array().unwrap().len(), 0, "{report:#}");
    for (what, count) in [
        ("attachments", 6),
        ("segments", 4),
        ("FDB entries", 3),
        ("configured MACs", 1),
        ("own MACs", 3),
        ("prefixes", 2),
        ("ethertypes", 2),
        ("tunnel sources", 4),
        ("ports", 3),
    ] {
        assert_eq!(report["checked"][what], count, "{what} in {report:#}");
    }
    let text = fabric.edges[0].sillon(&["verify"]).unwrap();
    assert!(String::from_utf8_lossy(&text.stdout).contains("everything is where it belongs"));
}

/// Ports that are not there, or stay at another hook than they were asked for last, are left out by
/// the agent, and are nobody's fault.
#[test]
fn a_node_that_leaves_something_out_is_in_order() {
    let (mut fabric, _wires) = at_work();
    fabric.edges[0].restart().unwrap();
    let node = &fabric.edges[0];
    node.netns.ip("link set up0 down\nlink set up0 name upx\nlink set upx up").unwrap();
    let is_left_out = || format!("{:?}", node.show("left-out").unwrap()).contains("up0");
    assert!(soon(is_left_out), "{:?}", node.show("left-out").unwrap());
    let is_in_order = || verified(node)["violations"].as_array().unwrap().is_empty();
    assert!(soon(is_in_order), "{:#}", verified(node));
    assert!(!node.log().contains("drift"), "{}", node.log());
}

#[test]
fn what_leads_out_of_a_segment_is_found_in_each_map() {
    let (fabric, _wires) = at_work();
    let node = &fabric.edges[0];
    let Ids { alder, birch, alder_p0, birch_p0, alder_segment } = ids(node);
    let birchs = Endpoint::attachment(birch_p0.0);
    with_entry(node, map::CLASSES, alder_p0.1.class, birch_p0.0, || {
        expect(node, "classes", "p0 untagged", &["birch"]);
    });
    with_element(
        node,
        map::ATTACHMENTS,
        alder_p0.0,
        |one: &mut Attachment| one.segment = birch,
        || {
            expect(
                node,
                "flood lists",
                "alder-lan leads to p0 untagged, which is of birch-lan",
                &["alder", "birch"],
            );
        },
    );
    with_entry(node, map::VNIS, 100u32, birch, || {
        expect(node, "VNIs", "VNI 100", &["alder", "birch"])
    });
    let tunnels: Vec<(TunnelKey, TunnelEntry)> = entries(node, map::TUNNELS);
    let (key, tunnel) = tunnels.into_iter().find(|(key, _)| key.vni == 100).unwrap();
    with_entry(node, map::TUNNELS, key, TunnelEntry { segment: birch, ..tunnel }, || {
        expect(
            node,
            "tunnel sources",
            "VNI 100 from 10.99.0.2 leads to birch-lan",
            &["alder", "birch"],
        );
    });
    let learned: Vec<(FdbKey, FdbEntry)> = entries(node, map::FDB);
    let host = FdbKey::new(alder, Mac::new([2, 0, 0, 0, 0, 1]));
    let (key, entry) = learned.into_iter().find(|(key, _)| *key == host).unwrap();
    with_entry(node, map::FDB, key, FdbEntry { endpoint: birchs, ..entry }, || {
        expect(
            node,
            "FDB",
            "02:00:00:00:00:01 in alder-lan leads to p0 dot1q 2, which is of birch-lan",
            &["alder", "birch"],
        );
    });
    with_entry(node, map::FLOOD, FloodKey { list: alder_segment.list, index: 0 }, birchs, || {
        expect(
            node,
            "flood lists",
            "the flood of alder-lan leads to p0 dot1q 2",
            &["alder", "birch"],
        );
    });
    with_element(
        node,
        map::PORTS,
        alder_p0.1.class.ifindex,
        |port: &mut PortEntry| port.whole = birch_p0.0,
        || {
            expect(node, "attachments", "no frame comes to the attachment p0 untagged", &["alder"]);
        },
    );
    assert_eq!(verified(node)["violations"], Value::Array(Vec::new()), "all is as it was");
}

#[test]
fn what_is_stale_or_dangling_is_found_in_each_map() {
    let (fabric, _wires) = at_work();
    let node = &fabric.edges[0];
    let Ids { alder, alder_p0, alder_segment, .. } = ids(node);
    let more = Segment { members: alder_segment.members + 1, ..alder_segment };
    with_entry(node, map::SEGMENTS, alder, more, || {
        expect(node, "flood lists", "has gaps", &["alder"])
    });
    let other = Segment { mtu: 1400, ..alder_segment };
    with_entry(node, map::SEGMENTS, alder, other, || {
        expect(node, "attachments", "treats frames otherwise", &["alder"])
    });
    let nobody = FloodKey { list: 999, index: 0 };
    with_entry(node, map::FLOOD, nobody, Endpoint::attachment(alder_p0.0), || {
        expect(node, "flood lists", "of no segment's list", &[]);
    });
    let labels: Vec<(u32, Label)> = entries(node, map::LABELS);
    with_entry(node, map::LABELS, 77u32, labels[0].1, || {
        expect(node, "labels", "is not there", &[])
    });
    with_element(
        node,
        map::NODE,
        0,
        |node: &mut NodeEntry| node.next_uid = 1,
        || {
            expect(node, "node", "will be given out again", &["alder"]);
        },
    );
    with_element(
        node,
        map::REMOTES,
        1,
        |remote: &mut RemoteEntry| remote.addr.0[7] ^= 1,
        || {
            expect(node, "tunnel sources", "is counted for another remote", &[]);
        },
    );
    let path =
        (1..8).find(|id| element::<PathEntry>(node, map::PATHS, *id).header_len != 0).unwrap();
    with_element(
        node,
        map::PATHS,
        path,
        |path: &mut PathEntry| path.header[16] ^= 1,
        || {
            expect(node, "paths", "another destination", &[]);
        },
    );
    with_element(
        node,
        map::PATHS,
        path,
        |path: &mut PathEntry| path.ifindex = alder_p0.1.class.ifindex,
        || {
            expect(node, "paths", "goes out of p0, which is no uplink", &[]);
        },
    );
    node.netns.run("rm", &[&pin(&format!("links/ingress-{}", alder_p0.1.class.ifindex))]).unwrap();
    let report = verified(node);
    assert!(report["violations"].to_string().contains("port p0 has no program"), "{report:#}");
}

#[test]
fn limits_that_are_not_what_they_say_are_found() {
    let (fabric, _wires) = at_work();
    let node = &fabric.edges[0];
    let (id, _) = ids(node).alder_p0;
    let storms = "the attachment p0 untagged looks at other limits than it has";
    with_element(
        node,
        map::RATES,
        id,
        |rates: &mut Rates| rates.storm[0] = Rate::default(),
        || expect(node, "rates", storms, &["alder"]),
    );
    with_element(
        node,
        map::RATES,
        id,
        |rates: &mut Rates| rates.egress.excess = Rate::bytes(1_000_000, 10_000),
        || expect(node, "rates", storms, &["alder"]),
    );
    with_element(
        node,
        map::ATTACHMENTS,
        id,
        |attachment: &mut Attachment| attachment.guards |= Guards::POLICED_IN,
        || expect(node, "rates", storms, &["alder"]),
    );
    let bucket = "a bucket of p0 untagged fills at another rate than it says";
    let changes: [fn(&mut Rates); 3] = [
        |rates| rates.storm[1].price /= 2,
        |rates| rates.storm[2].depth += 1,
        |rates| {
            rates.ingress.committed = Rate { rate: 2_000_000, ..Rate::bytes(1_000_000, 10_000) }
        },
    ];
    for change in changes {
        with_element(node, map::RATES, id, change, || expect(node, "rates", bucket, &["alder"]));
    }
    assert_eq!(verified(node)["violations"], Value::Array(Vec::new()), "all is as it was");
}

#[test]
fn drops_that_would_not_be_counted_are_found() {
    let (fabric, _wires) = at_work();
    let node = &fabric.edges[0];
    let (id, entry) = ids(node).alder_p0;
    let keys = [
        (ScopeKind::Attachment, id, "p0 untagged", &["alder"][..]),
        (ScopeKind::Segment, entry.segment, "alder-lan", &["alder"][..]),
        (ScopeKind::Port, entry.class.ifindex, "p0", &[][..]),
    ];
    for (scope, id, name, operators) in keys {
        let key = DropKey { scope: scope as u32, id };
        let taken = |node: &Node, remove: bool| {
            let edit = || {
                let mut map = opened::<HashMap<_, DropKey, Drops>>(map::DROPS);
                if remove {
                    map.remove(&key)?
                } else {
                    map.insert(key, Drops::NONE, 0)?
                }
                Ok(())
            };
            node.netns.enter(edit).unwrap();
        };
        taken(node, true);
        expect(
            node,
            "drop counters",
            &format!("what is dropped at {name} is not counted"),
            operators,
        );
        taken(node, false);
    }
    let nobodys = DropKey { scope: ScopeKind::Attachment as u32, id: 999 };
    with_entry(node, map::DROPS, nobodys, Drops::NONE, || {
        expect(node, "drop counters", "#999 is not there", &[])
    });
    assert_eq!(verified(node)["violations"], Value::Array(Vec::new()), "all is as it was");
}

#[test]
fn what_guards_do_not_say_is_found_in_each_map() {
    let (fabric, _wires) = at_work();
    let node = &fabric.edges[0];
    let Ids { alder, alder_p0, birch_p0, .. } = ids(node);
    let macs: Vec<(FdbKey, Endpoint)> = entries(node, map::MACS);
    let (key, endpoint) = macs[0];
    assert_eq!((macs.len(), key.segment), (1, alder));
    with_entry(node, map::MACS, key, Endpoint::attachment(birch_p0.0), || {
        expect(node, "configured MACs", "is configured, and the FDB has it otherwise", &["alder"]);
        expect(
            node,
            "configured MACs",
            "leads to p0 dot1q 2, which is of birch-lan",
            &["alder", "birch"],
        );
    });
    with_entry(node, map::FDB, key, FdbEntry::learned(endpoint, u64::MAX), || {
        expect(node, "configured MACs", "the FDB has it otherwise", &["alder"]);
    });
    let nobodys = FdbKey::new(alder, Mac::new([2, 0, 0, 0, 0, 77]));
    with_entry(node, map::FDB, nobodys, FdbEntry::configured(endpoint), || {
        expect(node, "FDB", "02:00:00:00:00:4d in alder-lan is nobody's", &["alder"]);
    });
    let port: PortEntry = element(node, map::PORTS, alder_p0.1.class.ifindex);
    let own = FdbKey::new(alder, port.mac);
    with_entry(node, map::FDB, own, FdbEntry::learned(endpoint, u64::MAX), || {
        expect(node, "FDB", "which is the node's own, was learned in alder-lan", &["alder"]);
    });
    with_element(
        node,
        map::NODE,
        0,
        |entry: &mut NodeEntry| entry.own_macs = 0,
        || {
            expect(node, "own MACs", "the MAC of port p0, is believed", &[]);
        },
    );
    with_entry(node, map::OWN_MACS, Mac::new([2, 0, 0, 0, 0, 88]), 0u32, || {
        expect(node, "own MACs", "02:00:00:00:00:58 is no port's", &[]);
    });
    let ethertype = |attachment| EthertypeKey { attachment, ethertype: 0x88cc, pad: 0 };
    with_entry(node, map::ETHERTYPES, ethertype(birch_p0.0), 0u32, || {
        expect(node, "ethertypes", "those of p0 dot1q 2 are not asked for", &["birch"]);
    });
    with_entry(node, map::ETHERTYPES, ethertype(999), 0u32, || {
        expect(node, "ethertypes", "1 of them are of no attachment", &[]);
    });
    with_element(
        node,
        map::PORTS,
        alder_p0.1.class.ifindex,
        |port: &mut PortEntry| port.flags = PortEntry::PEERS,
        || expect(node, "ports", "p0 lets out other control frames", &[]),
    );
    let guards = |bit: u16| move |one: &mut Attachment| one.guards ^= bit;
    for (bit, of, words) in [
        (Guards::PREFIXES, "prefixes", "those of p0 untagged are not asked for"),
        (Guards::FIXED_MACS, "configured MACs", "p0 untagged may have none at all"),
        (Guards::CONTROL, "guards", "do not agree on what crosses it"),
    ] {
        with_element(node, map::ATTACHMENTS, alder_p0.0, guards(bit), || {
            expect(node, of, words, &["alder"])
        });
    }
    with_element(
        node,
        map::ATTACHMENTS,
        alder_p0.0,
        |one: &mut Attachment| one.mac_limit = 0,
        || {
            expect(node, "FDB", "p0 untagged has 1 addresses, more than its 0", &["alder"]);
        },
    );
    assert_eq!(verified(node)["violations"], Value::Array(Vec::new()), "all is as it was");
}
