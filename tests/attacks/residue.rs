//! What is left behind, and what happens between: names that are used again, and agents that die in the middle of an attack.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use sillon_rig::{Fabric, NodeFile, Underlay, Wire, frame::BROADCAST};

use crate::{
    common::{comes, datagram, fabric, mac, soon, stays_away},
    lan::{ATTACKER, Keys, Lan, PEER, Setting, VICTIM},
};

fn leased(fabric: &Fabric, segment: &str, macs: bool) -> NodeFile {
    let file = ["p0", "p1", "p2"].into_iter().fold(fabric.file(0), |file, port| file.port(port, "access"));
    let file = file.segment(segment, 100, "lan", &["10.99.0.2"]);
    let file = file.attach(segment, "p0", "dot1q 10");
    let file = if macs {
        file.key("macs", "[\"02:00:00:00:00:01\"]").key("prefixes", "[\"10.0.0.1/32\"]")
    } else {
        file
    };
    file.attach(segment, "p1", "dot1q 10")
}

/// An operator gives its servers back, and another one gets the same ports, VID and VNI: nothing of the first's addresses, lists and places is
/// left, and what it still sends is nobody's.
#[test]
fn reuse_of_a_vni_and_a_vid() {
    let mut fabric = fabric(Underlay::Direct);
    let wires: Vec<Wire> = ["p0", "p1", "p2"].into_iter().map(|port| fabric.plug(0, port).unwrap()).collect();
    let tag = [sillon_rig::Tag::c(10)];
    fabric.edges[0].start(&leased(&fabric, "alder-lan", true)).unwrap();
    wires[0].send(&datagram(1, BROADCAST, "alder's").tagged(&tag)).unwrap();
    assert!(comes(&wires[1], "alder's"));
    wires[1].send(&datagram(2, BROADCAST, "alder's too").tagged(&tag)).unwrap();
    assert!(comes(&wires[0], "alder's too"));
    fabric.edges[0].reload(&leased(&fabric, "birch-lan", false)).unwrap();
    assert_eq!(fabric.edges[0].show("fdb").unwrap(), Vec::<serde_json::Value>::new(), "addresses are left");
    let guards = fabric.edges[0].show("guards").unwrap();
    for attachment in &guards {
        assert_eq!(
            (attachment["macs"].as_u64(), attachment["prefixes"].as_array().map(Vec::len)),
            (Some(0), Some(0)),
            "{attachment:#}"
        );
        assert_eq!(attachment["dropped"].as_object().map(serde_json::Map::len), Some(0), "{attachment:#}");
    }
    // The new one may use the addresses that the old one was given, where it likes.
    wires[1].send(&datagram(1, BROADCAST, "birch's").tagged(&tag)).unwrap();
    assert!(comes(&wires[0], "birch's"));
    assert!(fabric.edges[0].sillon(&["verify"]).unwrap().status.success());
}

/// An agent that is killed, started again and reloaded while it rains attacks: a guard is never off, not for one frame.
#[test]
fn crash_of_the_agent_in_the_middle_of_an_attack() {
    let victim: Keys<'_> = &[("macs", "[\"02:00:00:00:00:03\"]"), ("trusted", "[\"dhcp\"]")];
    let attacker: Keys<'_> = &[("prefixes", "[\"10.0.0.2/32\"]"), ("mac_limit", "3")];
    let setting = Setting { victim, attacker, ..Setting::default() };
    let mut lan = Lan::new(setting);
    lan.introduce();
    let ends = AtomicBool::new(false);
    let Lan { fabric, victim, attacker: thief, peer, .. } = &mut lan;
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut stolen = datagram(ATTACKER, BROADCAST, "attack!");
            stolen.0[6..12].copy_from_slice(&mac(VICTIM));
            let lease = sillon_rig::Frame::udp(
                sillon_rig::frame::Macs { from: mac(ATTACKER), to: BROADCAST },
                (crate::common::v4(ATTACKER), [255; 4].into()),
                (67, 68),
                b"attack!",
            );
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
        });
        for round in 0..4 {
            fabric.edges[0].kill().unwrap();
            peer.send(&datagram(PEER, mac(VICTIM), &format!("while it is dead {round}"))).unwrap();
            assert!(comes(victim, &format!("while it is dead {round}")));
            fabric.edges[0].restart().unwrap();
            peer.send(&datagram(PEER, mac(VICTIM), &format!("again {round}"))).unwrap();
            assert!(comes(victim, &format!("again {round}")));
        }
        ends.store(true, Ordering::Relaxed);
        sender.join().unwrap()
    });
    let dropped: u64 = ["mac-configured", "dhcp-server", "address-not-listed"]
        .map(|reason| lan.dropped(reason))
        .iter()
        .sum();
    assert!(soon(|| dropped == sent) && sent > 1000, "{dropped} of {sent} were dropped");
    assert!(
        stays_away(&lan.victim, "attack!")
            && stays_away(&lan.peer, "attack!")
            && stays_away(&lan.far, "attack!")
    );
}
