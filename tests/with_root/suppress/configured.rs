//! Bindings that the file gives.

use crate::{
    common::soon,
    suppress::{
        frames::*,
        lan::{Keys, Lan, PLAN, Plan},
    },
};

const BOUND: Keys<'static> = &[(
    "bindings",
    "[\"10.0.0.2 02:00:00:00:00:02\", \"fd00::2 02:00:00:00:00:02 router\", \"fd00::20 \
        02:00:00:00:00:02\"]",
)];

#[test]
fn what_is_configured_is_answered_and_never_moves() {
    let lan = Lan::new(Plan { hosts: [&[], BOUND, &[], &[]], ..PLAN });
    lan.is_flooded(1, &asks(1, 2));
    // Once its place is known.
    lan.greets(2);
    lan.is_answered(1, &asks(1, 2), &replies(2, 1));
    lan.is_answered(1, &solicits(1, 2), &advertises_to(2, 2, 1, ROUTER | OVERRIDE));
    lan.is_answered(1, &solicits(1, 0x20), &advertises_to(2, 0x20, 1, OVERRIDE));
    for host in [3, 4] {
        lan.says(host, &announces(host, 2));
        lan.says(host, &advertises(host, 2, OVERRIDE));
        // That of host 1, which asked: others' claims are not even kept.
        assert_eq!(lan.fabric.edges[0].show("segments").unwrap()[0]["bindings"], 1);
        lan.is_answered(1, &asks(1, 2), &replies(2, 1));
        lan.is_answered(1, &solicits(1, 2), &advertises_to(2, 2, 1, ROUTER | OVERRIDE));
    }
    // It is known where it is configured: elsewhere it is learned.
    assert_eq!(lan.bindings(0)["10.0.0.2"]["state"], "configured");
    assert_eq!(lan.bindings(0)["10.0.0.2"]["age"], serde_json::Value::Null);
    assert_eq!(lan.bindings(1)["10.0.0.2"]["state"], "learned");
    assert_eq!(lan.owner(1, ip4(2)), Some(4));
    lan.is_in_order();
}

#[test]
fn with_its_mac_it_is_known_from_the_first_frame() {
    let keys = [
        BOUND,
        &[("macs", "[\"02:00:00:00:00:02\"]"), ("prefixes", "[\"10.0.0.0/24\", \"fd00::/64\"]")],
    ]
    .concat();
    let lan = Lan::new(Plan { hosts: [&[], &keys, &[], &[]], ..PLAN });
    lan.is_answered(1, &asks(1, 2), &replies(2, 1));
    lan.is_answered(1, &solicits(1, 2), &advertises_to(2, 2, 1, ROUTER | OVERRIDE));
}

#[test]
fn what_is_configured_replaces_what_was_heard_and_leaves_nothing() {
    let lan = Lan::new(PLAN);
    lan.says(3, &announces(3, 2));
    lan.greets(2);
    assert_eq!(lan.owner(0, ip4(2)), Some(3));
    lan.reload(Plan { hosts: [&[], BOUND, &[], &[]], ..PLAN });
    lan.is_answered(1, &asks(1, 2), &replies(2, 1));
    // That of host 1, which asked.
    let heard = || lan.fabric.edges[0].show("segments").unwrap()[0]["bindings"].as_u64().unwrap();
    assert!(soon(|| heard() == 1), "what was heard before is not shown, and counts");
    lan.reload(PLAN);
    assert_eq!(lan.owner(0, ip4(2)), None);
    lan.is_flooded(1, &asks(1, 2));
    lan.is_in_order();
}
