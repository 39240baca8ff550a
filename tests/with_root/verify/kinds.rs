//! What another hand can do to a node that no map shows, and what was once not seen: each kind by
//! itself, found by `sillon verify`.

use aya::maps::xdp::DevMapHash;
use sillon_abi::{FdbUse, MacUse, Meters, PathEntry, PortEntry, Segment, map};
use sillon_rig::{Fabric, Wire};

use super::{
    Attachment, at_work, element, entries, expect,
    foreign::{self, Hook},
    ids, maps, verified, with_element, with_entry,
};

fn link(kind: &str, ifindex: u32) -> String {
    maps::pin(&format!("links/{kind}-{ifindex}"))
}

/// The ifindexes of alder's first port, of birch's, and of an uplink.
fn ports(fabric: &Fabric) -> [u32; 3] {
    let node = &fabric.edges[0];
    let names = ["p0", "p1", fabric.uplinks()[0]];
    node.netns.enter(|| Ok(names.map(foreign::ifindex))).unwrap()
}

fn work() -> (Fabric, Vec<Wire>, [u32; 3]) {
    let (fabric, wires) = at_work();
    let ports = ports(&fabric);
    (fabric, wires, ports)
}

#[test]
fn a_device_that_leads_to_another_port_is_found() {
    let (fabric, _wires, [p0, p1, _]) = work();
    let node = &fabric.edges[0];
    let lead = |to| {
        let write = || Ok(maps::opened::<DevMapHash<_>>(map::DEVICES).insert(p0, to, None, 0)?);
        node.netns.enter(write).unwrap();
    };
    lead(p1);
    expect(node, "devices", "what is sent to p0 goes to p1", &[]);
    lead(p0);
    assert_eq!(verified(node)["violations"].as_array().unwrap().len(), 0);
}

#[test]
fn a_changed_header_is_found() {
    let (fabric, _wires, _) = work();
    let node = &fabric.edges[0];
    let path =
        (1..8).find(|id| element::<PathEntry>(node, map::PATHS, *id).header_len != 0).unwrap();
    let words: [(&str, usize); 6] = [
        ("the next hop's MAC", 2),
        ("our MAC", 4),
        ("source address", 13),
        ("destination port", 18),
        ("flags", 21),
        ("VNI", 23),
    ];
    for (what, word) in words {
        let flip = |path: &mut PathEntry| path.header[word] ^= 0x0100;
        with_element(node, map::PATHS, path, flip, || {
            let report = verified(node);
            assert!(report["violations"].to_string().contains("a way to"), "{what}: {report:#}");
        });
    }
    let other = |path: &mut PathEntry| path.checksum ^= 1;
    with_element(node, map::PATHS, path, other, || expect(node, "paths", "a way to", &[]));
}

#[test]
fn a_program_that_was_replaced_in_its_link_is_found() {
    let (fabric, _wires, [p0, _, up]) = work();
    let node = &fabric.edges[0];
    let kinds =
        [("xdp", Hook::Xdp, up), ("ingress", Hook::TcxIngress, up), ("tc", Hook::TcxIngress, p0)];
    for (kind, hook, port) in
        kinds.into_iter().chain([("egress", Hook::TcxEgress, p0), ("apart", Hook::TcxIngress, 1)])
    {
        let there = || std::path::Path::new(&link(kind, port)).exists().then_some(()).is_some();
        if !node.netns.enter(|| Ok(there())).unwrap() {
            continue;
        }
        let swap = || {
            foreign::replace(&foreign::pinned(&link(kind, port)), &foreign::program(hook));
            Ok(())
        };
        node.netns.enter(swap).unwrap();
        let report = verified(node);
        let found =
            report["violations"].as_array().unwrap().iter().any(|one| one["of"] == "programs");
        assert!(found, "{kind}: {report:#}");
    }
}

#[test]
fn a_program_in_front_of_ours_is_found_and_one_behind_is_none_of_ours() {
    let (fabric, _wires, [p0, _, _]) = work();
    let node = &fabric.edges[0];
    for hook in [Hook::TcxIngress, Hook::TcxEgress] {
        let guest =
            node.netns.enter(|| Ok(foreign::attach(&foreign::program(hook), hook, p0))).unwrap();
        expect(node, "programs", "stands before ours on p0", &[]);
        drop(guest);
        let is_gone = || verified(node)["violations"].as_array().unwrap().is_empty();
        assert!((0..50).any(|_| is_gone()), "what is gone is no longer told of");
    }
}

#[test]
fn a_link_that_is_detached_with_its_pin_in_place_is_found() {
    let (fabric, _wires, [p0, _, up]) = work();
    let node = &fabric.edges[0];
    for (kind, port, name) in [("egress", p0, "p0"), ("xdp", up, fabric.uplinks()[0])] {
        let cut = || {
            foreign::detach(&foreign::pinned(&link(kind, port)));
            Ok(())
        };
        node.netns.enter(cut).unwrap();
        expect(node, "programs", &format!("is not on {name}"), &[]);
    }
}

#[test]
fn what_decides_and_was_not_compared_is_found() {
    let (fabric, _wires, [p0, _, up]) = work();
    let node = &fabric.edges[0];
    let (id, _) = ids(node).alder_p0;
    type Change<T> = fn(&mut T);
    let ports: [(u32, Change<PortEntry>); 4] = [
        (up, |port| port.vtep4[3] ^= 1),
        (up, |port| port.vtep6[7] ^= 1),
        (p0, |port| port.flags ^= PortEntry::HAS_FAR_END),
        (p0, |port| port.mac.0[2] ^= 1),
    ];
    for (ifindex, change) in ports {
        with_element(node, map::PORTS, ifindex, change, || expect(node, "ports", "", &[]));
    }
    let attachments: [Change<Attachment>; 5] = [
        |one| one.guards &= !sillon_abi::Guards::NO_DHCP_SERVER,
        |one| one.leaf ^= 1,
        |one| one.mac_limit = 65_536,
        |one| one.over_limit ^= 1,
        |one| one.tos ^= 4,
    ];
    for change in attachments {
        with_element(node, map::ATTACHMENTS, id, change, || {
            expect(node, "attachments", "p0 untagged", &["alder"])
        });
    }
    for (uid, segment) in entries::<u32, Segment>(node, map::SEGMENTS) {
        let other = Segment { move_limit: segment.move_limit ^ 1, ..segment };
        with_entry(node, map::SEGMENTS, uid, other, || expect(node, "segments", "", &[]));
    }
}

#[test]
fn accounts_and_buckets_that_no_program_wrote_are_found() {
    let (fabric, _wires, _) = work();
    let node = &fabric.edges[0];
    let (id, attachment) = ids(node).alder_p0;
    let uid = attachment.segment;
    let uses: Vec<(u32, FdbUse)> = entries(node, map::FDB_USE);
    let (_, used) = uses.into_iter().find(|(one, _)| *one == uid).unwrap();
    let full = FdbUse { learned: used.learned + 900, ..used };
    with_entry(node, map::FDB_USE, uid, full, || expect(node, "accounts", "alder-lan", &["alder"]));
    let more = |one: &mut MacUse| one.held += 60;
    with_element(node, map::MAC_USE, id, more, || {
        expect(node, "accounts", "p0 untagged", &["alder"])
    });
    let late = |one: &mut Meters| one.storm[0] = 1 << 62;
    with_element(node, map::METERS, id, late, || expect(node, "meters", "p0 untagged", &["alder"]));
}
