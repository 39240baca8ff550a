//! What is not programmed yet says whom it waits for.

use super::*;

fn says(fabric: &Fabric, key: &str) -> (bool, String) {
    let (is, why) = fabric.why(key, ConditionKind::Programmed);
    (is, why.to_owned())
}

fn waits_for(node: &str) -> (bool, String) {
    (false, format!("node/{node} has not applied the last change"))
}

fn done() -> (bool, String) {
    (true, "every node has applied it".to_owned())
}

#[test]
fn a_segment_names_the_node_that_it_waits_for() {
    let mut fabric = Fabric::leased();
    let segment = "segment/alder/lan";
    fabric.does(vec![lan("alder/lan")]);
    assert_eq!(says(&fabric, segment), (false, "nothing is attached to it".to_owned()));
    fabric.does(vec![attach("alder/a1", "lan", "edge1/p1", "untagged")]);
    fabric.does(vec![attach("alder/a3", "lan", "edge2/p1", "untagged")]);
    assert_eq!(says(&fabric, "attachment/alder/a3"), waits_for("edge2"));
    assert_eq!(says(&fabric, segment), waits_for("edge1"));
    fabric.does(vec![applied("edge1", fabric.state.revision())]);
    assert_eq!(says(&fabric, segment), waits_for("edge2"));
    fabric.does(vec![applied("edge2", fabric.state.revision())]);
    assert_eq!(says(&fabric, segment), done());

    fabric.does(vec![put(segment, r#"{"kind":"segment","spec":{"service":"lan","mtu":1400}}"#)]);
    assert_eq!(says(&fabric, segment), waits_for("edge1"));
}

#[test]
fn a_segment_does_not_wait_for_a_node_that_it_has_left() {
    let mut fabric = Fabric::leased();
    let segment = "segment/alder/lan";
    fabric.does(vec![lan("alder/lan"), attach("alder/a1", "lan", "edge1/p1", "untagged")]);
    fabric.converge();
    fabric.does(vec![attach("alder/a3", "lan", "edge2/p1", "untagged")]);
    fabric.does(vec![applied("edge1", fabric.state.revision())]);
    assert_eq!(says(&fabric, segment), waits_for("edge2"));
    fabric.does(vec![delete("attachment/alder/a3")]);
    assert_eq!(says(&fabric, segment), done());
}
