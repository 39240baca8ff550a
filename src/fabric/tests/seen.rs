//! What agents see of their nodes: what is left out is told to whom it concerns, and what a device
//! can't do is refused.

use super::{
    super::transact::{LeftOut, Seen},
    *,
};

fn report(fabric: &Fabric, node: &str, seen: Option<Seen>) -> Change {
    let Change::Report(report) = applied(node, fabric.state.revision()) else { unreachable!() };
    Change::Report(Report { seen, ..report })
}

fn left_out(segment: Option<(&str, &str)>, port: Option<&str>, encap: Option<&str>) -> LeftOut {
    LeftOut {
        segment: segment.map(|(operator, name)| owned(operator, name)),
        port: port.map(|port| port.parse().unwrap()),
        encap: encap.map(|encap| encap.parse().unwrap()),
        why: "there is no such interface".to_owned(),
        help: "is it p7?".to_owned(),
        stays: false,
    }
}

fn devices(mtus: &[(&str, u32)]) -> Option<Seen> {
    let device = |(port, mtu): &(&str, u32)| {
        (port.parse().unwrap(), Device { mtu: *mtu, ..Device::default() })
    };
    Some(Seen { devices: mtus.iter().map(device).collect(), ..Seen::default() })
}

fn lan(key: &str, mtu: u16) -> Change {
    put(key, &format!(r#"{{"kind":"segment","spec":{{"service":"lan","mtu":{mtu}}}}}"#))
}

fn attach(key: &str, port: &str, encap: &str) -> Change {
    let spec = format!(r#"{{"segment":"lan","port":"{port}","encap":"{encap}"}}"#);
    put(key, &format!(r#"{{"kind":"attachment","spec":{spec}}}"#))
}

/// alder has s1 and s3, birch s2 at the same node as s1.
fn attached() -> Fabric {
    let mut fabric = Fabric::leased();
    fabric.does(vec![
        lan("segment/alder/lan", 1500),
        lan("segment/birch/lan", 1500),
        attach("attachment/alder/a1", "edge1/p1", "untagged"),
        attach("attachment/alder/a3", "edge1/h0", "dot1q 10"),
        attach("attachment/birch/b2", "edge1/h0", "dot1q 20"),
    ]);
    fabric
}

fn programmed(fabric: &Fabric) -> Vec<(&'static str, bool)> {
    let all = [
        "attachment/alder/a1",
        "attachment/alder/a3",
        "attachment/birch/b2",
        "segment/alder/lan",
        "segment/birch/lan",
    ];
    all.map(|key| (key, fabric.condition(key, ConditionKind::Programmed).unwrap())).into()
}

#[test]
fn what_a_node_leaves_out_is_not_programmed_and_all_else_is() {
    let mut fabric = attached();
    for (what, out) in [
        (left_out(None, Some("p1"), None), "attachment/alder/a1"),
        (left_out(Some(("alder", "lan")), Some("h0"), Some("dot1q 10")), "attachment/alder/a3"),
        (left_out(Some(("birch", "lan")), None, None), "attachment/birch/b2"),
    ] {
        let segment = if out.contains("alder") { "segment/alder/lan" } else { "segment/birch/lan" };
        let seen = Seen { left_out: vec![what.clone()], ..Seen::default() };
        for _ in 0..2 {
            fabric.does(vec![report(&fabric, "edge1", Some(seen.clone()))]);
            for (key, is) in programmed(&fabric) {
                assert_eq!(is, key != out && key != segment, "{key} {what:?}");
            }
            let (_, why) = fabric.why(out, ConditionKind::Programmed);
            assert!(
                why.contains("node/edge1") && why.contains("there is no such interface"),
                "{why}"
            );
            assert!(!why.contains("p7"), "what the owner is to do is not for the operator: {why}");
            let (_, why) = fabric.why(segment, ConditionKind::Programmed);
            assert!(why.contains(out) && why.contains("no such interface"), "{why}");
            // Who has not looked yet takes nothing back.
            fabric.does(vec![report(&fabric, "edge1", None)]);
            assert_eq!(fabric.condition(out, ConditionKind::Programmed), Some(false));
            // Nor does what is asked besides.
            fabric.does(vec![put(
                "profile/birch/gold",
                r#"{"kind":"profile","spec":{"cir":"1 Gbit/s"}}"#,
            )]);
        }
        fabric.does(vec![report(&fabric, "edge1", Some(Seen::default()))]);
        assert!(programmed(&fabric).iter().all(|(_, is)| *is), "{:?}", programmed(&fabric));
    }
    let seen = Seen {
        left_out: vec![left_out(None, Some("p1"), None), left_out(None, None, None)],
        ..Seen::default()
    };
    fabric.does(vec![report(&fabric, "edge1", Some(seen))]);
    for key in ["port/edge1/p1", "node/edge1"] {
        let (is, why) = fabric.why(key, ConditionKind::Degraded);
        assert!(is && why.contains("is it p7?"), "{key}: {why}");
    }
    fabric.does(vec![report(&fabric, "edge1", Some(Seen::default()))]);
    assert_eq!(fabric.condition("node/edge1", ConditionKind::Degraded), Some(false));
}

#[test]
fn what_is_taken_away_is_confirmed_whatever_else_is_left_out() {
    let mut fabric = attached();
    fabric.converge();
    let to = owned("birch", "taken");
    fabric.does(vec![Change::Transfer { server: "s1".parse().unwrap(), to }]);
    let tombstone: Key = "tombstone/edge1/encap/p1/untagged".parse().unwrap();
    assert!(fabric.state.get(&tombstone).is_some());
    let seen =
        Seen { left_out: vec![left_out(Some(("alder", "lan")), None, None)], ..Seen::default() };
    fabric.does(vec![report(&fabric, "edge1", Some(seen))]);
    assert!(fabric.state.get(&tombstone).is_none());
    assert_eq!(fabric.condition("attachment/alder/a3", ConditionKind::Programmed), Some(false));
    assert_eq!(fabric.condition("attachment/birch/b2", ConditionKind::Programmed), Some(true));
}

#[test]
fn more_than_a_device_can_is_refused_once_that_is_known() {
    let mut fabric = attached();
    // Nothing is known.
    fabric.does(vec![lan("segment/alder/lan", 9000)]);
    fabric.does(vec![lan("segment/alder/lan", 1500)]);
    fabric.does(vec![report(
        &fabric,
        "edge1",
        devices(&[("p1", 1500), ("h0", 1500), ("up0", 1549)]),
    )]);
    for mtu in [1501, 9000] {
        let refused = fabric.is_refused(Rule::Device, vec![lan("segment/alder/lan", mtu)]);
        assert!(
            refused.message.contains("edge1/p1") && refused.message.contains("1500"),
            "{refused}"
        );
        assert!(refused.objects.contains(&"segment/alder/lan".parse().unwrap()), "{refused:?}");
        assert!(!format!("{refused:?}").contains("birch"), "{refused:?}");
    }
    let tagged = |encap| vec![attach("attachment/alder/a1", "edge1/p1", encap)];
    for encap in ["qinq 10.11", "qinq 10", "qinq"] {
        let refused = fabric.is_refused(Rule::Device, tagged(encap));
        assert!(refused.message.contains("1504") && refused.message.contains(encap), "{refused}");
    }
    fabric.does(tagged("dot1q 10"));
    // A device that is not there yet may be anything.
    fabric.does(vec![report(&fabric, "edge1", devices(&[("p1", 0), ("h0", 1504), ("up0", 1549)]))]);
    fabric.does(tagged("qinq 10.11"));
    // The tunnel needs 50 bytes more, as soon as there is one.
    let refused = fabric
        .is_refused(Rule::Device, vec![attach("attachment/alder/far", "edge2/p1", "untagged")]);
    assert!(refused.message.contains("1550") && refused.message.contains("1549"), "{refused}");
    assert!(refused.objects.contains(&"node/edge1".parse().unwrap()), "{refused:?}");
    fabric.does(vec![report(&fabric, "edge1", devices(&[("up0", 1550)]))]);
    fabric.does(vec![attach("attachment/alder/far", "edge2/p1", "untagged")]);
}

#[test]
fn a_device_that_became_less_stands_in_the_way_of_nobody_who_asks_for_no_more() {
    let mut fabric = attached();
    fabric.does(vec![attach("attachment/alder/far", "edge2/p1", "untagged")]);
    fabric.does(vec![report(
        &fabric,
        "edge1",
        devices(&[("p1", 1400), ("h0", 1400), ("up0", 1400)]),
    )]);
    fabric.does(vec![put(
        "segment/alder/lan",
        r#"{"kind":"segment","spec":{"service":"lan","ageing":77}}"#,
    )]);
    fabric.does(vec![lan("segment/alder/lan", 1400)]);
    fabric.is_refused(Rule::Device, vec![lan("segment/alder/lan", 1401)]);
    fabric.does(vec![Change::Transfer {
        server: "s1".parse().unwrap(),
        to: owned("birch", "taken"),
    }]);
    assert!(fabric.state.attachment(&owned("alder", "a1")).is_none());
    let objects = fabric.state.objects().map(|(key, object)| (key.clone(), (**object).clone()));
    restore_checked(fabric.state.revision(), objects.collect::<Vec<_>>()).unwrap();
}
