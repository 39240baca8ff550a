//! Other people's addresses, and too many of one's own.

use std::time::Duration;

use serde_json::Value;
use sillon_rig::{Frame, Underlay, Wire, frame::BROADCAST};

use crate::{
    attacks::{
        lan::{ATTACKER, Keys, Lan, OFF, PEER, Setting, VICTIM},
        victim,
    },
    common::{comes, datagram, fabric, mac, soon, stays_away},
};

/// A frame from `host` that says so.
fn from(host: [u8; 6], word: &str) -> Frame {
    let mut frame = datagram(ATTACKER, BROADCAST, word);
    frame.0[6..12].copy_from_slice(&host);
    frame
}

/// The attacker sends from `count` addresses.
fn flood(wire: &Wire, count: u16) {
    for number in 0..count {
        let [hi, lo] = number.to_be_bytes();
        wire.send(&from([2, 0xbb, 0, 0, hi, lo], "attack!")).unwrap();
    }
}

fn show(lan: &Lan, what: &str, port: &str) -> Value {
    let rows = lan.fabric.edges[0].show(what).unwrap();
    rows.into_iter().find(|row| row["port"] == port).unwrap()
}

/// How many addresses an attachment has, as it is accounted for, and as the FDB has them.
fn held(lan: &Lan, port: &str) -> (u64, u64) {
    let macs = show(lan, "guards", port)["macs"].as_u64().unwrap();
    let at = format!("{port} untagged");
    let fdb = lan.fabric.edges[0].fdb().unwrap();
    (macs, fdb.iter().filter(|row| row.at == at && row.state != "configured").count() as u64)
}

/// Where an address is, and in which state.
fn place(lan: &Lan, host: u8) -> Option<(String, String)> {
    lan.fabric.edges[0].fdb_entry(mac(host)).unwrap().map(|row| (row.at, row.state))
}

/// Dsniff's `macof` (D. Song, 1999): who fills the table makes a hub of the switch, and hears what
/// is for others. Its own segment's share is what it can fill; its attachment's limit keeps it from
/// that.
#[test]
fn mac_flooding() {
    let segment: Keys<'_> = &[("mac_limit", "200")];
    let open = Setting { segment, attacker: OFF, ..Setting::default() };
    let lan = Lan::new(open);
    flood(&lan.attacker, 400);
    assert!(
        soon(|| show(&lan, "guards", "p1")["macs"] == 200),
        "the share is full: {}",
        show(&lan, "guards", "p1")
    );
    lan.victim.send(&datagram(VICTIM, BROADCAST, "I am here")).unwrap();
    assert!(comes(&lan.peer, "I am here"));
    lan.peer.send(&datagram(PEER, mac(VICTIM), "secret")).unwrap();
    assert!(comes(&lan.attacker, "secret"), "the victim's traffic is flooded without the guard");
    drop(lan);

    let lan = Lan::new(Setting { segment, ..Setting::default() });
    flood(&lan.attacker, 400);
    assert!(soon(|| lan.dropped("mac-limit") == 336), "{}", show(&lan, "guards", "p1"));
    assert_eq!(held(&lan, "p1"), (64, 64));
    lan.introduce();
    lan.victim_is_reached();
    let unlearned: Vec<Frame> =
        (0..20).map(|number| from([2, 0xcc, 0, 0, 0, number], "attack!")).collect();
    lan.withstands(&lan.attacker, &unlearned);
    assert_eq!((held(&lan, "p0"), held(&lan, "p2")), ((1, 1), (1, 1)));
}

/// The same where frames over the limit are forwarded: nothing is learned of them either.
#[test]
fn mac_flooding_where_the_rest_is_forwarded() {
    let lan = Lan::new(Setting {
        attacker: &[("mac_limit", "5"), ("over_limit", "\"forward\"")],
        ..Setting::default()
    });
    for number in 0..20 {
        lan.attacker.send(&from([2, 0xbb, 0, 0, 0, number], &format!("number {number}."))).unwrap();
        assert!(comes(&lan.victim, &format!("number {number}.")));
    }
    assert_eq!(held(&lan, "p1"), (5, 5));
    assert_eq!(
        (show(&lan, "guards", "p1")["macs_refused"].as_u64(), lan.dropped("mac-limit")),
        (Some(15), 0)
    );
    lan.introduce();
    lan.victim_is_reached();
}

/// CAM exhaustion of a neighbour: one operator fills all that it may, and another's segment on the
/// same node learns as before.
#[test]
fn cam_exhaustion_of_a_neighbour_segment() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = ["p0", "p1", "p2", "p3"].map(|port| fabric.plug(0, port).unwrap());
    let file = ["p0", "p1", "p2", "p3"].into_iter().fold(
        sillon_rig::NodeFile::new("edge1", &["10.99.0.1"])
            .key("max_fdb", 400)
            .port("up0", "uplink"),
        |file, port| file.port(port, "access"),
    );
    let file = file.segment("alder-lan", 100, "lan", &[]).key("mac_limit", 200);
    let file = file.segment("birch-lan", 200, "lan", &[]).key("mac_limit", 200);
    let file = file.attach("alder-lan", "p0", "untagged").key("mac_limit", 200).attach(
        "alder-lan",
        "p1",
        "untagged",
    );
    let file = file.attach("birch-lan", "p2", "untagged").key("mac_limit", 100).attach(
        "birch-lan",
        "p3",
        "untagged",
    );
    fabric.edges[0].start(&file).unwrap();
    wires[3].send(&datagram(3, BROADCAST, "I am birch's")).unwrap();
    assert!(comes(&wires[2], "I am birch's"));
    victim::goes_on(&wires[2], mac(3), &wires[3], || {
        flood(&wires[1], 2000);
        flood(&wires[0], 2000);
    });
    let macs = |segment: usize| fabric.edges[0].show("segments").unwrap()[segment]["macs"].clone();
    assert!(soon(|| macs(0) == 200), "alder has its share: {}", macs(0));
    // One of 100 is who has talked all the time.
    flood(&wires[2], 99);
    assert!(soon(|| macs(1) == 101), "birch's are all learned: {}", macs(1));
    wires[3].send(&datagram(3, [2, 0xbb, 0, 0, 0, 98], "known")).unwrap();
    assert!(comes(&wires[2], "known") && stays_away(&wires[0], "known"));
    assert!(fabric.edges[0].sillon(&["verify"]).unwrap().status.success());
}

const CONFIGURED: Keys<'static> = &[("macs", "[\"02:00:00:00:00:03\"]")];

/// The attacker, or who is at the far node, says to be the victim; then where do frames for the
/// victim go?
fn steals(lan: &Lan, from_far: bool) -> bool {
    lan.introduce();
    let thief = if from_far { &lan.far } else { &lan.attacker };
    thief.send(&from(mac(VICTIM), "attack!")).unwrap();
    std::thread::sleep(crate::common::SILENCE);
    lan.peer.send(&datagram(PEER, mac(VICTIM), "for the victim")).unwrap();
    let stolen = !comes(&lan.victim, "for the victim");
    assert_eq!(
        stolen,
        thief.expect(crate::common::SILENCE, |f| f.contains(b"for the victim")).unwrap().is_some()
    );
    stolen
}

/// MAC spoofing (CAPEC-154's port stealing): one frame from a gateway's address moves it, and all
/// that is for it comes to the thief.
#[test]
fn mac_stealing_of_a_gateway() {
    let lan = Lan::new(Setting::default());
    assert!(steals(&lan, false), "an address moves without the guard");
    lan.reload(Setting { victim: CONFIGURED, ..Setting::default() });
    assert!(!steals(&lan, false));
    assert_eq!(lan.dropped("mac-configured"), 1);
    assert_eq!(place(&lan, VICTIM).unwrap(), ("p0 untagged".to_owned(), "configured".to_owned()));
    lan.victim_is_reached();
    lan.withstands(&lan.attacker, &[from(mac(VICTIM), "attack!")]);
    drop(lan);
    let lan = Lan::new(Setting { victim: &[("sticky", "true")], ..Setting::default() });
    assert!(!steals(&lan, false));
    assert_eq!(lan.dropped("mac-sticky"), 1);
    lan.victim_is_reached();
    lan.withstands(&lan.attacker, &[from(mac(VICTIM), "attack!")]);
}

/// The same from another node, out of a tunnel that is trusted otherwise.
#[test]
fn mac_stealing_of_a_gateway_from_another_node() {
    let lan = Lan::new(Setting::default());
    assert!(steals(&lan, true), "an address moves to another node without the guard");
    let from_tunnel = |reason| lan.fabric.edges[0].dropped("alder-lan", reason).unwrap();
    lan.reload(Setting { victim: CONFIGURED, ..Setting::default() });
    assert!(!steals(&lan, true));
    assert_eq!(from_tunnel("mac-configured"), 1);
    lan.withstands(&lan.far, &[from(mac(VICTIM), "attack!")]);
    drop(lan);
    let lan = Lan::new(Setting { victim: &[("sticky", "true")], ..Setting::default() });
    assert!(!steals(&lan, true));
    assert_eq!(lan.fabric.edges[0].dropped("alder-lan", "mac-sticky").unwrap(), 1);
}

/// A configured address is taken before its owner has said a word, and a decision that was made
/// before it was configured does not outlive that.
#[test]
fn mac_stealing_before_its_owner_speaks() {
    let lan = Lan::new(Setting { victim: CONFIGURED, ..Setting::default() });
    lan.attacker.send(&from(mac(VICTIM), "attack!")).unwrap();
    assert!(soon(|| lan.dropped("mac-configured") == 1));
    lan.peer.send(&datagram(PEER, mac(VICTIM), "first words")).unwrap();
    assert!(
        comes(&lan.victim, "first words") && stays_away(&lan.attacker, "first words"),
        "it is not flooded either"
    );
    drop(lan);
    let lan = Lan::new(Setting::default());
    lan.introduce();
    for round in 0..3 {
        let mut stolen = datagram(VICTIM, mac(PEER), &format!("attack! {round}"));
        stolen.0[6..12].copy_from_slice(&mac(VICTIM));
        lan.attacker.send(&stolen).unwrap();
        assert!(comes(&lan.peer, "attack!"));
        lan.reload(Setting { victim: CONFIGURED, ..Setting::default() });
        lan.attacker.send(&stolen).unwrap();
        assert!(stays_away(&lan.peer, "attack!"), "round {round}");
        lan.reload(Setting::default());
    }
}

/// An attachment with a list has no other addresses: nobody behind it invents one.
#[test]
fn an_address_that_was_not_given() {
    let listed: Keys<'_> = &[("macs", "[\"02:00:00:00:00:02\", \"02:00:00:00:00:22\"]")];
    let lan = Lan::new(Setting { attacker: listed, ..Setting::default() });
    lan.introduce();
    lan.attacker.send(&from([2, 0xbb, 0, 0, 0, 1], "attack!")).unwrap();
    lan.attacker.send(&from(mac(PEER), "attack!")).unwrap();
    assert!(soon(|| lan.dropped("mac-not-listed") == 2));
    assert!(stays_away(&lan.victim, "attack!"));
    lan.withstands(
        &lan.attacker,
        &[from([2, 0xbb, 0, 0, 0, 1], "attack!"), from(mac(PEER), "attack!")],
    );
    lan.attacker.send(&from(mac(0x22), "one of mine")).unwrap();
    assert!(comes(&lan.victim, "one of mine"));
    lan.victim_is_reached();
}

/// The node's own addresses, with which a frame of an operator would be the owner's.
#[test]
fn impersonating_the_node() {
    let lan = Lan::new(Setting { attacker: OFF, ..Setting::default() });
    lan.introduce();
    let ports = lan.fabric.edges[0].show("ports").unwrap();
    for (count, port) in (1..).zip(&ports) {
        let octets: Vec<u8> = port["mac"]
            .as_str()
            .unwrap()
            .split(':')
            .map(|part| u8::from_str_radix(part, 16).unwrap())
            .collect();
        lan.attacker.send(&from(octets.try_into().unwrap(), "attack!")).unwrap();
        assert!(soon(|| lan.dropped("source-is-node") == count), "{}", port["name"]);
    }
    assert!(stays_away(&lan.victim, "attack!"));
    lan.victim_is_reached();
}

/// The victim and the attacker take turns with the victim's address.
fn flap(lan: &Lan, times: usize) {
    for turn in 0..times {
        let (wire, word) =
            if turn % 2 == 0 { (&lan.attacker, "attack!") } else { (&lan.victim, "mine") };
        wire.send(&from(mac(VICTIM), word)).unwrap();
        std::thread::sleep(Duration::from_millis(30));
    }
    lan.peer.drain().unwrap();
}

/// RFC 7432 section 15.1: an address that two places claim moves to and fro, and with it the
/// traffic and the tables' peace.
#[test]
fn mac_move_flapping() {
    let open = Setting { segment: &[("move_limit", "0")], ..Setting::default() };
    let lan = Lan::new(open);
    lan.introduce();
    flap(&lan, 11);
    assert_eq!(
        place(&lan, VICTIM).unwrap().0,
        "p1 untagged",
        "it moves as often as it likes without the guard"
    );
    drop(lan);
    let lan = Lan::new(Setting::default());
    lan.introduce();
    flap(&lan, 11);
    // The fifth move is the attacker's, and is not made.
    assert_eq!(place(&lan, VICTIM).unwrap(), ("p0 untagged".to_owned(), "frozen".to_owned()));
    assert_eq!(lan.dropped("mac-frozen"), 4);
    assert!(soon(|| lan.fabric.edges[0].log().contains("moved too often")));
    lan.victim_is_reached();
    lan.withstands(&lan.attacker, &[from(mac(VICTIM), "attack!")]);
    let thaw = ["agent", "thaw", "--node", "edge1", "--segment", "alder-lan"];
    let thawed = lan.fabric.edges[0].sillon(&thaw).unwrap();
    assert_eq!(String::from_utf8_lossy(&thawed.stdout), "thawed: 1 address\n", "{thawed:?}");
    assert_eq!(place(&lan, VICTIM), None);
    lan.attacker.send(&from(mac(VICTIM), "here now")).unwrap();
    assert!(comes(&lan.peer, "here now"));
    assert_eq!(place(&lan, VICTIM).unwrap(), ("p1 untagged".to_owned(), "learned".to_owned()));
    for port in ["p0", "p1", "p2"] {
        let (accounted, found) = held(&lan, port);
        assert_eq!(accounted, found, "{port}");
    }
}

/// It thaws by itself, too.
#[test]
fn a_frozen_address_thaws() {
    let segment: Keys<'_> = &[("freeze", "1"), ("move_limit", "3")];
    let lan = Lan::new(Setting { segment, ..Setting::default() });
    lan.introduce();
    flap(&lan, 3);
    assert_eq!(place(&lan, VICTIM).unwrap().1, "frozen");
    std::thread::sleep(Duration::from_millis(1100));
    lan.attacker.send(&from(mac(VICTIM), "moved at last")).unwrap();
    assert!(comes(&lan.peer, "moved at last"));
    assert_eq!(place(&lan, VICTIM).unwrap(), ("p1 untagged".to_owned(), "learned".to_owned()));
}

/// The dampening itself as a weapon: who makes a victim's address flap freezes it at the wrong
/// place. Not one that is configured.
#[test]
fn freezing_of_a_victims_address() {
    let lan = Lan::new(Setting { victim: CONFIGURED, ..Setting::default() });
    lan.introduce();
    flap(&lan, 40);
    assert_eq!(place(&lan, VICTIM).unwrap(), ("p0 untagged".to_owned(), "configured".to_owned()));
    assert_eq!((lan.dropped("mac-configured"), lan.dropped("mac-frozen")), (20, 0));
    lan.victim_is_reached();
    lan.withstands(&lan.attacker, &[from(mac(VICTIM), "attack!")]);
}

/// The account of an attachment's addresses survives moving, ageing and a reload; else who knows
/// how to make it drift locks others out.
#[test]
fn drift_of_the_accounts() {
    let segment: Keys<'_> = &[("move_limit", "0"), ("ageing", "1")];
    let lan = Lan::new(Setting { segment, ..Setting::default() });
    for round in 0..40_u8 {
        let wire = [&lan.attacker, &lan.victim, &lan.peer][usize::from(round) % 3];
        for number in 0..20 {
            wire.send(&from([2, 0xbb, 0, 0, 0, number], "attack!")).unwrap();
        }
        if round % 10 == 0 {
            lan.reload(Setting {
                segment,
                victim: if round == 20 { CONFIGURED } else { &[] },
                ..Setting::default()
            });
        }
    }
    let settled = || ["p0", "p1", "p2"].iter().all(|port| held(&lan, port).0 == held(&lan, port).1);
    assert!(soon(settled), "{:?}", ["p0", "p1", "p2"].map(|port| held(&lan, port)));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(["p0", "p1", "p2"].map(|port| held(&lan, port)), [(0, 0); 3], "all are forgotten");
    flood(&lan.attacker, 100);
    assert!(soon(|| held(&lan, "p1") == (64, 64)));
}
