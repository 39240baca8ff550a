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
    transact(
        state,
        &Transaction { who: Actor::Owner, when: Timestamp::UNIX_EPOCH, seed: 1, changes },
    )
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
    for (number, operators) in
        [(1, &["alder", "birch"][..]), (2, &["alder", "birch"]), (3, &["alder"])]
    {
        changes
            .push(put(&format!("node/n{number}"), &format!(r#"{{"vtep":["10.0.0.{number}"]}}"#)));
        changes.push(put(&format!("port/n{number}/up0"), r#"{"role":"uplink"}"#));
        for operator in operators {
            let port = format!("n{number}/{operator}");
            let server = format!("{operator}{number}");
            changes.push(put(&format!("port/{port}"), r#"{"role":"access"}"#));
            changes.push(put(&format!("server/{server}"), &format!(r#"{{"ports":["{port}"]}}"#)));
            changes.push(put(
                &format!("lease/{operator}/{server}"),
                &format!(r#"{{"server":"{server}"}}"#),
            ));
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

fn said(operator: &str, number: u16, is_there: bool) -> LocalAddress {
    let port = is_there.then(|| operator.parse().unwrap());
    LocalAddress {
        segment: owned(&format!("{operator}/lan")),
        address: Address::Mac(mac(number)),
        port,
        holder: None,
    }
}

/// An IP address, which its own MAC claims.
fn decode_binding(operator: &str, number: u16, claimed_by: Option<u16>) -> LocalAddress {
    let [a, b] = number.to_be_bytes();
    let holder = |by| Holder { mac: mac(by), router: false, replaces: true, leaf: false };
    LocalAddress {
        address: Address::Ip([10, 0, a, b].into()),
        holder: claimed_by.map(holder),
        ..said(operator, number, claimed_by.is_some())
    }
}

/// Of which MAC a node is told that an IP address is, and where, if it is told of any.
fn told_bound(
    registry: &mut Registry,
    state: &State,
    node: &str,
) -> Vec<Option<(MacAddr, String)>> {
    let told = registry.next_batch(state, &name(node)).into_iter();
    let told = told.filter(|told| matches!(told.address, Address::Ip(_)));
    told.map(|told| Some((told.holder?.mac, told.remote?.to_string()))).collect()
}

/// A registry that three nodes have streams to.
fn entered() -> (Registry, [u64; 3]) {
    let mut registry = Registry::default();
    let streams = ["n1", "n2", "n3"].map(|node| registry.connect(&name(node)).0);
    (registry, streams)
}

/// Where a node is told that an address is, if it is told of any.
fn told(registry: &mut Registry, state: &State, node: &str) -> Vec<(u16, Option<String>)> {
    let told = registry.next_batch(state, &name(node)).into_iter();
    let number = |address: Address| match address {
        Address::Mac(mac) => u16::from_be_bytes([mac.octets()[4], mac.octets()[5]]),
        Address::Ip(ip) => panic!("{ip} is no MAC"),
    };
    told.map(|told| (number(told.address), told.remote.map(|remote| remote.to_string()))).collect()
}

#[test]
fn an_address_is_told_to_the_segments_other_nodes_and_to_no_one_else() {
    let (state, (mut registry, [one, two, _])) = (fabric(), entered());
    let at = |remote: &str| Some(remote.to_owned());
    let hear = |registry: &mut Registry, node: &str, stream, said| {
        registry.record((&name(node), stream), (&state, state.revision()), vec![said])
    };
    assert_eq!(hear(&mut registry, "n1", one, said("birch", 7, true)), Rejected::default());
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
        registry.record((&name(node), stream), (&state, state.revision()), vec![said]).foreign
    };
    assert_eq!(hear("n3", three, said("birch", 1, true)), 1, "birch is not there");
    let at_alders = LocalAddress { port: Some("alder".parse().unwrap()), ..said("birch", 1, true) };
    assert_eq!(hear("n1", one, at_alders), 1, "birch is there, at another port");
    assert_eq!(told(&mut registry, &state, "n2"), []);
}

#[test]
fn one_operators_flood_does_not_hold_up_the_others() {
    let (state, (mut registry, [one, ..])) = (fabric(), entered());
    let flood = (0..1500).map(|number| said("alder", number, true)).collect();
    let rejected = registry.record((&name("n1"), one), (&state, state.revision()), flood);
    assert_eq!(rejected, Rejected { foreign: 0, full: 500 });
    registry.record(
        (&name("n1"), one),
        (&state, state.revision()),
        vec![said("birch", 9999, true)],
    );
    let first = told(&mut registry, &state, "n2");
    assert!(first.iter().any(|(number, _)| *number == 9999), "birch waits behind alder: {first:?}");
    assert!(first.len() <= 2 * AT_ONCE.1);
    let mut count = first.len();
    while registry.has_pending(&name("n2")) {
        count += told(&mut registry, &state, "n2").len();
    }
    assert_eq!(count, 1001);
}

#[test]
fn a_server_that_is_taken_away_takes_its_addresses_along_and_late_words_do_not_count() {
    let (state, (mut registry, [one, ..])) = (fabric(), entered());
    registry.record((&name("n1"), one), (&state, state.revision()), vec![said("alder", 1, true)]);
    told(&mut registry, &state, "n2");
    let before = state.revision();
    let to = owned("birch/new");
    let Outcome { state, events } =
        does(&state, vec![Change::Transfer { server: name("alder1"), to }]);
    // Whoever asks for it in between is not told that it is there.
    registry.request(&state, &name("n2"), &owned("alder/lan"));
    assert_eq!(told(&mut registry, &state, "n2"), [(1, None)]);
    registry.follow(&state, state.revision(), &events);
    assert_eq!(told(&mut registry, &state, "n3"), [(1, None)]);
    let late = registry.record((&name("n1"), one), (&state, before), vec![said("alder", 1, true)]);
    assert_eq!(late, Rejected::default());
    // The node is slow, and alder has the server again: what the node said before it had given it
    // up is still of the old times.
    let again = fabric();
    registry.record((&name("n1"), one), (&again, before), vec![said("alder", 1, true)]);
    assert!(registry.segments.is_empty());
    registry.record((&name("n1"), one), (&again, state.revision()), vec![said("alder", 1, true)]);
    assert_eq!(registry.segments.len(), 1);
}

#[test]
fn who_is_cut_off_is_believed_for_a_grace_and_then_no_more() {
    let (state, (mut registry, [one, ..])) = (fabric(), entered());
    let (node, now) = (name("n1"), Instant::now());
    registry.record(
        (&node, one),
        (&state, state.revision()),
        vec![said("alder", 1, true), said("alder", 2, true)],
    );
    told(&mut registry, &state, "n2");
    registry.disconnect(&node, one, now);
    registry.expire(&state, now + GRACE - Duration::from_secs(1));
    assert_eq!(told(&mut registry, &state, "n2"), []);
    // It is back, and has only one of them.
    let (again, _) = registry.connect(&node);
    registry.disconnect(&node, one, now);
    registry.record((&node, again), (&state, state.revision()), vec![said("alder", 2, true)]);
    registry.complete(&state, &node, again);
    assert_eq!(told(&mut registry, &state, "n2"), [(1, None)]);
    registry.disconnect(&node, again, now);
    registry.expire(&state, now + GRACE);
    assert_eq!(told(&mut registry, &state, "n2"), [(2, None)]);
}

#[test]
fn whose_an_ip_address_is_is_told_like_where_a_mac_is() {
    let (state, (mut registry, [one, two, _])) = (fabric(), entered());
    let hear = |registry: &mut Registry, node: &str, stream, said| {
        registry.record((&name(node), stream), (&state, state.revision()), vec![said])
    };
    let at = |by: u16, remote: &str| [Some((mac(by), remote.to_owned()))];
    assert_eq!(
        hear(&mut registry, "n1", one, decode_binding("birch", 7, Some(7))),
        Rejected::default()
    );
    assert_eq!(told_bound(&mut registry, &state, "n2"), at(7, "10.0.0.1"));
    assert_eq!(told_bound(&mut registry, &state, "n3"), []);
    // Said again, it is nothing new; of another MAC, it is, also for nobody but the others.
    hear(&mut registry, "n1", one, decode_binding("birch", 7, Some(7)));
    assert_eq!(told_bound(&mut registry, &state, "n2"), []);
    hear(&mut registry, "n1", one, decode_binding("birch", 7, Some(8)));
    assert_eq!(told_bound(&mut registry, &state, "n2"), at(8, "10.0.0.1"));
    assert_eq!(told_bound(&mut registry, &state, "n1"), []);
    hear(&mut registry, "n2", two, decode_binding("birch", 7, Some(9)));
    assert_eq!(told_bound(&mut registry, &state, "n1"), at(9, "10.0.0.2"));
    hear(&mut registry, "n1", one, decode_binding("birch", 7, None));
    assert_eq!(told_bound(&mut registry, &state, "n1"), []);
    hear(&mut registry, "n2", two, decode_binding("birch", 7, None));
    assert_eq!(told_bound(&mut registry, &state, "n1"), [None]);
}

#[test]
fn ip_addresses_have_quotas_of_their_own_for_the_segment_and_for_each_port() {
    let (state, (mut registry, [one, two, three])) = (fabric(), entered());
    let mut full = |node: &str, stream, numbers: std::ops::Range<u16>| {
        let all = numbers.map(|number| decode_binding("alder", number, Some(number))).collect();
        registry.record((&name(node), stream), (&state, state.revision()), all).full
    };
    // An attachment has 64 MACs by default, and eight times as many IP addresses.
    assert_eq!(full("n1", one, 0..600), 600 - 512);
    assert_eq!(full("n1", one, 0..512), 0, "what it has it may say again");
    // The segment has 1000.
    assert_eq!(full("n2", two, 1000..1500), 500 - 488);
    assert_eq!(full("n3", three, 2000..2001), 1);
    // What moves from one port to another is counted there.
    assert_eq!(full("n2", two, 0..24), 0);
    assert_eq!(full("n2", two, 24..25), 1);
    assert_eq!(full("n1", one, 600..601), 1, "the segment still has as many as it may");
    let macs = (0..1000).map(|number| said("alder", number, true)).collect();
    let rejected = registry.record((&name("n3"), three), (&state, state.revision()), macs);
    assert_eq!(rejected, Rejected::default(), "MACs have theirs");
}

#[test]
fn a_server_that_is_taken_away_takes_its_ip_addresses_along() {
    let (state, (mut registry, [one, ..])) = (fabric(), entered());
    registry.record(
        (&name("n1"), one),
        (&state, state.revision()),
        vec![decode_binding("alder", 1, Some(1))],
    );
    assert_eq!(told_bound(&mut registry, &state, "n2").len(), 1);
    let to = owned("birch/new");
    let Outcome { state, events } =
        does(&state, vec![Change::Transfer { server: name("alder1"), to }]);
    registry.follow(&state, state.revision(), &events);
    assert_eq!(told_bound(&mut registry, &state, "n2"), [None]);
    assert!(registry.segments.is_empty());
}
