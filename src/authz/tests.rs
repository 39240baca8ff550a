//! Every cell of the table, written out once more; and what an operator can find out by asking.

use jiff::Timestamp;
use proptest::{prelude::*, sample::select};

use super::*;
use crate::fabric::{Actor, Body, Expect, Refused, Rule, Transaction, transact};

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn who(text: &str) -> Identity {
    text.parse().unwrap()
}

fn put(of: &str, spec: &str) -> Change {
    let kind = key(of).kind();
    let spec = format!(r#"{{"kind":"{kind}","spec":{spec}}}"#);
    Change::Put(key(of), serde_json::from_str(&spec).unwrap(), Expect::Any)
}

fn accept(lease: &str) -> Change {
    let Key::Lease(owned) = key(lease) else { panic!("{lease}") };
    Change::Lease(owned, LeaseStep::Accept)
}

fn tries(state: &State, changes: Vec<Change>) -> Result<State, Refused> {
    let when = Timestamp::from_second(1_000_000).unwrap();
    transact(state, &Transaction { who: Actor::Owner, when, seed: 7, changes })
        .map(|outcome| outcome.state)
}

/// Alder rents s1 and is offered s4, birch rents s2, nobody s3; h0 is granted to both; birch has
/// removed a segment and no node has said so; the owner and birch have something on trial.
fn site() -> State {
    let first = vec![
        put("operator/alder", r#"{"vnis":[[100,105]]}"#),
        put("operator/birch", r#"{"vnis":[[200,209]]}"#),
        put("node/edge1", r#"{"vtep":["10.99.0.1"]}"#),
        put("node/edge2", r#"{"vtep":["10.99.0.2"]}"#),
        put("port/edge1/up0", r#"{"role":"uplink"}"#),
        put("port/edge1/p1", r#"{"role":"access"}"#),
        put("port/edge1/p2", r#"{"role":"access"}"#),
        put("port/edge1/p3", r#"{"role":"access"}"#),
        put("port/edge2/p4", r#"{"role":"access"}"#),
        put(
            "port/edge1/h0",
            r#"{"role":"handover","grants":{"alder":{"vids":[[10,12]]},"birch":{"vids":[[20,22]]}}}"#,
        ),
        put("port/edge1/h1", r#"{"role":"handover","grants":{"birch":"whole"}}"#),
        put("server/s1", r#"{"ports":["edge1/p1"]}"#),
        put("server/s2", r#"{"ports":["edge1/p2"]}"#),
        put("server/s3", r#"{"ports":["edge1/p3"]}"#),
        put("server/s4", r#"{"ports":["edge2/p4"]}"#),
        put("lease/alder/l1", r#"{"server":"s1"}"#),
        put("lease/alder/l4", r#"{"server":"s4"}"#),
        put("lease/birch/l2", r#"{"server":"s2"}"#),
        accept("lease/alder/l1"),
        accept("lease/birch/l2"),
    ];
    let second = vec![
        put("profile/alder/gold", r#"{"cir":"10 Mbit/s"}"#),
        put("profile/birch/gold", r#"{"cir":"10 Mbit/s"}"#),
        put("segment/alder/lan", r#"{"service":"lan"}"#),
        put("segment/birch/lan", r#"{"service":"lan"}"#),
        put("segment/birch/old", r#"{"service":"lan","vni":209}"#),
        put("attachment/alder/a1", r#"{"segment":"lan","port":"edge1/p1","encap":"untagged"}"#),
        put("attachment/birch/a1", r#"{"segment":"lan","port":"edge1/p2","encap":"port"}"#),
        put("attachment/birch/a2", r#"{"segment":"old","port":"edge1/h0","encap":"dot1q 20"}"#),
    ];
    let gone =
        ["attachment/birch/a2", "segment/birch/old"].map(|of| Change::Delete(key(of), Expect::Any));
    let state = tries(&State::default(), first).unwrap();
    let state = tries(&tries(&state, second).unwrap(), gone.to_vec()).unwrap();
    let on_trial = |of: Option<&str>, change| {
        vec![change, Change::Trial { of: of.map(|of| of.parse().unwrap()), seconds: 60 }]
    };
    let owners = on_trial(None, put("server/s9", r#"{"ports":[]}"#));
    let state = tries(&state, owners).unwrap();
    tries(&state, on_trial(Some("birch"), put("profile/birch/iron", r#"{"cir":"1 Mbit/s"}"#)))
        .unwrap()
}

/// A letter a verb, in the order of `Verb::ALL`: `Y` allowed, `-` forbidden, `h` hidden. `near` and
/// `other` are objects that are there, and `missing` are not.
const EXPECTED: &str = "
                                   get list watch | put patch delete | accept drain confirm rollback | transfer | desired report | count
operator   owner                   YYY YYY ---- - -- -
operator   auditor                 YYY --- ---- - -- -
operator   operator/alder  own     YYY --- ---- - -- -
operator   operator/alder  other   hYY --- ---- - -- -
operator   operator/alder  missing hYY --- ---- - -- -
operator   node/edge1      other   --- --- ---- - -- -
node       owner                   YYY YYY ---- - Y- -
node       auditor                 YYY --- ---- - Y- -
node       operator/alder  other   --- --- ---- - -- -
node       operator/alder  missing --- --- ---- - -- -
node       node/edge1      own     Y-- --- ---- - YY -
node       node/edge1      other   --- --- ---- - -- -
node       node/edge1      missing --- --- ---- - -- -
port       owner                   YYY YYY ---- - -- -
port       auditor                 YYY --- ---- - -- -
port       operator/alder  near    YYY --- ---- - -- -
port       operator/alder  other   hYY --- ---- - -- -
port       operator/alder  missing hYY --- ---- - -- -
port       node/edge1      other   --- --- ---- - -- -
server     owner                   YYY YYY ---- Y -- -
server     auditor                 YYY --- ---- - -- -
server     operator/alder  near    YYY --- ---- - -- -
server     operator/alder  other   hYY --- ---- - -- -
server     operator/alder  missing hYY --- ---- - -- -
server     node/edge1      other   --- --- ---- - -- -
lease      owner                   YYY YYY YYY- - -- -
lease      auditor                 YYY --- ---- - -- -
lease      operator/alder  own     YYY --- Y--- - -- -
lease      operator/alder  other   hYY --- ---- - -- -
lease      operator/alder  missing hYY --- ---- - -- -
lease      node/edge1      other   --- --- ---- - -- -
profile    owner                   YYY YYY ---- - -- -
profile    auditor                 YYY --- ---- - -- -
profile    operator/alder  own     YYY YYY ---- - -- -
profile    operator/alder  other   hYY --- ---- - -- -
profile    operator/alder  missing hYY --- ---- - -- -
profile    node/edge1      other   --- --- ---- - -- -
segment    owner                   YYY YYY ---- - -- -
segment    auditor                 YYY --- ---- - -- -
segment    operator/alder  own     YYY YYY ---- - -- -
segment    operator/alder  other   hYY --- ---- - -- -
segment    operator/alder  missing hYY --- ---- - -- -
segment    node/edge1      other   --- --- ---- - -- -
attachment owner                   YYY YYY ---- - -- Y
attachment auditor                 YYY --- ---- - -- -
attachment operator/alder  own     YYY YYY ---- - -- Y
attachment operator/alder  other   hYY --- ---- - -- -
attachment operator/alder  missing hYY --- ---- - -- -
attachment node/edge1      other   --- --- ---- - -- -
tombstone  owner                   YYY --- ---- - -- -
tombstone  auditor                 YYY --- ---- - -- -
tombstone  operator/alder  other   --- --- ---- - -- -
tombstone  operator/alder  missing --- --- ---- - -- -
tombstone  node/edge1      other   --- --- ---- - -- -
trial      owner                   YYY --- --YY - -- -
trial      auditor                 YYY --- ---- - -- -
trial      operator/alder  own     YYY --- --YY - -- -
trial      operator/alder  other   hYY --- ---- - -- -
trial      operator/alder  missing hYY --- ---- - -- -
trial      node/edge1      other   --- --- ---- - -- -
";

/// Objects of a kind that are this to alder, or to edge1.
fn examples(kind: Kind, asker: &str, relation: &str) -> Vec<Key> {
    let of_node = asker.starts_with("node/");
    let keys: &[&str] = match (kind, relation) {
        (Kind::Operator, "own") => &["operator/alder"],
        (Kind::Operator, "other") => &["operator/birch"],
        (Kind::Operator, _) => &["operator/cedar"],
        (Kind::Node, "own") => &["node/edge1"],
        (Kind::Node, "other") if of_node => &["node/edge2"],
        (Kind::Node, "other") => &["node/edge1", "node/edge2"],
        (Kind::Node, _) => &["node/edge9"],
        (Kind::Port, "near") => &["port/edge1/p1", "port/edge2/p4", "port/edge1/h0"],
        (Kind::Port, "other") => {
            &["port/edge1/p2", "port/edge1/p3", "port/edge1/h1", "port/edge1/up0"]
        }
        (Kind::Port, _) => &["port/edge1/p9", "port/edge9/p1"],
        (Kind::Server, "near") => &["server/s1", "server/s4"],
        (Kind::Server, "other") => &["server/s2", "server/s3"],
        (Kind::Server, _) => &["server/s8"],
        (Kind::Lease, "own") => &["lease/alder/l1", "lease/alder/l9"],
        (Kind::Lease, "other") => &["lease/birch/l2"],
        (Kind::Lease, _) => &["lease/birch/l9", "lease/cedar/l1"],
        (Kind::Profile, "own") => &["profile/alder/gold", "profile/alder/none"],
        (Kind::Profile, "other") => &["profile/birch/gold"],
        (Kind::Profile, _) => &["profile/birch/none", "profile/cedar/gold"],
        (Kind::Segment, "own") => &["segment/alder/lan", "segment/alder/none"],
        (Kind::Segment, "other") => &["segment/birch/lan"],
        (Kind::Segment, _) => &["segment/birch/none", "segment/cedar/lan"],
        (Kind::Attachment, "own") => &["attachment/alder/a1", "attachment/alder/a9"],
        (Kind::Attachment, "other") => &["attachment/birch/a1"],
        (Kind::Attachment, _) => &["attachment/birch/a9", "attachment/cedar/a1"],
        (Kind::Tombstone, "other") => {
            &["tombstone/edge1/vni/209", "tombstone/edge1/encap/h0/dot1q 20"]
        }
        (Kind::Trial, "own") => &["trial/operator/alder"],
        (Kind::Trial, "other") => &["trial/operator/birch", "trial/owner"],
        (Kind::Trial, _) => &["trial/operator/cedar"],
        (Kind::Tombstone, _) => &["tombstone/edge1/vni/208", "tombstone/edge9/vni/209"],
    };
    keys.iter().map(|text| key(text)).collect()
}

#[test]
fn every_cell_of_the_table_is_as_it_is_written_here() {
    let state = site();
    let mut cells = 0;
    for line in EXPECTED.lines().skip(2) {
        let (left, right) = (&line[..35].trim(), line[35..].replace(' ', ""));
        let words: Vec<&str> = left.split_whitespace().collect();
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == words[0]).unwrap();
        assert_eq!(right.len(), Verb::ALL.len(), "{line}");
        let relations =
            words.get(2).map_or(vec!["own", "near", "other", "missing"], |word| vec![*word]);
        for of in relations.iter().flat_map(|relation| examples(kind, words[1], relation)) {
            match relations[..] {
                ["other" | "near"] => assert!(state.get(&of).is_some(), "{of}"),
                ["missing"] => assert!(state.get(&of).is_none(), "{of}"),
                _ => {}
            }
            for (verb, expected) in Verb::ALL.into_iter().zip(right.chars()) {
                let decision = match may(&who(words[1]), verb, &of, &state) {
                    Decision::Allowed => 'Y',
                    Decision::Forbidden => '-',
                    Decision::Hidden => 'h',
                };
                assert_eq!(decision, expected, "{} {} {of}", words[1], verb.as_str());
                cells += 1;
            }
        }
    }
    assert!(cells > 1000, "{cells}");
}

#[test]
fn who_may_ask_for_a_kind_is_what_the_table_says_of_its_own() {
    for (asker, kind, expected) in [
        ("owner", Kind::Tombstone, Decision::Allowed),
        ("auditor", Kind::Node, Decision::Allowed),
        ("operator/alder", Kind::Segment, Decision::Allowed),
        ("operator/alder", Kind::Node, Decision::Forbidden),
        ("operator/alder", Kind::Tombstone, Decision::Forbidden),
        ("node/edge1", Kind::Node, Decision::Forbidden),
        ("node/edge1", Kind::Segment, Decision::Forbidden),
    ] {
        for verb in [Verb::List, Verb::Watch] {
            assert_eq!(may_ask(&who(asker), verb, kind), expected, "{asker} {kind}");
        }
    }
}

#[test]
fn an_operator_lists_what_is_its_own_and_what_it_has_to_do_with() {
    let state = site();
    let alder = who("operator/alder");
    let all: Vec<String> = Kind::ALL
        .into_iter()
        .flat_map(|kind| {
            keys(&alder, kind, None, &state).map(|key| key.to_string()).collect::<Vec<_>>()
        })
        .collect();
    let expected = [
        "operator/alder",
        "port/edge1/h0",
        "port/edge1/p1",
        "port/edge2/p4",
        "server/s1",
        "server/s4",
        "lease/alder/l1",
        "lease/alder/l4",
        "profile/alder/gold",
        "segment/alder/lan",
        "attachment/alder/a1",
    ];
    assert_eq!(all, expected);
}

#[test]
fn what_is_listed_is_what_may_be_got_after_any_key() {
    let state = site();
    for asker in
        ["owner", "auditor", "operator/alder", "operator/birch", "operator/cedar", "node/edge1"]
    {
        let asker = who(asker);
        for kind in Kind::ALL {
            let all: Vec<Key> = state
                .of_kind(kind)
                .filter(|key| view(&asker, key, &state).is_some())
                .cloned()
                .collect();
            assert_eq!(keys(&asker, kind, None, &state).collect::<Vec<_>>(), all);
            for (index, after) in all.iter().enumerate() {
                assert_eq!(
                    keys(&asker, kind, Some(after), &state).collect::<Vec<_>>(),
                    all[index + 1..]
                );
            }
        }
    }
}

#[test]
fn a_port_that_is_granted_to_others_as_well_does_not_say_so() {
    let state = site();
    let grants = |asker: &str| match &view(&who(asker), &key("port/edge1/h0"), &state).unwrap().body
    {
        Body::Port { spec } => spec.grants.keys().map(ToString::to_string).collect::<Vec<_>>(),
        _ => panic!(),
    };
    assert_eq!(grants("owner"), ["alder", "birch"]);
    assert_eq!(grants("operator/alder"), ["alder"]);
}

#[test]
fn once_a_lease_is_over_its_server_is_hidden_again() {
    let Key::Lease(l4) = key("lease/alder/l4") else { panic!() };
    let drain = Change::Lease(l4, LeaseStep::Drain(Timestamp::from_second(1).unwrap()));
    let state = tries(&site(), vec![drain]).unwrap();
    for of in ["server/s4", "port/edge2/p4"] {
        assert_eq!(
            may(&who("operator/alder"), Verb::Get, &key(of), &state),
            Decision::Hidden,
            "{of}"
        );
    }
    assert_eq!(
        may(&who("operator/alder"), Verb::Get, &key("lease/alder/l4"), &state),
        Decision::Allowed
    );
}

/// What an operator is told of a change.
fn told(state: &State, change: Change) -> Option<Refused> {
    let alder = who("operator/alder");
    may_change(&alder, &change).unwrap();
    tries(state, vec![change]).err().map(|refused| refusal(&alder, refused, state))
}

#[test]
fn a_vni_that_was_anothers_does_not_tell_whose() {
    // The owner gives birch's VNI to alder before the nodes have confirmed that it is free.
    let moved = vec![
        put("operator/birch", r#"{"vnis":[[200,208]]}"#),
        put("operator/alder", r#"{"vnis":[[100,105],[209,209]]}"#),
    ];
    let state = tries(&site(), moved).unwrap();
    let refused = told(&state, put("segment/alder/new", r#"{"service":"lan","vni":209}"#)).unwrap();
    assert_eq!((refused.rule, refused.message.as_str()), (Rule::Vni, "this VNI can't be had"));
    assert_eq!(refused.objects, [key("segment/alder/new")]);
}

#[test]
fn a_node_is_named_to_who_has_a_port_there() {
    let state = tries(&site(), vec![put("node/edge1", r#"{"limits":{"attachments":2}}"#)]).unwrap();
    let refused = told(
        &state,
        put("attachment/alder/a2", r#"{"segment":"lan","port":"edge1/h0","encap":"dot1q 10"}"#),
    );
    assert!(refused.unwrap().message.contains("node/edge1"));
}

/// Ports of all kinds that alder has nothing to do with, and one that is not there, said alike.
fn foreign() -> impl Strategy<Value = &'static str> {
    select(vec!["edge1/p2", "edge1/p3", "edge1/h1", "edge1/up0", "edge9/p1"])
}

proptest! {
    /// Also the VID that would be drawn must not depend on what others have there.
    #[test]
    fn attaching_to_what_is_anothers_sounds_as_attaching_to_what_is_not_there(
        port in foreign(),
        encap in select(vec!["untagged", "port", "dot1q", "qinq", "dot1q 10", "qinq 10.5"]),
    ) {
        let state = site();
        let at = |port: &str| {
            let spec = format!(r#"{{"segment":"lan","port":"{port}","encap":"{encap}"}}"#);
            let refused = told(&state, put("attachment/alder/probe", &spec)).unwrap();
            serde_json::to_string(&refused).unwrap().replace(port, "PORT")
        };
        prop_assert_eq!(at(port), at("edge1/p9"));
    }
}

#[test]
fn every_cell_of_the_audit_log_is_as_it_is_written_here() {
    let entry = |operator: Option<&str>| {
        crate::audit::is_visible_of(
            operator.map(|name| name.parse().unwrap()).as_ref(),
            &who("operator/alder"),
        )
    };
    assert_eq!([Some("alder"), Some("birch"), None].map(entry), [true, false, false]);
    for (asker, expected) in
        [("owner", "YYY"), ("auditor", "YYY"), ("operator/alder", "YhY"), ("node/edge1", "---")]
    {
        let asker = who(asker);
        let cells =
            [Record::Own, Record::Other, Record::Log].map(|record| may_audit(&asker, record));
        let letter = |decision: &Decision| match decision {
            Decision::Allowed => 'Y',
            Decision::Forbidden => '-',
            Decision::Hidden => 'h',
        };
        assert_eq!(cells.iter().map(letter).collect::<String>(), expected, "{asker}");
        // What is asked entry by entry is the same.
        let own = asker.operator().cloned();
        assert_eq!(
            crate::audit::is_visible_of(own.as_ref(), &asker),
            cells[0] == Decision::Allowed
        );
        let other = "birch".parse().unwrap();
        assert_eq!(
            crate::audit::is_visible_of(Some(&other), &asker),
            cells[1] == Decision::Allowed
        );
    }
}
