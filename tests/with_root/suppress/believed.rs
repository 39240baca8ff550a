//! Whom the edge believes, and for how long.

use std::time::Duration;

use sillon_rig::frame::Macs;

use crate::{
    common::{comes, datagram, mac, soon},
    suppress::{
        frames::*,
        lan::{Keys, Lan, PLAN, Plan},
    },
};

#[test]
fn each_way_to_speak_for_oneself_is_heard() {
    let lan = Lan::new(PLAN);
    lan.greets(1);
    lan.says(2, &announces(2, 2));
    lan.says(3, &asks(3, 200));
    lan.says(4, &advertises(4, 4, 0));
    lan.greets(3);
    // A unicast answer, on its own way.
    lan.send(2, &advertises_to(2, 2, 1, 0));
    assert!(lan.hears(1, &advertises_to(2, 2, 1, 0)));
    lan.send(4, &replies(4, 1));
    assert!(lan.hears(1, &replies(4, 1)));
    for (address, owner) in
        [(ip4(2).to_string(), 2), (ip4(3).to_string(), 3), (ip6(4).to_string(), 4)]
    {
        assert_eq!(
            (lan.owner(0, &address), lan.owner(1, &address)),
            (Some(owner), Some(owner)),
            "{address}"
        );
    }
    assert_eq!((lan.owner(0, ip6(2)), lan.owner(0, ip4(4))), (Some(2), Some(4)));
    assert_eq!(lan.owner(1, ip4(4)), Some(4));
    let at = |edge, address: &str| lan.bindings(edge)[address]["at"].as_str().unwrap().to_owned();
    assert_eq!(
        (at(0, "10.0.0.2"), at(0, "fd00::4")),
        ("p1 untagged".to_owned(), "10.99.0.2".to_owned())
    );
    assert_eq!(lan.bindings(1).len(), 4, "of hosts 2, 3 and 4, what was for all or came in here");
}

/// What is on its way by a decision of before is heard as well.
#[test]
fn a_flow_that_was_decided_is_heard() {
    let lan = Lan::new(PLAN);
    lan.greets(1);
    lan.greets(2);
    for _ in 0..3 {
        lan.send(2, &datagram(2, mac(1), "decided"));
        assert!(comes(lan.wire(1), "decided"));
    }
    lan.send(2, &replies(2, 1));
    lan.send(2, &advertises_to(2, 2, 1, OVERRIDE));
    assert!(lan.hears(1, &advertises_to(2, 2, 1, OVERRIDE)));
    assert_eq!((lan.owner(0, ip4(2)), lan.owner(0, ip6(2))), (Some(2), Some(2)));
}

#[test]
fn the_last_claim_counts() {
    let lan = Lan::new(PLAN);
    lan.greets(1);
    lan.says(2, &announces(2, 9));
    lan.says(2, &advertises(2, 9, OVERRIDE));
    let answer = |host: u8| {
        let arp = arp(
            Macs { from: mac(host), to: mac(1) },
            ARP_REPLY,
            (mac(host), ip4(9)),
            (mac(1), ip4(1)),
        );
        (arp, advertises_to(host, 9, 1, OVERRIDE))
    };
    for host in [3, 4, 2] {
        lan.says(host, &announces(host, 9));
        lan.says(host, &advertises(host, 9, OVERRIDE));
        let (arp, advertisement) = answer(host);
        lan.is_answered(1, &asks(1, 9), &arp);
        lan.is_answered(1, &solicits(1, 9), &advertisement);
    }
    // An advertisement that does not override replaces nothing (RFC 4861 section 7.2.5).
    lan.says(3, &advertises(3, 9, 0));
    lan.is_answered(1, &solicits(1, 9), &answer(2).1);
}

/// A host that moves takes its addresses with it, before it says anything of them.
#[test]
fn a_host_that_moves_is_answered_for_where_it_was() {
    let lan = Lan::new(PLAN);
    lan.greets(1);
    lan.says(2, &announces(2, 2));
    lan.send(3, &datagram(2, [0xff; 6], "I am here now"));
    assert!(comes(lan.wire(1), "I am here now") && comes(lan.wire(2), "I am here now"));
    lan.is_answered(2, &asks(1, 2), &replies(2, 1));
}

/// A solicitation tells where its source is, but not whether it is a router.
#[test]
fn a_question_makes_no_binding_and_changes_one() {
    let lan = Lan::new(PLAN);
    lan.says(2, &solicits(2, 200));
    assert_eq!(lan.owner(0, ip6(2)), None);
    lan.says(2, &advertises(2, 2, ROUTER | OVERRIDE));
    let from_elsewhere = Message {
        macs: Macs { from: mac(3), ..solicitation(2, 200).macs },
        option: Some((SOURCE_OPTION, mac(3))),
        ..solicitation(2, 200)
    };
    lan.says(3, &from_elsewhere.frame());
    lan.is_answered(1, &solicits(1, 2), &advertises_to(3, 2, 1, ROUTER | OVERRIDE));
}

/// Nothing is learned of what a guard drops, nor of who is not learned.
#[test]
fn who_is_not_believed_otherwise_is_not_believed_here() {
    let prefixes: Keys<'_> = &[("prefixes", "[\"10.0.0.2/32\", \"fd00::2/128\"]")];
    let listed: Keys<'_> = &[("macs", "[\"02:00:00:00:00:03\"]")];
    let lan = Lan::new(Plan {
        hosts: [&[("mac_limit", "1"), ("over_limit", "\"forward\"")], prefixes, listed, &[]],
        ..PLAN
    });
    let dropped = |reason| lan.fabric.edges[0].dropped_anywhere(reason).unwrap();
    lan.says(2, &announces(2, 2));
    lan.says(2, &advertises(2, 2, OVERRIDE));
    lan.send(2, &announces(2, 4));
    lan.send(2, &advertises(2, 4, OVERRIDE));
    assert!(soon(|| dropped("arp-spoofed") == 1 && dropped("address-not-listed") == 1));
    // Another attachment's MAC, and one that is not on the list.
    lan.send(
        2,
        &arp(Macs { from: mac(3), to: [0xff; 6] }, ARP_REPLY, (mac(3), ip4(2)), (mac(1), ip4(1))),
    );
    lan.send(3, &announces(9, 9));
    assert!(soon(|| dropped("mac-configured") == 1 && dropped("mac-not-listed") == 1));
    // One address more than may be learned, which is forwarded all the same.
    lan.greets(1);
    lan.says(1, &announces(8, 8));
    assert_eq!(lan.bindings(0).keys().collect::<Vec<_>>(), ["10.0.0.2", "fd00::2"]);
    assert_eq!((lan.owner(0, ip4(2)), lan.owner(0, ip6(2))), (Some(2), Some(2)));
    lan.is_in_order();
}

#[test]
fn what_is_not_heard_again_is_forgotten() {
    let lan = Lan::new(Plan { segment: &[("suppress", "true"), ("ageing", "3")], ..PLAN });
    lan.says(2, &announces(2, 2));
    lan.is_answered(1, &asks(1, 2), &replies(2, 1));
    // Its place stays known, and 10.0.0.2 is not spoken of.
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(500));
        lan.greets(2);
    }
    assert!(soon(|| lan.owner(0, ip4(2)).is_none()));
    lan.is_flooded(1, &asks(1, 2));
    // One that is spoken of stays.
    lan.says(2, &announces(2, 2));
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(500));
        lan.says(2, &announces(2, 2));
    }
    assert_eq!(lan.owner(0, ip4(2)), Some(2));
    // And it is not answered for one whose place is not known any longer.
    lan.says(2, &announces(2, 2));
    let is_forgotten = || lan.fabric.edges[0].fdb_entry(mac(2)).unwrap().is_none();
    assert!((0..3).any(|_| soon(is_forgotten)));
    lan.comes_to(1, &asks(1, 2), &[2, 3, 4]);
}

#[test]
fn a_segment_has_no_more_than_its_share() {
    let lan = Lan::new(Plan { segment: &[("suppress", "true"), ("mac_limit", "4")], ..PLAN });
    lan.greets(1);
    for address in 10..30 {
        lan.says(2, &announces(2, address));
    }
    assert_eq!(lan.bindings(0).len(), 4);
    let share = |edge: usize| {
        let segment = &lan.fabric.edges[edge].show("segments").unwrap()[0];
        (
            segment["bindings"].as_u64(),
            segment["bindings_refused"].as_u64(),
            segment["suppress"].as_bool(),
        )
    };
    for edge in [0, 1] {
        assert_eq!(share(edge), (Some(4), Some(16), Some(true)));
    }
    // Those stay that were first, and can change. Who asks speaks for itself as well.
    lan.is_flooded(1, &asks(1, 14));
    lan.says(3, &announces(3, 13));
    assert_eq!(lan.owner(0, ip4(13)), Some(3));
    assert_eq!(share(0), (Some(4), Some(17), Some(true)));
    lan.is_in_order();
}
