//! What is on trial is taken back, by whom, when, and how much of it.

use super::*;

/// On trial for a minute.
fn on_trial(of: &str, changes: Vec<Change>) -> Vec<Change> {
    let of = (of != "owner").then(|| name(of));
    [changes, vec![Change::Trial { of, seconds: 60 }]].concat()
}

/// As the controller does at each tick.
fn expire(fabric: &mut Fabric, of: &str) -> Result<(), Refused> {
    let of = (of != "owner").then(|| name(of));
    let transaction = Transaction {
        who: Actor::Controller,
        when: fabric.now,
        seed: 1,
        changes: vec![Change::RollBack(of)],
    };
    fabric.state = transact(&fabric.state, &transaction)?.state;
    Ok(())
}

fn later(fabric: &mut Fabric, seconds: i64) {
    fabric.now = fabric.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
}

/// What is asked of all objects, without their revisions and conditions.
fn bodies(fabric: &Fabric) -> Vec<(String, Body)> {
    let asked = fabric.state.objects().filter(|(key, _)| key.kind() != Kind::Tombstone);
    asked.map(|(key, object)| (key.to_string(), object.body.clone())).collect()
}

/// alder has a segment on both edges.
fn attached() -> Fabric {
    let mut fabric = Fabric::leased();
    fabric.does(vec![
        lan("alder/lan"),
        attach("alder/a1", "lan", "edge1/p1", "dot1q"),
        attach("alder/a3", "lan", "edge2/p1", "untagged"),
    ]);
    fabric.converge();
    fabric
}

fn mtu(mtu: u32) -> Change {
    put(
        "segment/alder/lan",
        &format!(r#"{{"kind":"segment","spec":{{"service":"lan","mtu":{mtu}}}}}"#),
    )
}

#[test]
fn at_its_deadline_all_is_what_it_was() {
    let mut fabric = attached();
    let before = bodies(&fabric);
    fabric.does(on_trial(
        "alder",
        vec![
            mtu(9000),
            lan("alder/two"),
            attach("alder/a1", "two", "edge1/h0", "dot1q"),
            delete("attachment/alder/a3"),
        ],
    ));
    assert_eq!(
        fabric.is_refused(Rule::Dangling, vec![Change::Confirm(None)]).objects,
        ["trial/owner".parse().unwrap()]
    );
    later(&mut fabric, 59);
    assert_eq!(expire(&mut fabric, "alder").unwrap_err().rule, Rule::Trial, "not yet");
    later(&mut fabric, 1);
    // Also while edge2 has not said that it gave up anything: it is the same segment's again.
    expire(&mut fabric, "alder").unwrap();
    assert_eq!(bodies(&fabric), before);
    assert_eq!(fabric.condition("attachment/alder/a3", ConditionKind::Programmed), Some(false));
    fabric.converge();
    assert_eq!(fabric.condition("segment/alder/lan", ConditionKind::Programmed), Some(true));
    assert!(fabric.state.of_kind(Kind::Tombstone).next().is_none());
}

#[test]
fn a_segment_that_was_removed_has_its_vni_again() {
    let mut fabric = attached();
    let before = bodies(&fabric);
    let all = ["attachment/alder/a1", "attachment/alder/a3", "segment/alder/lan"];
    fabric.does(on_trial("alder", all.map(delete).to_vec()));
    fabric.does(vec![Change::RollBack(Some(name("alder")))]);
    assert_eq!(bodies(&fabric), before);
}

#[test]
fn what_is_confirmed_stays_and_the_next_may_come() {
    let mut fabric = attached();
    fabric.does(on_trial("alder", vec![mtu(9000)]));
    fabric.is_refused(Rule::Trial, on_trial("alder", vec![mtu(8000)]));
    // Another asker has its own, and a change without a trial is none.
    fabric.does(on_trial(
        "owner",
        vec![
            delete("port/edge2/p2"),
            put("server/s2", r#"{"kind":"server","spec":{"ports":["edge1/p2"]}}"#),
        ],
    ));
    fabric.does(vec![Change::Confirm(Some(name("alder")))]);
    later(&mut fabric, 100);
    assert_eq!(expire(&mut fabric, "alder").unwrap_err().rule, Rule::Dangling);
    let key = "segment/alder/lan".parse().unwrap();
    assert!(
        matches!(&fabric.state.get(&key).unwrap().body, Body::Segment(lan) if lan.spec.mtu == 9000)
    );
    fabric.does(on_trial("alder", vec![mtu(8000)]));
    expire(&mut fabric, "owner").unwrap();
    assert!(fabric.state.get(&"port/edge2/p2".parse().unwrap()).is_some());
}

#[test]
fn what_was_changed_since_stays_as_it_is_and_all_else_is_taken_back() {
    let mut fabric = attached();
    fabric.does(on_trial(
        "alder",
        vec![
            mtu(9000),
            lan("alder/two"),
            attach("alder/a1", "lan", "edge1/p1", "untagged"),
            delete("attachment/alder/a3"),
        ],
    ));
    fabric.converge();
    fabric.does(vec![mtu(7000), attach("alder/a3", "lan", "edge2/p1", "untagged")]);
    later(&mut fabric, 60);
    expire(&mut fabric, "alder").unwrap();
    let body =
        |key: &str| fabric.state.get(&key.parse().unwrap()).map(|object| object.body.clone());
    assert!(matches!(body("segment/alder/lan"), Some(Body::Segment(lan)) if lan.spec.mtu == 7000));
    assert_eq!(body("segment/alder/two"), None);
    assert!(
        matches!(body("attachment/alder/a1"), Some(Body::Attachment(a1)) if a1.encap.to_string() != "untagged")
    );
    assert!(body("attachment/alder/a3").is_some());
}

#[test]
fn what_others_use_by_now_is_not_taken_away_and_the_trial_says_so_until_it_can_be() {
    let mut fabric = attached();
    fabric.does(on_trial("alder", vec![lan("alder/two")]));
    fabric.does(vec![attach("alder/new", "two", "edge1/h0", "dot1q")]);
    later(&mut fabric, 60);
    let refused = expire(&mut fabric, "alder").unwrap_err();
    assert_eq!(refused.rule, Rule::Dangling);
    let hold = || vec![Change::Hold(Some(name("alder")), refused.message.clone())];
    assert_eq!(fabric.does(hold()).len(), 1);
    assert_eq!(fabric.does(hold()), [], "it is said once");
    assert_eq!(fabric.condition("trial/operator/alder", ConditionKind::Degraded), Some(true));
    fabric.does(vec![delete("attachment/alder/new")]);
    fabric.converge();
    expire(&mut fabric, "alder").unwrap();
    assert!(fabric.state.get(&"segment/alder/two".parse().unwrap()).is_none());
}

#[test]
fn what_cannot_be_taken_back_is_not_put_on_trial() {
    let mut fabric = attached();
    let offer = || put("lease/birch/l9", r#"{"kind":"lease","spec":{"server":"s1"}}"#);
    fabric.is_refused(
        Rule::Trial,
        on_trial("owner", vec![step("alder", "l1", LeaseStep::Drain(Timestamp::MAX))]),
    );
    fabric.is_refused(Rule::Trial, on_trial("owner", vec![Change::Forget { node: name("edge1") }]));
    fabric.is_refused(Rule::Trial, on_trial("owner", on_trial("owner", vec![offer()])));
    for seconds in [0, Trial::LONGEST + 1] {
        fabric.is_refused(Rule::Trial, vec![offer(), Change::Trial { of: None, seconds }]);
    }
    fabric.does(vec![offer()]);
    fabric.is_refused(Rule::Trial, on_trial("owner", vec![delete("lease/birch/l9")]));
    assert_eq!(
        fabric.does(on_trial("owner", vec![offer()])),
        [],
        "nothing changed: nothing is on trial"
    );
    // An offer is withdrawn, unless it was taken meanwhile.
    fabric.does(on_trial(
        "owner",
        vec![put("lease/birch/l8", r#"{"kind":"lease","spec":{"server":"s3"}}"#)],
    ));
    fabric.does(vec![step("birch", "l8", LeaseStep::Accept)]);
    fabric.does(vec![Change::RollBack(None)]);
    assert_eq!(fabric.lease("birch", "l8"), LeaseState::Offered);
    fabric.is_refused(Rule::Spec, on_trial("owner", vec![delete("trial/owner")]));
}

/// Else its VNI could become another's while the node, which was told nothing yet, still serves it.
#[test]
fn what_a_node_has_yet_to_give_up_is_waited_for_unless_it_has_it_again() {
    let mut fabric = attached();
    let all = ["attachment/alder/a1", "segment/alder/lan"];
    fabric.does(vec![delete("attachment/alder/a3")]);
    fabric.does(on_trial("alder", all.map(delete).to_vec()));
    // edge2 has confirmed nothing, and has no part in what is taken back.
    assert_eq!(
        fabric.is_refused(Rule::Vni, vec![Change::RollBack(Some(name("alder")))]).rule,
        Rule::Vni
    );
    let revision = fabric.state.revision();
    fabric.does(vec![applied("edge2", revision)]);
    fabric.does(vec![Change::RollBack(Some(name("alder")))]);
    assert_eq!(fabric.state.nodes_of(&owned("alder", "lan")).count(), 1);
}
