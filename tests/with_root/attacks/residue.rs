//! What is left behind, and what happens between: names that are used again, and agents that die in
//! the middle of an attack.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use sillon_rig::{Fabric, NodeFile, Underlay, Wire, frame::BROADCAST};

use crate::{
    attacks::{
        lan::{ATTACKER, Keys, Lan, PEER, Setting, VICTIM},
        victim,
    },
    common::{SetOnDrop, comes, datagram, fabric, mac, soon, stays_away},
};

fn leased(fabric: &Fabric, segment: &str, macs: bool) -> NodeFile {
    let file =
        ["p0", "p1", "p2"].into_iter().fold(fabric.file(0), |file, port| file.port(port, "access"));
    let file = file.segment(segment, 100, "lan", &["10.99.0.2"]);
    let file = file.attach(segment, "p0", "dot1q 10");
    let file = if macs {
        file.key("macs", "[\"02:00:00:00:00:01\"]").key("prefixes", "[\"10.0.0.1/32\"]")
    } else {
        file
    };
    file.attach(segment, "p1", "dot1q 10")
}

/// An operator gives its servers back, and another one gets the same ports, VID and VNI: nothing of
/// the first's addresses, lists and places is left, and what it still sends is nobody's.
#[test]
fn reuse_of_a_vni_and_a_vid() {
    let mut fabric = fabric(Underlay::Direct);
    let wires: Vec<Wire> =
        ["p0", "p1", "p2"].into_iter().map(|port| fabric.plug(0, port).unwrap()).collect();
    let tag = [sillon_rig::Tag::c(10)];
    fabric.edges[0].start(&leased(&fabric, "alder-lan", true)).unwrap();
    wires[0].send(&datagram(1, BROADCAST, "alder's").tagged(&tag)).unwrap();
    assert!(comes(&wires[1], "alder's"));
    wires[1].send(&datagram(2, BROADCAST, "alder's too").tagged(&tag)).unwrap();
    assert!(comes(&wires[0], "alder's too"));
    fabric.edges[0].reload(&leased(&fabric, "birch-lan", false)).unwrap();
    assert_eq!(fabric.edges[0].fdb().unwrap(), [], "addresses are left");
    let guards = fabric.edges[0].show("guards").unwrap();
    for attachment in &guards {
        assert_eq!(
            (attachment["macs"].as_u64(), attachment["prefixes"].as_array().map(Vec::len)),
            (Some(0), Some(0)),
            "{attachment:#}"
        );
        assert_eq!(
            attachment["dropped"].as_object().map(serde_json::Map::len),
            Some(0),
            "{attachment:#}"
        );
    }
    // The new one may use the addresses that the old one was given, where it likes.
    wires[1].send(&datagram(1, BROADCAST, "birch's").tagged(&tag)).unwrap();
    assert!(comes(&wires[0], "birch's"));
    assert!(fabric.edges[0].sillon(&["verify"]).unwrap().status.success());
}

/// An agent that is killed, started again, reloaded and restarted while it rains attacks: a guard
/// is never off, not for one frame, and the victim does not feel it.
#[test]
fn crash_of_the_agent_in_the_middle_of_an_attack() {
    let victim: Keys<'_> = &[("macs", "[\"02:00:00:00:00:03\"]"), ("trusted", "[\"dhcp\"]")];
    let attacker: Keys<'_> = &[("prefixes", "[\"10.0.0.2/32\"]"), ("mac_limit", "3")];
    let setting = Setting { victim, attacker, ..Setting::default() };
    // Another prefix and another limit, by which none of the attack is allowed either.
    let changed: Keys<'_> =
        &[("prefixes", "[\"10.0.0.2/32\", \"10.9.0.0/16\"]"), ("mac_limit", "5")];
    let mut lan = Lan::new(setting);
    lan.introduce();
    let files =
        [setting, Setting { attacker: changed, ..setting }].map(|setting| lan.file(setting));
    let ends = AtomicBool::new(false);
    let Lan { fabric, victim, attacker: thief, peer, .. } = &mut lan;
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| rain(thief, &ends));
        // Also where the test panics: the scope waits for its threads.
        let _ends = SetOnDrop(&ends);
        victim::goes_on(peer, mac(VICTIM), victim, || {
            for round in 0..3 {
                fabric.edges[0].kill().unwrap();
                fabric.edges[0].restart().unwrap();
                fabric.edges[0].reload(&files[round % 2]).unwrap();
                fabric.edges[0].stop().unwrap();
                fabric.edges[0].restart().unwrap();
            }
        });
        ends.store(true, Ordering::Relaxed);
        sender.join().unwrap()
    });
    let dropped = || -> u64 {
        ["mac-configured", "dhcp-server", "address-not-listed"]
            .map(|reason| lan.dropped(reason))
            .iter()
            .sum()
    };
    assert!(soon(|| dropped() == sent) && sent > 1000, "{} of {sent} were dropped", dropped());
    assert!(
        stays_away(&lan.victim, "attack!")
            && stays_away(&lan.peer, "attack!")
            && stays_away(&lan.far, "attack!")
    );
}

/// Sends a stolen address, a lease and a spoofed source, over and over; returns how many frames.
fn rain(thief: &Wire, ends: &AtomicBool) -> u64 {
    let mut stolen = datagram(ATTACKER, BROADCAST, "attack!");
    stolen.0[6..12].copy_from_slice(&mac(VICTIM));
    let macs = sillon_rig::frame::Macs { from: mac(ATTACKER), to: BROADCAST };
    let ips = (crate::common::v4(ATTACKER), [255; 4].into());
    let lease = sillon_rig::Frame::udp(macs, ips, (67, 68), b"attack!");
    let mut spoofed = datagram(PEER, BROADCAST, "attack!");
    spoofed.0[6..12].copy_from_slice(&mac(ATTACKER));
    let mut sent = 0;
    while !ends.load(Ordering::Relaxed) {
        for frame in [&stolen, &lease, &spoofed] {
            thief.send(frame).unwrap();
            sent += 1;
        }
        thread::sleep(std::time::Duration::from_micros(300));
    }
    sent
}
