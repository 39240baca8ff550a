//! What is left of bindings when something changes: nothing for the next one.

use sillon_rig::Underlay;

use crate::{
    common::{fabric, soon},
    suppress::{
        frames::*,
        lan::{Lan, PLAN, Plan},
    },
};

fn introduced() -> Lan {
    let lan = Lan::new(PLAN);
    for host in [2, 4] {
        lan.says(host, &announces(host, host));
        lan.says(host, &advertises(host, host, OVERRIDE));
    }
    lan
}

#[test]
fn bindings_outlive_the_agent_and_not_the_node() {
    let mut lan = introduced();
    lan.fabric.edges[0].kill().unwrap();
    lan.is_answered(1, &asks(1, 2), &replies(2, 1));
    lan.says(3, &announces(3, 3));
    lan.fabric.edges[0].restart().unwrap();
    lan.is_answered(1, &asks(1, 2), &replies(2, 1));
    lan.is_answered(1, &asks(1, 3), &replies(3, 1));
    lan.fabric.edges[0].stop().unwrap();
    lan.fabric.edges[0].flush().unwrap();
    lan.fabric.edges[0].restart().unwrap();
    assert!(lan.bindings(0).is_empty());
    // The far edge still knows, and its own host is as it was.
    lan.is_answered(4, &asks(4, 2), &replies(2, 4));
    lan.is_flooded(1, &asks(1, 2));
}

#[test]
fn who_no_longer_suppresses_knows_nothing() {
    let lan = introduced();
    lan.reload(Plan { segment: &[], ..PLAN });
    assert!(lan.bindings(0).is_empty() && lan.bindings(1).is_empty());
    lan.is_flooded(1, &asks(1, 2));
    lan.is_in_order();
    lan.reload(PLAN);
    lan.is_flooded(1, &asks(1, 2));
    assert_eq!(lan.bindings(0).keys().collect::<Vec<_>>(), ["10.0.0.1"]);
    let segment = &lan.fabric.edges[0].show("segments").unwrap()[0];
    assert_eq!(segment["bindings"], 1, "what went is counted as gone");
}

/// What an attachment may claim no longer is not answered for any longer, either.
#[test]
fn narrower_prefixes_take_back_what_was_heard() {
    let lan = introduced();
    lan.reload(Plan { hosts: [&[], &[("prefixes", "[\"10.0.0.9/32\"]")], &[], &[]], ..PLAN });
    assert_eq!((lan.owner(0, ip4(2)), lan.owner(0, ip6(2))), (None, None));
    assert_eq!(
        (lan.owner(0, ip4(4)), lan.owner(1, ip4(2))),
        (Some(4), Some(2)),
        "elsewhere nothing changed"
    );
    lan.is_in_order();
}

/// An operator gives its servers back, and another one gets the same ports, VID and VNI, and has
/// the same addresses.
#[test]
fn the_next_operator_is_not_answered_for_the_last_one() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = ["p0", "p1", "p2"].map(|port| fabric.plug(0, port).unwrap());
    let leased = |name: &str, ports: &[&str]| {
        let file = ["p0", "p1", "p2"]
            .into_iter()
            .fold(fabric.file(0), |file, port| file.port(port, "access"));
        let file = file.segment(name, 100, "lan", &["10.99.0.2"]).key("suppress", true);
        ports.iter().fold(file, |file, port| file.attach(name, port, "untagged"))
    };
    let [alder, part, birch] = [
        leased("alder-lan", &["p0", "p1", "p2"]),
        leased("alder-lan", &["p0", "p2"]),
        leased("birch-lan", &["p0", "p1", "p2"]),
    ];
    fabric.edges[0].start(&alder).unwrap();
    let edge = &fabric.edges[0];
    let known = |count: usize| soon(|| edge.show("bindings").unwrap().len() == count);
    wires[1].send(&announces(2, 2)).unwrap();
    wires[2].send(&announces(3, 3)).unwrap();
    assert!(known(2));
    edge.reload(&part).unwrap();
    let left = edge.show("bindings").unwrap();
    assert_eq!(
        (left.len(), left[0]["address"].as_str()),
        (1, Some("10.0.0.3")),
        "who left takes its own along"
    );
    edge.reload(&birch).unwrap();
    assert!(edge.show("bindings").unwrap().is_empty());
    let segment = &edge.show("segments").unwrap()[0];
    assert_eq!(
        (segment["bindings"].as_u64(), segment["bindings_refused"].as_u64()),
        (Some(0), Some(0))
    );
    wires[0].drain().unwrap();
    wires[0].send(&asks(1, 3)).unwrap();
    assert!(
        wires[2].expect(crate::common::PATIENCE, |frame| *frame == asks(1, 3)).unwrap().is_some()
    );
    assert!(wires[0].expect(crate::common::SILENCE, is_about_neighbours).unwrap().is_none());
    assert!(edge.sillon(&["verify"]).unwrap().status.success());
}
