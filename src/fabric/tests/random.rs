//! Random stories: of few names, so that changes meet.

use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    invariants::{
        assert_all, assert_concerned, assert_files, assert_graves, assert_loads, assert_restores,
    },
    *,
};

const OPERATORS: &[&str] = &["alder", "birch"];
const PORTS: &[&str] = &["edge1/p1", "edge1/p2", "edge2/p1", "edge2/p2", "edge1/h0", "edge1/up0"];
const ENCAPS: &[&str] =
    &["untagged", "dot1q", "dot1q 10", "dot1q 20", "qinq", "qinq 10", "qinq 10.5", "port"];
const SERVERS: &[&str] = &["s1", "s2", "s3"];
const GUARDS: &[&str] = &[
    "{}",
    r#"{"macs":["02:00:00:00:00:01"]}"#,
    r#"{"control":"tunnel"}"#,
    r#"{"control":"peer"}"#,
    r#"{"prefixes":["10.0.0.0/24"]}"#,
];
const BINDINGS: &[&str] =
    &["[]", "[]", r#"["10.0.0.1 02:00:00:00:00:01"]"#, r#"["10.0.0.2 02:00:00:00:00:02"]"#];

/// A story's step: changes of one transaction, reports of how much each node has applied, or time.
#[derive(Debug, Clone)]
enum Step {
    Change(Vec<Change>),
    Applied(&'static str, u64),
    Wait(i64),
}

fn segment() -> impl Strategy<Value = Change> {
    let vni = prop_oneof![Just("null".to_owned()), (100..=105u32).prop_map(|vni| vni.to_string())];
    (select(OPERATORS), 0..3, select(vec!["line", "lan", "tree"]), vni, (500..2000u32, any::<bool>())).prop_map(
        |(operator, index, service, vni, (mac_limit, suppress))| {
            let suppress = suppress && service != "line";
            let spec = format!(
                r#"{{"kind":"segment","spec":{{"service":"{service}","vni":{vni},"mac_limit":{mac_limit},"suppress":{suppress}}}}}"#
            );
            put(&format!("segment/{operator}/s{index}"), &spec)
        },
    )
}

fn attachment() -> impl Strategy<Value = Change> {
    let names = (select(OPERATORS), 0..4, 0..3);
    let place = (select(PORTS), select(ENCAPS), select(vec!["root", "root", "leaf"]));
    let more = (select(GUARDS), select(BINDINGS), select(vec!["null", "\"p0\"", "\"p1\""]));
    (names, place, more).prop_map(|((operator, index, segment), (port, encap, role), (guards, bindings, ingress))| {
        let spec = format!(
            r#"{{"kind":"attachment","spec":{{"segment":"s{segment}","port":"{port}","encap":"{encap}","role":"{role}","guards":{guards},"bindings":{bindings},"ingress":{ingress}}}}}"#
        );
        put(&format!("attachment/{operator}/a{index}"), &spec)
    })
}

fn lease() -> impl Strategy<Value = Change> {
    let key = (select(OPERATORS), 0..3);
    let what = prop_oneof![
        Just(None),
        Just(Some(LeaseStep::Accept)),
        Just(Some(LeaseStep::Accept)),
        Just(Some(LeaseStep::Confirm)),
        (0..200i64)
            .prop_map(|s| Some(LeaseStep::Drain(Timestamp::from_second(1_000_000 + s).unwrap()))),
    ];
    (key, what, select(SERVERS), any::<bool>()).prop_map(
        |((operator, index), what, server, transfer)| match what {
            Some(what) => step(operator, &format!("l{index}"), what),
            None if transfer => {
                Change::Transfer { server: name(server), to: owned(operator, &format!("l{index}")) }
            }
            None => put(
                &format!("lease/{operator}/l{index}"),
                &format!(r#"{{"kind":"lease","spec":{{"server":"{server}","quarantine":100}}}}"#),
            ),
        },
    )
}

fn removal() -> impl Strategy<Value = Change> {
    let keys = (select(vec!["segment", "attachment", "lease", "profile"]), select(OPERATORS), 0..4);
    let own = keys.prop_map(|(kind, operator, index)| {
        let letter = if kind == "profile" { "p" } else { &kind[..1] };
        delete(&format!("{kind}/{operator}/{letter}{index}"))
    });
    let others = select(vec![
        "node/edge1",
        "port/edge1/p1",
        "server/s1",
        "operator/alder",
        "port/edge1/up0",
    ]);
    prop_oneof![4 => own, 1 => others.prop_map(delete)]
}

/// What the owner changes under what is there.
fn site() -> impl Strategy<Value = Change> {
    let specs = vec![
        (
            "port/edge1/h0",
            r#"{"kind":"port","spec":{"role":"handover","grants":{"birch":{"vids":[[10,22]]}}}}"#,
        ),
        (
            "port/edge1/h0",
            r#"{"kind":"port","spec":{"role":"handover","grants":{"alder":"whole"}}}"#,
        ),
        ("port/edge1/h0", r#"{"kind":"port","spec":{"role":"access"}}"#),
        ("server/s1", r#"{"kind":"server","spec":{"ports":["edge1/p1","edge2/p1"]}}"#),
        ("server/s3", r#"{"kind":"server","spec":{"ports":[]}}"#),
        (
            "node/edge2",
            r#"{"kind":"node","spec":{"vtep":["fd99::2"],"limits":{"attachments":2,"fdb":2500}}}"#,
        ),
        ("node/edge2", r#"{"kind":"node","spec":{"vtep":["10.99.0.2"]}}"#),
        ("operator/alder", r#"{"kind":"operator","spec":{"vnis":[[100,102]]}}"#),
        (
            "operator/birch",
            r#"{"kind":"operator","spec":{"vnis":[[103,299]],"quota":{"bandwidth":"100 Mbit/s"}}}"#,
        ),
        ("profile/alder/p0", r#"{"kind":"profile","spec":{"cir":"60 Mbit/s"}}"#),
        ("profile/birch/p0", r#"{"kind":"profile","spec":{"cir":"60 Mbit/s"}}"#),
        ("profile/alder/p1", r#"{"kind":"profile","spec":{"eir":"10 Mbit/s","ebs":"700 B"}}"#),
    ];
    select(specs).prop_map(|(key, spec)| put(key, spec))
}

fn story() -> impl Strategy<Value = Vec<Step>> {
    let gone = Just(Change::Forget { node: name("edge2") });
    let change = prop_oneof![9 => segment(), 18 => attachment(), 9 => lease(), 6 => removal(), 3 => site(), 1 => gone];
    let of = || prop_oneof![Just(None), select(OPERATORS).prop_map(|of| Some(name(of)))];
    let changes = vec(change, 1..4);
    let on_trial = (changes.clone(), of()).prop_map(|(mut changes, of)| {
        changes.push(Change::Trial { of, seconds: 60 });
        Step::Change(changes)
    });
    let end = (of(), any::<bool>())
        .prop_map(|(of, stays)| if stays { Change::Confirm(of) } else { Change::RollBack(of) });
    let step = prop_oneof![
        8 => changes.prop_map(Step::Change),
        4 => on_trial,
        2 => end.prop_map(|change| Step::Change(vec![change])),
        2 => (select(vec!["edge1", "edge2"]), 0..3u64).prop_map(|(node, behind)| Step::Applied(node, behind)),
        1 => (1..150i64).prop_map(Step::Wait),
    ];
    vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_every_revision_keeps_every_rule(story in story(), is_spread in any::<bool>()) {
        let mut fabric = Fabric::leased();
        if is_spread {
            // By chance alone, next to no story has a segment that is on both nodes.
            fabric.does(vec![
                lan("alder/s0"),
                attach("alder/a0", "s0", "edge1/p1", "dot1q 10"),
                attach("alder/a1", "s0", "edge2/p1", "dot1q 10"),
            ]);
        }
        for step in story {
            let before = fabric.state.clone();
            let told = match step {
                Step::Change(changes) => fabric.tries(changes),
                Step::Applied(node, behind) => {
                    let revision = Revision(before.revision().0.saturating_sub(behind));
                    fabric.tries(vec![applied(node, revision)])
                }
                Step::Wait(seconds) => Ok(fabric.wait(seconds)),
            };
            match told {
                Ok(events) => {
                    assert_concerned(&before, &fabric.state, &events);
                    assert_all(&fabric.state);
                    assert_loads(&fabric.state);
                    assert_graves(&before, &fabric.state);
                }
                Err(refused) => {
                    prop_assert!(!refused.objects.is_empty() && !refused.help.is_empty(), "{}", refused);
                    prop_assert_eq!(before.revision(), fabric.state.revision());
                }
            }
        }
        assert_files(&fabric.state);
        assert_restores(&fabric.state);
    }
}
