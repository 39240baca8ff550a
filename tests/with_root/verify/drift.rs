//! An agent that follows a file looks back as well: what another hand does to the node is told of
//! and put right, whatever it is.

use std::time::{Duration, Instant};

use aya::maps::xdp::DevMapHash;
use sillon_abi::{Attachment, FdbUse, PathEntry, PortEntry, Segment, map};
use sillon_rig::{Fabric, Node, Wire};

use super::{
    at_work_with, element, entries,
    foreign::{self, Hook},
    ids,
    maps::{self, opened},
};

/// How often an agent looks.
const LOOK: Duration = Duration::from_secs(5);
/// Longer than an agent rests between two looks, and than what it does then takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A node with its agent.
fn followed() -> (Fabric, Vec<Wire>) {
    let (mut fabric, wires) = at_work_with("");
    fabric.edges[0].restart().unwrap();
    // It looks at least once at what is in order, and says nothing.
    let until = Instant::now() + LOOK + Duration::from_secs(1);
    while Instant::now() < until {
        assert!(!fabric.edges[0].log().contains("another hand"), "{}", fabric.edges[0].log());
        std::thread::sleep(Duration::from_millis(100));
    }
    (fabric, wires)
}

/// Waits until a look found something wrong and `is_right` says that it no longer is.
#[track_caller]
fn is_put_right(node: &Node, words: &str, is_right: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if node.log().contains(words) && is_right() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("not told of {words:?} or not put right: {}", node.log());
}

fn set<V: aya::Pod + Send + Sync>(node: &Node, name: &'static str, index: u32, value: V) {
    node.netns.enter(|| Ok(opened::<aya::maps::Array<_, V>>(name).set(index, value, 0)?)).unwrap();
}

fn insert<V: aya::Pod + Send + Sync>(node: &Node, name: &'static str, key: u32, value: V) {
    node.netns
        .enter(|| Ok(opened::<aya::maps::HashMap<_, u32, V>>(name).insert(key, value, 0)?))
        .unwrap();
}

#[test]
fn what_another_hand_writes_is_put_right_with_a_file() {
    let (fabric, _wires) = followed();
    let node = &fabric.edges[0];
    let (id, attachment) = ids(node).alder_p0;
    let p0 = attachment.class.ifindex;
    let port: PortEntry = element(node, map::PORTS, p0);
    let path_id =
        (1..8).find(|id| element::<PathEntry>(node, map::PATHS, *id).header_len != 0).unwrap();
    let path: PathEntry = element(node, map::PATHS, path_id);
    let (uid, segment) = entries::<u32, Segment>(node, map::SEGMENTS)[0];
    let accounts: Vec<(u32, FdbUse)> = entries(node, map::FDB_USE);

    // All at once: a header's VNI, a guard, a device, a port's flags, a segment's limit, an
    // account.
    let mut other = path;
    other.header[23] ^= 0x0100;
    set(node, map::PATHS, path_id, other);
    set(node, map::ATTACHMENTS, id, Attachment { guards: 0, ..attachment });
    set(node, map::PORTS, p0, PortEntry { flags: port.flags ^ PortEntry::HAS_FAR_END, ..port });
    insert(node, map::SEGMENTS, uid, Segment { move_limit: 0, ..segment });
    for (uid, used) in accounts {
        insert(node, map::FDB_USE, uid, FdbUse { learned: used.learned + 900, ..used });
    }
    let lead = |to| {
        let write = || Ok(opened::<DevMapHash<_>>(map::DEVICES).insert(p0, to, None, 0)?);
        node.netns.enter(write).unwrap();
    };
    let up = node.netns.enter(|| Ok(foreign::ifindex("p1"))).unwrap();
    lead(up);
    let leads_to = || {
        let read = || {
            Ok(opened::<DevMapHash<_>>(map::DEVICES).get(p0, 0).map(|value| value.if_index).ok())
        };
        node.netns.enter(read).unwrap()
    };
    is_put_right(node, "another hand", || {
        element::<Attachment>(node, map::ATTACHMENTS, id) == attachment
            && element::<PortEntry>(node, map::PORTS, p0) == port
            && leads_to() == Some(p0)
            && entries::<u32, Segment>(node, map::SEGMENTS).contains(&(uid, segment))
            && super::verified(node)["violations"].as_array().unwrap().is_empty()
    });
}

#[test]
fn programs_that_another_hand_replaced_detached_or_overtook_are_put_back_with_a_file() {
    let (fabric, _wires) = followed();
    let node = &fabric.edges[0];
    let link = |kind: &str, port: u32| maps::pin(&format!("links/{kind}-{port}"));
    let [p0, p1, up] =
        node.netns.enter(|| Ok(["p0", "p1", fabric.uplinks()[0]].map(foreign::ifindex))).unwrap();
    let guest = node.netns.enter(|| {
        foreign::replace(&foreign::pinned(&link("xdp", up)), &foreign::program(Hook::Xdp));
        foreign::detach(&foreign::pinned(&link("egress", p0)));
        Ok(foreign::attach(&foreign::program(Hook::TcxIngress), Hook::TcxIngress, p1))
    });
    let guest = guest.unwrap();
    let is_right = || super::verified(node)["violations"].as_array().unwrap().is_empty();
    is_put_right(node, "another hand", is_right);
    drop(guest);
}
