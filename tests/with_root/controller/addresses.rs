//! Addresses that one node learned, on the others.
//!
//! Each edge has one more of alder's attachments on its p0, tagged: a host there is one that a
//! neighbour talks to without anybody else hearing it.

use std::{
    thread,
    time::{Duration, Instant},
};

use sillon::dataplane::{maps::Maps, pins::Pins};
use sillon_abi::{FdbEntry, Mac};
use sillon_rig::{
    Frame,
    frame::{BROADCAST, Macs, Tag},
};

use crate::{
    common::{comes, datagram, mac, stays_away},
    controller::{
        nodes::World,
        site::{PATIENCE, attach, lan, put},
    },
};

pub const TAG: Tag = Tag::c(5);

/// Alder's segment, with these keys of its spec besides.
pub fn world(keys: &str) -> World {
    let world = World::new();
    world.does(vec![
        put("segment/alder/lan", &format!(r#"{{"service":"lan"{keys}}}"#)),
        attach("alder/a1", "edge1/p0"),
        attach("alder/a2", "edge2/p0"),
        put("attachment/alder/t1", r#"{"segment":"lan","port":"edge1/p0","encap":"dot1q 5"}"#),
        put("attachment/alder/t2", r#"{"segment":"lan","port":"edge2/p0","encap":"dot1q 5"}"#),
        lan("birch/lan"),
        attach("birch/b3", "edge2/p1"),
        attach("birch/b4", "edge1/p1"),
        put("attachment/birch/t3", r#"{"segment":"lan","port":"edge2/p1","encap":"dot1q 5"}"#),
    ]);
    world.is_programmed(&["segment/alder/lan", "segment/birch/lan"]);
    // The neighbours: 11 at edge1, 12 at edge2.
    for edge in [0, 1] {
        let hello = datagram(11 + edge, BROADCAST, "neighbour").tagged(&[TAG]);
        world.hosts[usize::from(edge)].send(&hello).unwrap();
        until("the neighbours are known", || {
            is_remote(&world, 1 - usize::from(edge), "alder.lan", 11 + edge) == Some(true)
        });
        until("the neighbours are known", || {
            is_remote(&world, edge.into(), "alder.lan", 11 + edge) == Some(false)
        });
    }
    world
}

/// Whether a host is behind a remote, if an edge knows where it is.
pub fn is_remote(world: &World, edge: usize, segment: &str, host: u8) -> Option<bool> {
    entries(world, edge, segment)
        .into_iter()
        .find(|(of, _)| *of == Mac::new(mac(host)))
        .map(|(_, entry)| entry.endpoint.is_remote())
}

fn entries(world: &World, edge: usize, segment: &str) -> Vec<(Mac, FdbEntry)> {
    let node = &world.fabric.edges[edge];
    let read = || {
        let maps = Maps::open(&Pins::of_node(node.name()).maps())?;
        let all = maps.fdb()?.into_iter();
        Ok(all
            .filter(|(key, _)| maps.label(key.segment).is_ok_and(|(is, _)| is == segment))
            .map(|(key, entry)| (key.mac, entry))
            .collect())
    };
    node.netns.enter(read).unwrap()
}

/// Waits until it is so; how long that took.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        thread::sleep(Duration::from_millis(1));
    }
    begun.elapsed()
}

/// A host at an edge talks to its neighbour there: no other node hears it.
fn talk(world: &World, edge: u8, host: u8) {
    world.hosts[usize::from(edge)].send(&datagram(host, mac(11 + edge), "among us")).unwrap();
}

pub fn verified(world: &World) {
    for edge in &world.fabric.edges {
        let output = edge.sillon(&["verify", "--node", edge.name()]).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn what_one_node_has_learned_another_does_not_flood() {
    let world = world("");
    talk(&world, 1, 2);
    until("edge1 knows of 2", || is_remote(&world, 0, "alder.lan", 2) == Some(true));
    world.hosts[0].drain().unwrap();
    world.hosts[0].send(&datagram(1, mac(2), "to you alone")).unwrap();
    assert!(comes(&world.hosts[1], "to you alone"));
    assert!(stays_away(&world.hosts[0], "to you alone"), "it was flooded to the neighbour");
    // As it is to one who never spoke.
    world.hosts[0].send(&datagram(1, mac(99), "to nobody")).unwrap();
    assert!(comes(&world.hosts[0], "to nobody"));
    assert_eq!(is_remote(&world, 0, "birch.lan", 2), None);
    verified(&world);
}

#[test]
fn a_move_is_known_to_the_other_node_at_once() {
    let world = world(r#","moves":{"limit":0}"#);
    talk(&world, 0, 7);
    until("edge2 knows of 7", || is_remote(&world, 1, "alder.lan", 7) == Some(true));
    let mut took = Vec::new();
    for round in 0..20_u8 {
        let to = 1 - round % 2;
        let other = usize::from(1 - to);
        talk(&world, to, 7);
        took.push(until("the other edge knows of the move", || {
            is_remote(&world, other, "alder.lan", 7) == Some(true)
        }));
        until("it is where it is", || is_remote(&world, to.into(), "alder.lan", 7) == Some(false));
    }
    took.sort_unstable();
    println!("moves: median {:?}, worst {:?}", took[10], took[19]);
    // What it would take to be found by looking through the FDB is far longer; the machine may be
    // busy.
    assert!(took[10] < Duration::from_millis(500), "{took:?}");
    verified(&world);
}

#[test]
fn one_operators_flood_of_addresses_does_not_hold_up_the_others() {
    let world = world("");
    let flood = |number: u16| {
        let [a, b] = number.to_be_bytes();
        let macs = Macs { from: [2, 0xbb, 0, 0, a, b], to: mac(13) };
        world.hosts[2].send(&Frame::ethertype(macs, 0x88b5, b"flood")).unwrap();
    };
    world.hosts[2].send(&datagram(13, BROADCAST, "neighbour").tagged(&[TAG])).unwrap();
    until("13 is known", || is_remote(&world, 1, "birch.lan", 13) == Some(false));
    // An attachment has 64 addresses, unless more is asked for.
    let many =
        r#"{"segment":"lan","port":"edge2/p1","encap":"untagged","guards":{"mac_limit":1000}}"#;
    world.does(vec![put("attachment/birch/b3", many)]);
    world.is_programmed(&["attachment/birch/b3"]);
    (0..1000).for_each(flood);
    talk(&world, 1, 2);
    let took = until("edge1 knows of 2", || is_remote(&world, 0, "alder.lan", 2) == Some(true));
    println!("beside a flood: {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(entries(&world, 0, "alder.lan").len() < 10);
    // As many as there was time to learn.
    let all = entries(&world, 1, "birch.lan").len();
    assert!(all > 300, "{all}");
    until("birch's are told as well", || entries(&world, 0, "birch.lan").len() >= all);
    verified(&world);
}

#[test]
fn an_address_stays_while_it_is_alive_and_goes_with_it() {
    let world = world(r#","ageing":3"#);
    talk(&world, 1, 2);
    until("edge1 knows of 2", || is_remote(&world, 0, "alder.lan", 2) == Some(true));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(8) {
        // The neighbour stays known, or what is said to it would be flooded, and heard at edge1.
        world.hosts[1].send(&datagram(12, mac(2), "still here").tagged(&[TAG])).unwrap();
        talk(&world, 1, 2);
        thread::sleep(Duration::from_millis(100));
        // Edge1 itself hears nothing of it.
        assert_eq!(is_remote(&world, 0, "alder.lan", 2), Some(true), "after {:?}", begun.elapsed());
    }
    until("edge2 has forgotten 2", || is_remote(&world, 1, "alder.lan", 2).is_none());
    until("edge1 has forgotten 2", || is_remote(&world, 0, "alder.lan", 2).is_none());
}

#[test]
fn addresses_outlive_the_controller_and_the_agents() {
    let mut world = world("");
    talk(&world, 1, 2);
    until("edge1 knows of 2", || is_remote(&world, 0, "alder.lan", 2) == Some(true));
    world.kill();
    for edge in &mut world.fabric.edges {
        edge.kill().unwrap();
        edge.restart().unwrap();
    }
    // Longer than the FDB is looked through.
    thread::sleep(Duration::from_secs(3));
    assert_eq!(is_remote(&world, 0, "alder.lan", 2), Some(true));
    world.start();
    // The new one knows nothing, and is told.
    talk(&world, 1, 3);
    until("edge1 knows of 3", || is_remote(&world, 0, "alder.lan", 3) == Some(true));
    assert_eq!(is_remote(&world, 0, "alder.lan", 2), Some(true));
    verified(&world);
}

#[test]
fn a_server_that_is_handed_over_is_forgotten_everywhere() {
    let world = world("");
    talk(&world, 1, 2);
    until("edge1 knows of 2", || is_remote(&world, 0, "alder.lan", 2) == Some(true));
    world.hand_over_s2();
    // All nodes have confirmed: from now on it is nowhere.
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        for edge in [0, 1] {
            assert_eq!(is_remote(&world, edge, "alder.lan", 2), None, "edge{}", edge + 1);
            assert_eq!(is_remote(&world, edge, "alder.lan", 12), None, "edge{}", edge + 1);
        }
    }
    verified(&world);
}
