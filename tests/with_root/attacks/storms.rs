//! Too much of something, and looking at what is for others.

use std::time::{Duration, Instant};

use sillon_rig::{
    Frame, Tag, Underlay, Wire,
    frame::{BROADCAST, Macs},
};

use crate::{
    attacks::lan::{ATTACKER, Keys, Lan, OFF, PEER, Setting, VICTIM},
    common::{SILENCE, comes, datagram, fabric, mac, soon, stays_away, stream},
};

const MULTICAST: [u8; 6] = [0x01, 0, 0x5e, 1, 2, 3];
const NOBODY: [u8; 6] = [2, 0, 0, 0, 0, 99];
/// How many frames an attacker sends in one go.
const MANY: usize = 2000;

/// Sends a frame many times, while the victim's own traffic goes on at no less than 95 % of its
/// rate; returns how many of them the victim got, and how long it took.
fn bombard(lan: &Lan, frame: &Frame) -> (usize, Duration) {
    // A second look, so that nobody takes the other's frames.
    let tap = lan.victim.tap().unwrap();
    let start = Instant::now();
    let goes_on = stream(&lan.peer, mac(VICTIM), &lan.victim, || {
        for _ in 0..MANY {
            lan.attacker.send(frame).unwrap();
        }
    });
    let took = start.elapsed();
    assert!(
        goes_on.lost.len() * 20 <= goes_on.sent as usize,
        "the victim's traffic suffers: {goes_on:?}"
    );
    let mut heard = 0;
    while let Some(frame) = tap.try_receive().unwrap() {
        heard += usize::from(Frame(frame).contains(b"attack!"));
    }
    (heard, took)
}

/// A storm of frames to `to`: without storm control all of it is copied to everybody, and with it
/// no more than the limit.
fn storm(to: [u8; 6], reason: &str) {
    const LIMIT: usize = 100;
    let off: Keys<'_> = &[("storm", "\"off\"")];
    let on: Keys<'_> = &[("storm", "{ broadcast = 100, multicast = 100, unknown = 100 }")];
    let lan = Lan::new(Setting { attacker: off, ..Setting::default() });
    lan.introduce();
    let attack = datagram(ATTACKER, to, "attack!");
    let (heard, _) = bombard(&lan, &attack);
    assert_eq!(heard, MANY, "it works without the guard");
    lan.reload(Setting { attacker: on, ..Setting::default() });
    let (heard, took) = bombard(&lan, &attack);
    let most = LIMIT + (LIMIT as f64 * took.as_secs_f64()) as usize + 1;
    assert!((1..=most).contains(&heard), "{heard} of at most {most}");
    assert!(
        soon(|| lan.dropped(reason) == (MANY - heard) as u64),
        "{} dropped",
        lan.dropped(reason)
    );
}

/// RFC 1122 section 2.4 and every outage since: a broadcast costs each host in the segment an
/// interrupt.
#[test]
fn broadcast_storm() {
    storm(BROADCAST, "storm-broadcast");
}

/// The same by group addresses that nobody asked for (RFC 4541 section 2.1.2 tells what a switch
/// does with them).
#[test]
fn multicast_storm() {
    storm(MULTICAST, "storm-multicast");
}

/// The same by addresses that nobody has: each is flooded as long as nobody answers.
#[test]
fn unknown_unicast_storm() {
    storm(NOBODY, "storm-unknown-unicast");
}

/// Sends each of these frames many times past a profile of 1 Mbit/s, and compares what comes out
/// with what the profile allows.
fn evade(frames: &[(&str, Frame, usize)]) {
    const BURST: usize = 3000;
    let profile: Keys<'_> = &[("ingress", "\"slow\"")];
    let segment = Setting { victim: &[("trusted", "[\"dhcp\", \"ra\"]")], ..Setting::default() };
    let lan = Lan::new(Setting { attacker: OFF, ..segment });
    lan.introduce();
    for (kind, frame, _) in frames {
        assert_eq!(bombard(&lan, frame).0, MANY, "{kind}: without a profile all of it passes");
    }
    lan.reload_limited(Setting { attacker: profile, ..segment }, ("slow", "1 Mbit/s", "3000 B"));
    for (kind, frame, charge) in frames {
        let (heard, took) = bombard(&lan, frame);
        let most = (BURST as f64 + 125_000.0 * took.as_secs_f64()) / *charge as f64 + 1.0;
        assert!(
            heard > 0 && (heard as f64) <= most,
            "{kind}: {heard} frames of at most {most} passed"
        );
    }
}

/// Policers that count less than a frame takes on the wire, or round in its favour, let tiny frames
/// through for nothing.
#[test]
fn policer_evasion_by_tiny_frames() {
    let macs = Macs { from: mac(ATTACKER), to: mac(VICTIM) };
    let tiny = Frame::ethertype(macs, 0x88b5, b"attack!");
    evade(&[("21 bytes", tiny.clone(), 60), ("a priority tag", tiny.tagged(&[Tag::c(0)]), 60)]);
}

/// Policers that know flows by their ports let fragments through, which have none (RFC 3128 section
/// 2 has the like for filters).
#[test]
fn policer_evasion_by_fragments() {
    let fragment = |flags: [u8; 2]| {
        let mut frame = datagram(ATTACKER, mac(VICTIM), &("attack!".to_owned() + &"x".repeat(200)));
        frame.0[20..22].copy_from_slice(&flags);
        let (mut header, _) = etherparse::Ipv4Header::from_slice(&frame.0[14..]).unwrap();
        header.header_checksum = header.calc_header_checksum();
        frame.0[14..34].copy_from_slice(&header.to_bytes());
        frame
    };
    let charge = fragment([0, 0]).0.len();
    evade(&[
        ("a first fragment", fragment([0x20, 0]), charge),
        ("another", fragment([0x20, 50]), charge),
        ("the last", fragment([0, 100]), charge),
    ]);
}

/// What is for an address that has not been heard of goes to everybody (RFC 7432 section 10 lets a
/// provider turn that off): who is in the segment reads what is for a silent victim, or for one
/// whose address has aged. What is configured is never unknown.
#[test]
fn covert_observation_of_unknown_unicast() {
    const CONFIGURED: Keys<'static> = &[("macs", "[\"02:00:00:00:00:03\"]")];
    let lan = Lan::new(Setting::default());
    lan.peer.send(&datagram(PEER, mac(VICTIM), "secret")).unwrap();
    assert!(comes(&lan.attacker, "secret"), "it works without the guard");
    drop(lan);
    let lan =
        Lan::new(Setting { victim: CONFIGURED, segment: &[("ageing", "1")], ..Setting::default() });
    lan.peer.send(&datagram(PEER, mac(VICTIM), "secret")).unwrap();
    assert!(
        comes(&lan.victim, "secret") && stays_away(&lan.attacker, "secret"),
        "before it has said a word"
    );
    lan.introduce();
    std::thread::sleep(Duration::from_millis(2500));
    lan.peer.send(&datagram(PEER, mac(VICTIM), "secret")).unwrap();
    assert!(
        comes(&lan.victim, "secret") && stays_away(&lan.attacker, "secret"),
        "long after it has"
    );
    lan.victim_is_reached();
}

/// Flooding of the owner's log (CWE-779): an operator that freezes hundreds of addresses would bury
/// what happens to another.
#[test]
fn event_channel_flooding() {
    const ADDRESSES: u16 = 300;
    let mut fabric = fabric(Underlay::Direct);
    let wires: Vec<Wire> =
        ["p0", "p1", "p2", "p3"].into_iter().map(|port| fabric.plug(0, port).unwrap()).collect();
    let file = fabric.file(0).segment("birch-lan", 200, "lan", &[]).key("move_limit", 3);
    let file = file.segment("alder-lan", 100, "lan", &[]).key("move_limit", 3);
    let ports =
        [("birch-lan", "p0"), ("birch-lan", "p1"), ("alder-lan", "p2"), ("alder-lan", "p3")];
    let file = ports.into_iter().fold(file, |file, (segment, port)| {
        file.port(port, "access")
            .attach(segment, port, "untagged")
            .key("mac_limit", 1000)
            .key("storm", "\"off\"")
    });
    fabric.edges[0].start(&file).unwrap();
    let from = |number: u16| {
        let [high, low] = number.to_be_bytes();
        Frame::ethertype(
            Macs { from: [2, 0xbb, 0, 0, high, low], to: BROADCAST },
            0x88b5,
            b"attack!",
        )
    };
    let flap = |wires: &[Wire], numbers: std::ops::Range<u16>| {
        for turn in 0..4 {
            for number in numbers.clone() {
                wires[turn % 2].send(&from(number)).unwrap();
            }
            std::thread::sleep(SILENCE);
        }
    };
    flap(&wires[..2], 0..ADDRESSES);
    flap(&wires[2..], 5000..5001);
    let node = &fabric.edges[0];
    let frozen = || node.fdb().unwrap().iter().filter(|row| row.state == "frozen").count();
    assert!(soon(|| frozen() == usize::from(ADDRESSES) + 1), "{}", frozen());
    let lines = |operator: &str| {
        let word = format!("operator=\"{operator}\"");
        node.log()
            .lines()
            .filter(|line| line.contains("moved too often") && line.contains(&word))
            .count()
    };
    assert!(soon(|| lines("alder") == 1), "alder's event is told of: {}", node.log());
    assert!((5..=12).contains(&lines("birch")), "{} lines of birch's", lines("birch"));
}
