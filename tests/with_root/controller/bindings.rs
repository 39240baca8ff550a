//! IP addresses that one node has heard, on the others: what the edge answers for servers that it
//! never heard itself.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use sillon_rig::frame::Macs;

use crate::{
    common::{PATIENCE, SILENCE, datagram, mac},
    controller::{
        addresses::{TAG, is_remote, until, verified, world},
        nodes::World,
        site::put,
    },
    suppress::frames::*,
};

const SUPPRESS: &str = r#","suppress":true"#;

/// Whose MAC each address has at an edge, and where.
fn known(world: &World, edge: usize, segment: &str) -> BTreeMap<String, (String, String)> {
    let bindings = world.fabric.edges[edge].show("bindings").unwrap();
    let of = bindings.into_iter().filter(|one| one["segment"] == segment);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    of.map(|one| (text(&one["address"]), (text(&one["mac"]), text(&one["at"])))).collect()
}

fn has(world: &World, edge: usize, host: u8) -> bool {
    known(world, edge, "alder.lan").contains_key(&ip4(host).to_string())
}

/// A host at an edge answers its neighbour there: no other node hears it.
fn answers(world: &World, edge: u8, host: u8) {
    world.hosts[usize::from(edge)].send(&replies(host, 11 + edge)).unwrap();
}

/// A host at an edge says to its neighbour there that it has an address, whosever that is.
fn claims(world: &World, edge: u8, host: u8, address: u8) {
    let macs = Macs { from: mac(host), to: mac(11 + edge) };
    let claim = arp(macs, ARP_REPLY, (mac(host), ip4(address)), (macs.to, ip4(11 + edge)));
    world.hosts[usize::from(edge)].send(&claim).unwrap();
}

/// Frames that an edge has sent to the other.
fn sent_away(world: &World, edge: usize) -> u64 {
    let remotes = world.fabric.edges[edge].show("remotes").unwrap();
    remotes.iter().map(|remote| remote["traffic"]["out_frames"].as_u64().unwrap()).sum()
}

#[test]
fn an_address_that_only_the_other_node_has_heard_is_answered_for_and_nothing_leaves_the_node() {
    let world = world(SUPPRESS);
    world.does(vec![put("segment/birch/lan", r#"{"service":"lan","suppress":true}"#)]);
    answers(&world, 1, 2);
    world.hosts[1].send(&advertises_to(2, 2, 12, OVERRIDE)).unwrap();
    for address in [ip4(2).to_string(), ip6(2).to_string()] {
        until("edge1 is told whose it is", || known(&world, 0, "alder.lan").contains_key(&address));
    }
    world.is_programmed(&["segment/birch/lan"]);
    thread::sleep(SILENCE);
    world.hosts.iter().for_each(|host| drop(host.drain().unwrap()));
    let before = sent_away(&world, 0);
    for (question, answer) in
        [(asks(1, 2), replies(2, 1)), (solicits(1, 2), advertises_to(2, 2, 1, OVERRIDE))]
    {
        world.hosts[0].send(&question).unwrap();
        let heard = world.hosts[0].expect(PATIENCE, is_about_neighbours).unwrap();
        assert_eq!(heard, Some(answer), "asked with {question:?}");
    }
    thread::sleep(SILENCE);
    assert_eq!(sent_away(&world, 0), before, "a question went into the tunnel");
    for host in &world.hosts {
        assert_eq!(host.drain().unwrap().iter().find(|frame| is_about_neighbours(frame)), None);
    }
    // Birch is on both nodes, with a segment of its own, and is told nothing.
    for edge in [0, 1] {
        assert_eq!(known(&world, edge, "birch.lan"), BTreeMap::new());
    }
    verified(&world);
}

#[test]
fn the_last_claim_counts_on_both_nodes() {
    let world = world(SUPPRESS);
    answers(&world, 0, 7);
    until("edge2 knows of 7", || has(&world, 1, 7));
    for (edge, host) in [(1, 8), (0, 9), (1, 7)] {
        claims(&world, edge, host, 7);
        let owner = |at: u8| known(&world, at.into(), "alder.lan").remove(&ip4(7).to_string());
        let mac = sillon_abi::Mac::new(mac(host)).to_string();
        until("the other edge knows whose it is", || {
            owner(1 - edge).is_some_and(|(is, _)| is == mac)
        });
        let (there, at) = owner(edge).unwrap();
        assert_eq!((there, at.starts_with("p0")), (mac, true), "{at}");
    }
    verified(&world);
}

#[test]
fn an_address_goes_everywhere_once_it_is_claimed_no_more() {
    let world = world(r#","suppress":true,"ageing":3"#);
    answers(&world, 1, 2);
    until("edge1 knows of 2", || has(&world, 0, 2));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(7) {
        // The neighbour stays known, or what is said to it would be flooded, and heard.
        world.hosts[1].send(&datagram(12, mac(2), "still here").tagged(&[TAG])).unwrap();
        answers(&world, 1, 2);
        thread::sleep(Duration::from_millis(100));
        assert!(has(&world, 0, 2), "after {:?}", begun.elapsed());
    }
    until("edge2 has forgotten 2", || !has(&world, 1, 2));
    until("edge1 has forgotten 2", || !has(&world, 0, 2));
    verified(&world);
}

#[test]
fn what_is_told_counts_against_the_segments_share() {
    let world = world(r#","suppress":true,"mac_limit":6"#);
    for address in [20, 21] {
        claims(&world, 1, 2, address);
    }
    until("edge1 is told", || known(&world, 0, "alder.lan").len() == 2);
    for address in 30..40 {
        claims(&world, 0, 1, address);
    }
    until("edge1 hears its own", || known(&world, 0, "alder.lan").len() == 6);
    thread::sleep(Duration::from_secs(2));
    verified(&world);
    assert_eq!(known(&world, 0, "alder.lan").len(), 6);
    assert_eq!(known(&world, 1, "alder.lan").len(), 6);
}

#[test]
fn the_addresses_of_a_server_that_is_handed_over_are_forgotten_everywhere() {
    let world = world(SUPPRESS);
    answers(&world, 1, 2);
    until("edge1 knows of 2", || has(&world, 0, 2));
    world.hand_over_s2();
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        for edge in [0, 1] {
            assert!(!has(&world, edge, 2), "edge{}", edge + 1);
        }
    }
    assert_eq!(is_remote(&world, 0, "alder.lan", 2), None);
    verified(&world);
}
