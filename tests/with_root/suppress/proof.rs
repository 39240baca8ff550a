//! `sillon verify` finds bindings that do not belong where they are.

use aya::{
    Pod,
    maps::{Array, HashMap},
};
use serde_json::Value;
use sillon_abi::{Addr, Attachment, Binding, BindingKey, Claim, Endpoint, Guards, Segment, map};
use sillon_rig::{Fabric, Node, Underlay, Wire};

use crate::{
    common::maps::{element, entries, expect, opened, verified},
    common::{fabric, soon},
    suppress::frames::*,
};

/// alder and birch suppress, and have said who they are; cedar does not.
fn at_work() -> (Fabric, [Wire; 2]) {
    let mut fabric = fabric(Underlay::Direct);
    let wires = ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap());
    let mut file = fabric.file(0).port("p0", "access").port("p1", "access");
    for (name, vni, suppress) in
        [("alder-lan", 100, true), ("birch-lan", 200, true), ("cedar-lan", 300, false)]
    {
        file = file.segment(name, vni, "lan", &["10.99.0.2"]).key("suppress", suppress);
    }
    file = file.attach("alder-lan", "p0", "untagged").key("prefixes", "[\"10.0.0.0/24\"]");
    file = file.key("bindings", "[\"10.0.0.9 02:00:00:00:00:09\"]");
    file = file.attach("birch-lan", "p1", "untagged").attach("cedar-lan", "p1", "dot1q 3");
    fabric.edges[0].start(&file).unwrap();
    wires[0].send(&announces(1, 1)).unwrap();
    wires[1].send(&announces(1, 1)).unwrap();
    assert!(soon(|| fabric.edges[0].show("bindings").unwrap().len() == 3));
    // An agent removes what is of no segment, maybe before anybody looks.
    fabric.edges[0].stop().unwrap();
    (fabric, wires)
}

fn write<K: Pod + Sync, V: Pod + Sync>(node: &Node, name: &str, key: &K, value: Option<&V>) {
    node.netns
        .enter(|| {
            let mut map = opened::<HashMap<_, K, V>>(name);
            match value {
                Some(value) => map.insert(key, value, 0)?,
                None => map.remove(key)?,
            }
            Ok(())
        })
        .unwrap();
}

fn v4(host: u8) -> Addr {
    Addr::v4(u16::from_ne_bytes([10, 0]), u16::from_ne_bytes([0, host]))
}

#[test]
fn bindings_that_do_not_belong_there_are_found() {
    let (fabric, _wires) = at_work();
    let node = &fabric.edges[0];
    let report = verified(node);
    assert_eq!(report["violations"], Value::Array(Vec::new()), "{report:#}");
    assert_eq!(
        (&report["checked"]["bindings"], &report["checked"]["configured bindings"]),
        (&2.into(), &1.into())
    );
    let segments: Vec<(u32, Segment)> = entries(node, map::SEGMENTS);
    let uid = |vni| segments.iter().find(|(_, segment)| segment.vni == vni).unwrap().0;
    let (alder, birch, cedar) = (uid(100), uid(200), uid(300));
    let heard: Vec<(BindingKey, Binding)> = entries(node, map::BINDINGS);
    let (key, own) = *heard.iter().find(|(key, _)| key.segment == alder).unwrap();
    let (_, birchs) = *heard.iter().find(|(key, _)| key.segment == birch).unwrap();
    let cedars = (1..4).find(|id| {
        let attachment: Attachment = element(node, map::ATTACHMENTS, *id);
        attachment.segment == cedar
    });
    let cedars = Endpoint::attachment(cedars.unwrap());
    for (changed, words, operators) in [
        (
            Binding { endpoint: birchs.endpoint, ..own },
            "10.0.0.1 in alder-lan leads to p1 untagged, which is of birch-lan",
            &["alder", "birch"][..],
        ),
        (
            Binding { endpoint: Endpoint::attachment(77), ..own },
            "10.0.0.1 in alder-lan leads to attachment #77",
            &["alder"],
        ),
        (
            Binding { segment: birch, ..own },
            "10.0.0.1 in alder-lan has the entry of birch-lan",
            &["alder", "birch"],
        ),
        (
            Binding {
                claim: Claim { mac: sillon_abi::Mac::new([3, 0, 0, 0, 0, 1]), flags: 0 },
                ..own
            },
            "10.0.0.1 in alder-lan is at 03:00:00:00:00:01, which is no station's address",
            &["alder"],
        ),
    ] {
        write(node, map::BINDINGS, &key, Some(&changed));
        expect(node, "bindings", words, operators);
        write(node, map::BINDINGS, &key, Some(&own));
    }
    let (ours, configured) = entries::<BindingKey, Binding>(node, map::FIXED_BINDINGS)[0];
    let claim = Claim { flags: configured.claim.flags ^ Claim::LEAF, ..configured.claim };
    write(node, map::FIXED_BINDINGS, &ours, Some(&Binding { claim, ..configured }));
    let words = "10.0.0.9 in alder-lan is kept as that of a leaf, and p0 untagged is no leaf";
    expect(node, "configured bindings", words, &["alder"]);
    write(node, map::FIXED_BINDINGS, &ours, Some(&configured));
    let outside = Addr::v4(u16::from_ne_bytes([10, 1]), 0);
    for (key, binding, words) in [
        (BindingKey::new(99, v4(1)), own, "10.0.0.1 in #99 is of no segment"),
        (
            BindingKey::new(cedar, v4(1)),
            Binding { segment: cedar, endpoint: cedars, ..own },
            "10.0.0.1 in cedar-lan is in a segment that answers nothing",
        ),
        (
            BindingKey::new(alder, outside),
            own,
            "10.1.0.0 in alder-lan is at p0 untagged, which may not have it",
        ),
    ] {
        for (name, of) in
            [(map::BINDINGS, "bindings"), (map::FIXED_BINDINGS, "configured bindings")]
        {
            write(node, name, &key, Some(&Binding { seen: u64::MAX, ..binding }));
            expect(node, of, words, &[]);
            write::<_, Binding>(node, name, &key, None);
        }
    }
    let remote: Vec<(BindingKey, Binding)> = entries(node, map::FIXED_BINDINGS);
    let (fixed, entry) = remote[0];
    write(
        node,
        map::FIXED_BINDINGS,
        &fixed,
        Some(&Binding { endpoint: Endpoint::remote(1), ..entry }),
    );
    expect(
        node,
        "configured bindings",
        "10.0.0.9 in alder-lan is configured for a remote",
        &["alder"],
    );
    write(node, map::FIXED_BINDINGS, &fixed, Some(&entry));
    assert_eq!(verified(node)["violations"], Value::Array(Vec::new()), "all is as it was");
}

#[test]
fn segments_that_disagree_or_have_too_much_are_found() {
    let (fabric, _wires) = at_work();
    let node = &fabric.edges[0];
    let segments: Vec<(u32, Segment)> = entries(node, map::SEGMENTS);
    let (alder, segment) = *segments.iter().find(|(_, segment)| segment.vni == 100).unwrap();
    let id = (1..4)
        .find(|id| {
            let attachments = || Ok(opened::<Array<_, Attachment>>(map::ATTACHMENTS).get(id, 0)?);
            node.netns.enter(attachments).unwrap().segment == alder
        })
        .unwrap();
    let set = |change: fn(&mut Attachment)| {
        let write = || {
            let mut map = opened::<Array<_, Attachment>>(map::ATTACHMENTS);
            let before = map.get(&id, 0)?;
            let mut after = before;
            change(&mut after);
            Ok(map.set(id, after, 0)?)
        };
        node.netns.enter(write).unwrap();
    };
    set(|attachment| attachment.guards ^= Guards::SUPPRESS);
    expect(node, "guards", "the points of alder-lan do not agree on what is answered", &["alder"]);
    set(|attachment| attachment.guards ^= Guards::SUPPRESS);
    write(node, map::SEGMENTS, &alder, Some(&Segment { fdb_limit: 0, ..segment }));
    expect(node, "bindings", "alder-lan has 1 bindings, more than its 0", &["alder"]);
    write(node, map::SEGMENTS, &alder, Some(&segment));
    assert_eq!(verified(node)["violations"], Value::Array(Vec::new()), "all is as it was");
}
