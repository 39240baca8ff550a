#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use jiff::Timestamp;

use super::*;
use crate::fabric::{Actor, Change, Expect, LeaseStep, Outcome, Transaction, transact};

fn owned(text: &str) -> Owned {
    let (operator, name) = text.split_once('/').unwrap();
    Owned { operator: operator.parse().unwrap(), name: name.parse().unwrap() }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn put(key: &str, spec: &str) -> Change {
    let kind = key.split('/').next().unwrap();
    let spec = format!(r#"{{"kind":"{kind}","spec":{spec}}}"#);
    Change::Put(key.parse().unwrap(), serde_json::from_str(&spec).unwrap(), Expect::Any)
}

fn does(state: &State, changes: Vec<Change>) -> Outcome {
    transact(state, &Transaction { who: Actor::Owner, when: Timestamp::UNIX_EPOCH, seed: 1, changes })
        .unwrap()
}

/// Three nodes; alder's segment is on all of them, birch's on the first two.
fn fabric() -> State {
    let mut changes = vec![
        put("operator/alder", r#"{"vnis":[[100,199]]}"#),
        put("operator/birch", r#"{"vnis":[[200,299]]}"#),
        put("segment/alder/lan", r#"{"service":"lan","mac_limit":1000}"#),
        put("segment/birch/lan", r#"{"service":"lan","mac_limit":1000}"#),
    ];
    for (number, operators) in [(1, &["alder", "birch"][..]), (2, &["alder", "birch"]), (3, &["alder"])] {
        changes.push(put(&format!("node/n{number}"), &format!(r#"{{"vtep":["10.0.0.{number}"]}}"#)));
        changes.push(put(&format!("port/n{number}/up0"), r#"{"role":"uplink"}"#));
        for operator in operators {
            let port = format!("n{number}/{operator}");
            let server = format!("{operator}{number}");
            changes.push(put(&format!("port/{port}"), r#"{"role":"access"}"#));
            changes.push(put(&format!("server/{server}"), &format!(r#"{{"ports":["{port}"]}}"#)));
            changes.push(put(&format!("lease/{operator}/{server}"), &format!(r#"{{"server":"{server}"}}"#)));
            changes.push(Change::Lease(owned(&format!("{operator}/{server}")), LeaseStep::Accept));
            let spec = format!(r#"{{"segment":"lan","port":"{port}","encap":"untagged"}}"#);
            changes.push(put(&format!("attachment/{operator}/{server}"), &spec));
        }
    }
    does(&State::default(), changes).state
}

fn mac(number: u16) -> MacAddr {
    let [a, b] = number.to_be_bytes();
    MacAddr::new([2, 0, 0, 0, a, b]).unwrap()
}

fn said(operator: &str, number: u16, is_there: bool) -> Said {
    let port = is_there.then(|| operator.parse().unwrap());
    Said { segment: owned(&format!("{operator}/lan")), mac: mac(number), port }
}

/// A registry that three nodes have streams to.
fn entered() -> (Registry, [u64; 3]) {
    let mut registry = Registry::default();
    let streams = ["n1", "n2", "n3"].map(|node| registry.enter(&name(node)).0);
    (registry, streams)
}

/// Where a node is told that an address is, if it is told of any.
fn told(registry: &mut Registry, state: &State, node: &str) -> Vec<(u16, Option<String>)> {
    let told = registry.take(state, &name(node)).into_iter();
    let number = |mac: MacAddr| u16::from_be_bytes([mac.octets()[4], mac.octets()[5]]);
    told.map(|told| (number(told.mac), told.remote.map(|remote| remote.to_string()))).collect()
}

#[test]
fn an_address_is_told_to_the_segments_other_nodes_and_to_no_one_else() {
    let (state, (mut registry, [one, two, _])) = (fabric(), entered());
    let at = |remote: &str| Some(remote.to_owned());
    let hear = |registry: &mut Registry, node: &str, stream, said| {
        registry.hear((&name(node), stream), (&state, state.revision()), vec![said])
    };
    assert_eq!(hear(&mut registry, "n1", one, said("birch", 7, true)), NotTaken::default());
    assert_eq!(told(&mut registry, &state, "n2"), [(7, at("10.0.0.1"))]);
    assert_eq!(told(&mut registry, &state, "n1"), []);
    assert_eq!(told(&mut registry, &state, "n3"), []);
    // It moves: who had it is told as well, and who has it that it is not elsewhere.
    hear(&mut registry, "n2", two, said("birch", 7, true));
    assert_eq!(told(&mut registry, &state, "n1"), [(7, at("10.0.0.2"))]);
    assert_eq!(told(&mut registry, &state, "n2"), [(7, None)]);
    // Only who has it can say that it is gone.
    hear(&mut registry, "n1", one, said("birch", 7, false));
    assert_eq!(told(&mut registry, &state, "n2"), []);
    hear(&mut registry, "n2", two, said("birch", 7, false));
    assert_eq!(told(&mut registry, &state, "n1"), [(7, None)]);
}

#[test]
fn a_node_speaks_only_for_its_own_attachments() {
    let (state, (mut registry, [one, _, three])) = (fabric(), entered());
    let mut hear = |node: &str, stream, said| {
        registry.hear((&name(node), stream), (&state, state.revision()), vec![said]).strange
    };
    assert_eq!(hear("n3", three, said("birch", 1, true)), 1, "birch is not there");
    let at_alders = Said { port: Some("alder".parse().unwrap()), ..said("birch", 1, true) };
    assert_eq!(hear("n1", one, at_alders), 1, "birch is there, at another port");
    assert_eq!(told(&mut registry, &state, "n2"), []);
}

#[test]
fn one_operators_flood_does_not_hold_up_the_others() {
    let (state, (mut registry, [one, ..])) = (fabric(), entered());
    let flood = (0..1500).map(|number| said("alder", number, true)).collect();
    let not_taken = registry.hear((&name("n1"), one), (&state, state.revision()), flood);
    assert_eq!(not_taken, NotTaken { strange: 0, full: 500 });
    registry.hear((&name("n1"), one), (&state, state.revision()), vec![said("birch", 9999, true)]);
    let first = told(&mut registry, &state, "n2");
    assert!(first.iter().any(|(number, _)| *number == 9999), "birch waits behind alder: {first:?}");
    assert!(first.len() <= 2 * AT_ONCE.1);
    let mut count = first.len();
    while registry.has_untold(&name("n2")) {
        count += told(&mut registry, &state, "n2").len();
    }
    assert_eq!(count, 1001);
}

#[test]
fn a_server_that_is_taken_away_takes_its_addresses_along_and_late_words_do_not_count() {
    let (state, (mut registry, [one, ..])) = (fabric(), entered());
    registry.hear((&name("n1"), one), (&state, state.revision()), vec![said("alder", 1, true)]);
    told(&mut registry, &state, "n2");
    let before = state.revision();
    let to = owned("birch/new");
    let Outcome { state, events } = does(&state, vec![Change::Transfer { server: name("alder1"), to }]);
    // Whoever asks for it in between is not told that it is there.
    registry.want(&state, &name("n2"), &owned("alder/lan"));
    assert_eq!(told(&mut registry, &state, "n2"), [(1, None)]);
    registry.follow(&state, state.revision(), &events);
    assert_eq!(told(&mut registry, &state, "n3"), [(1, None)]);
    let late = registry.hear((&name("n1"), one), (&state, before), vec![said("alder", 1, true)]);
    assert_eq!(late, NotTaken::default());
    // The node is slow, and alder has the server again: what the node said before it had given it up is still of the old times.
    let again = fabric();
    registry.hear((&name("n1"), one), (&again, before), vec![said("alder", 1, true)]);
    assert!(registry.segments.is_empty());
    registry.hear((&name("n1"), one), (&again, state.revision()), vec![said("alder", 1, true)]);
    assert_eq!(registry.segments.len(), 1);
}

#[test]
fn who_is_cut_off_is_believed_for_a_grace_and_then_no_more() {
    let (state, (mut registry, [one, ..])) = (fabric(), entered());
    let (node, now) = (name("n1"), Instant::now());
    registry.hear(
        (&node, one),
        (&state, state.revision()),
        vec![said("alder", 1, true), said("alder", 2, true)],
    );
    told(&mut registry, &state, "n2");
    registry.leave(&node, one, now);
    registry.expire(&state, now + GRACE - Duration::from_secs(1));
    assert_eq!(told(&mut registry, &state, "n2"), []);
    // It is back, and has only one of them.
    let (again, _) = registry.enter(&node);
    registry.leave(&node, one, now);
    registry.hear((&node, again), (&state, state.revision()), vec![said("alder", 2, true)]);
    registry.complete(&state, &node, again);
    assert_eq!(told(&mut registry, &state, "n2"), [(1, None)]);
    registry.leave(&node, again, now);
    registry.expire(&state, now + GRACE);
    assert_eq!(told(&mut registry, &state, "n2"), [(2, None)]);
}
