//! How much there may be, and whose decision it is: of what is asked, of what the owner changes,
//! and of what was there before there were such rules.

use super::*;
use crate::model::Limits;

/// An attachment of alder's at s1, with a list of so many prefixes.
fn listing(count: u32) -> Change {
    let prefixes: Vec<String> =
        (0..count).map(|n| format!("\"10.0.{}.{}/32\"", n >> 8, n & 255)).collect();
    let spec = format!(
        r#"{{"kind":"attachment","spec":{{"segment":"lan","port":"edge1/p1","encap":"untagged","guards":{{"prefixes":[{}]}}}}}}"#,
        prefixes.join(",")
    );
    put("attachment/alder/a", &spec)
}

fn operator(name: &str, more: &str) -> Change {
    let vnis = if name == "alder" { "[[100,105]]" } else { "[[200,299]]" };
    put(
        &format!("operator/{name}"),
        &format!(r#"{{"kind":"operator","spec":{{"vnis":{vnis}{more}}}}}"#),
    )
}

fn node(limits: &str) -> Change {
    let spec =
        format!(r#"{{"kind":"node","spec":{{"vtep":["10.99.0.1","fd99::1"],"limits":{limits}}}}}"#);
    put("node/edge1", &spec)
}

fn segment(more: &str) -> Change {
    put("segment/alder/lan", &format!(r#"{{"kind":"segment","spec":{{"service":"lan"{more}}}}}"#))
}

fn attached(more: &str) -> Change {
    let spec = format!(
        r#"{{"kind":"attachment","spec":{{"segment":"lan","port":"edge1/p1","encap":"untagged"{more}}}}}"#
    );
    put("attachment/alder/a", &spec)
}

/// As a store has it whose owner thought otherwise since, or whose Sillon had other rules: with
/// this spec in its place.
fn with(fabric: &Fabric, change: &Change) -> Fabric {
    let Change::Put(key, spec, _) = change else { panic!("{change:?}") };
    let (key, spec) = (key.clone(), spec.clone());
    let objects = fabric.state.objects().map(|(of, object)| {
        let mut object = Object::clone(object);
        if *of == key {
            object.body = match spec.clone() {
                Spec::Operator(spec) => Body::Operator { spec },
                Spec::Port(spec) => Body::Port { spec },
                _ => panic!("{key}"),
            };
        }
        (of.clone(), object)
    });
    let state = restore_checked(fabric.state.revision(), objects).unwrap();
    Fabric { state, now: fabric.now, seed: fabric.seed }
}

#[test]
fn what_an_attachment_lists_is_counted_by_operator_and_by_node() {
    let mut fabric = Fabric::leased();
    fabric.does(vec![lan("alder/lan"), listing(100)]);
    // The link-local addresses are a prefix, too.
    assert_eq!(fabric.state.usage(&name("alder")).lists.prefixes, 101);
    assert_eq!(fabric.state.part(&name("edge1"), &name("alder")).lists.prefixes, 101);
    assert_eq!(fabric.state.part(&name("edge1"), &name("birch")), NodeUsage::default());
    let refused = fabric.is_refused(Rule::Quota, vec![listing(2048)]);
    assert!(refused.message.contains("2049 prefixes on edge1, and may have 2048"), "{refused}");
    for (quota, what) in [
        (r#","quota":{"prefixes":100}"#, "alder would have 101 prefixes, and may have 100"),
        (
            r#","quota":{"node":{"prefixes":100}}"#,
            "alder would have 101 prefixes on edge1, and may have 100",
        ),
        (
            r#","quota":{"node":{"attachments":0}}"#,
            "alder would have 1 attachments on edge1, and may have 0",
        ),
    ] {
        let refused = fabric.is_refused(Rule::Quota, vec![operator("alder", quota)]);
        assert_eq!(refused.message, what);
    }
    fabric.does(vec![delete("attachment/alder/a")]);
    assert_eq!(fabric.state.usage(&name("alder")).lists, Lists::default());
}

#[test]
fn a_node_keeps_room_for_each_who_has_a_right_to_it() {
    let mut fabric = Fabric::leased();
    let sold = r#","quota":{"prefixes":100000,"node":{"prefixes":100000}}"#;
    // It has room for 1104 prefixes, of which alder and birch can count on 276 each.
    fabric.does(vec![lan("alder/lan"), node(r#"{"attachments":10}"#), operator("alder", sold)]);
    fabric.is_refused(Rule::Room, vec![listing(828)]);
    fabric.does(vec![listing(827)]);
    let own = listing(275);
    let Change::Put(_, Spec::Attachment(mut spec), expect) = own else { unreachable!() };
    spec.port = "edge1/p2".parse().unwrap();
    let own = Change::Put("attachment/birch/a".parse().unwrap(), Spec::Attachment(spec), expect);
    fabric.does(vec![lan("birch/lan"), own]);
    // Nor can the owner take from under both what they have; but what they have, they may give
    // back.
    fabric.is_refused(Rule::Room, vec![node(r#"{"attachments":9}"#)]);
    fabric.does(vec![listing(500)]);
    fabric.does(vec![node(r#"{"attachments":9}"#)]);
}

#[test]
fn a_node_has_room_for_what_its_maps_were_made_for_whatever_is_asked_of_it_since() {
    let mut fabric = Fabric::leased();
    let sold = r#","quota":{"prefixes":100000,"node":{"prefixes":100000}}"#;
    fabric.does(vec![lan("alder/lan"), node(r#"{"attachments":10}"#), operator("alder", sold)]);
    let made_for = Limits { attachments: 10, ..Limits::default() };
    let seen = Seen { made_for: Some(made_for), ..Seen::default() };
    let Change::Report(report) = applied("edge1", fabric.state.revision()) else { unreachable!() };
    fabric.does(vec![Change::Report(Report { seen: Some(seen), ..report })]);
    // The owner asks for more, which a node that is up does not follow.
    fabric.does(vec![node(r#"{"attachments":1000}"#)]);
    let refused = fabric.is_refused(Rule::Room, vec![listing(1200)]);
    assert_eq!(refused.message, "node/edge1 has no room for more prefixes");
    assert!(!refused.help.contains(char::is_numeric), "{refused}");
    let help = refused.help_for_owner.unwrap();
    for told in ["1201", "1104", "max_attachments = 10", "[node]", "1000", "`sillon node flush`"] {
        assert!(help.contains(told), "{told}: {help}");
    }
    // What is there stays, however small the maps are that the node is made with next.
    fabric.does(vec![listing(800)]);
    let small = Limits { attachments: 1, ..Limits::default() };
    let seen = Seen { made_for: Some(small), ..Seen::default() };
    let Change::Report(report) = applied("edge1", fabric.state.revision()) else { unreachable!() };
    fabric.does(vec![Change::Report(Report { seen: Some(seen), ..report })]);
    fabric.does(vec![listing(799)]);
    // And where its own limit is in the way, that is what is to be raised.
    fabric.does(vec![delete("attachment/alder/a"), node(r#"{"attachments":1}"#)]);
    fabric.converge();
    let refused = fabric.is_refused(Rule::Room, vec![listing(1200)]);
    let help = refused.help_for_owner.unwrap();
    assert!(help.contains("raise limits.attachments of node/edge1"), "{help}");
}

#[test]
fn the_remotes_of_all_segments_together_have_room_too() {
    let mut fabric = Fabric::leased();
    let wide = r#"{"kind":"operator","spec":{"vnis":[[100,199]]}}"#;
    fabric.does(vec![put("operator/alder", wide)]);
    // 96 of them, of 6 remotes.
    fabric.does(vec![node(r#"{"remotes":6,"segments":24}"#)]);
    for edge in 3..=8 {
        let spec = format!(r#"{{"kind":"node","spec":{{"vtep":["10.99.0.{edge}"]}}}}"#);
        let mut changes = vec![put(&format!("node/edge{edge}"), &spec)];
        for (port, role) in
            [("up0", r#""uplink""#), ("h0", r#""handover","grants":{"alder":"whole"}"#)]
        {
            let spec = format!(r#"{{"kind":"port","spec":{{"role":{role}}}}}"#);
            changes.push(put(&format!("port/edge{edge}/{port}"), &spec));
        }
        fabric.does(changes);
    }
    let segment = |number: u32| {
        let at = |edge: u32, port: &str| {
            let vid = number + 1;
            attach(
                &format!("alder/s{number}-{edge}"),
                &format!("s{number}"),
                port,
                &format!("dot1q {vid}"),
            )
        };
        let mut changes = vec![lan(&format!("alder/s{number}")), at(1, "edge1/p1")];
        changes.extend((3..=8).map(|edge| at(edge, &format!("edge{edge}/h0"))));
        changes
    };
    for number in 0..16 {
        fabric.does(segment(number));
    }
    assert_eq!(fabric.state.node_usage(&name("edge1")).tunnels, 96);
    let refused = fabric.is_refused(Rule::Room, segment(16));
    assert!(refused.message.contains("node/edge1 has no room for more remotes"), "{refused}");
    let help = refused.help_for_owner.unwrap();
    assert!(help.contains("102") && help.contains("96: max_remotes = 6"), "{help}");
    for edge in 3..=8 {
        fabric.does(vec![delete(&format!("attachment/alder/s0-{edge}"))]);
    }
    assert_eq!(fabric.state.node_usage(&name("edge1")).tunnels, 90);
    fabric.does(segment(16));
}

#[test]
fn what_is_beyond_a_quota_already_is_read_and_may_become_less_and_not_more() {
    let mut fabric = Fabric::leased();
    fabric.does(vec![lan("alder/lan"), lan("alder/two"), listing(1000)]);
    let mut fabric = with(
        &fabric,
        &operator("alder", r#","quota":{"segments":1,"prefixes":10,"node":{"prefixes":10}}"#),
    );
    fabric.is_refused(Rule::Quota, vec![lan("alder/three")]);
    fabric.is_refused(Rule::Quota, vec![listing(1001)]);
    fabric.does(vec![segment(r#","ageing":100"#)]);
    fabric.does(vec![listing(900)]);
    fabric.does(vec![delete("segment/alder/two")]);
    fabric.does(vec![delete("attachment/alder/a"), delete("segment/alder/lan")]);
}

#[test]
fn what_is_beyond_a_ceiling_already_is_read_and_stays_and_is_not_asked_for_anew() {
    let mut fabric = Fabric::leased();
    let all = r#","ceiling":{"mtu":9000,"dscp":[46],"moves":null,"storm":{"broadcast":null}}"#;
    let peer = |peer| {
        put(
            "port/edge1/p1",
            &format!(r#"{{"kind":"port","spec":{{"role":"access","peer":{peer}}}}}"#),
        )
    };
    let far = r#","mtu":9000,"dscp":46,"moves":{"limit":0}"#;
    let loud = r#","storm":{"broadcast":null},"guards":{"control":"peer"}"#;
    fabric.does(vec![operator("alder", all), peer(true), segment(far), attached(loud)]);
    let fabric = with(&fabric, &operator("alder", ""));
    let mut fabric = with(&fabric, &peer(false));
    // Something else of it changes, and so does something else of the owner's.
    fabric.does(vec![
        segment(&format!(r#"{far},"ageing":100"#)),
        attached(&format!(r#"{loud},"role":"root""#)),
    ]);
    fabric.does(vec![operator("alder", r#","quota":{"segments":7}"#)]);
    for wish in [r#","mtu":8000"#, r#","dscp":45"#, r#","moves":{"limit":9,"window":1}"#] {
        fabric.is_refused(Rule::Ceiling, vec![segment(wish)]);
    }
    fabric.is_refused(
        Rule::Ceiling,
        vec![attached(r#","storm":{"broadcast":10001},"guards":{"control":"drop"}"#)],
    );
    fabric.does(vec![segment(""), attached("")]);
    for wish in [r#","mtu":9000"#, r#","dscp":46"#, r#","moves":{"limit":0}"#] {
        fabric.is_refused(Rule::Ceiling, vec![segment(wish)]);
    }
    fabric.is_refused(Rule::Ceiling, vec![attached(loud)]);
}

#[test]
fn a_ceiling_is_lowered_together_with_what_is_beyond_it() {
    let mut fabric = Fabric::leased();
    fabric.does(vec![segment(r#","mtu":9000"#), attached("")]);
    let refused = fabric.is_refused(Rule::Ceiling, vec![operator("alder", "")]);
    assert!(refused.message.contains("mtu: 9000 of segment/alder/lan"), "{refused}");
    fabric.does(vec![operator("alder", ""), segment("")]);
    let port = |storm: u32| {
        put(
            "port/edge1/p1",
            &format!(
                r#"{{"kind":"port","spec":{{"role":"access","storm":{{"broadcast":{storm}}}}}}}"#
            ),
        )
    };
    let refused = fabric.is_refused(Rule::Ceiling, vec![port(100)]);
    assert!(refused.message.contains("storm.broadcast: 10000"), "{refused}");
    fabric.does(vec![port(100), attached(r#","storm":{"broadcast":100}"#)]);
    fabric.is_refused(Rule::Ceiling, vec![attached(r#","storm":{"broadcast":101}"#)]);
}

#[test]
fn who_churns_where_no_node_confirms_waits_and_may_still_remove() {
    let mut fabric = Fabric::leased();
    fabric.does(vec![operator("alder", r#","quota":{"tombstones":3}"#), lan("alder/lan")]);
    let at = |vid: u32| attach("alder/a", "lan", "edge1/p1", &format!("dot1q {vid}"));
    fabric.does(vec![at(1)]);
    for vid in 2..=4 {
        fabric.does(vec![at(vid)]);
    }
    let refused = fabric.is_refused(Rule::Quota, vec![at(5)]);
    assert!(refused.message.contains("4 VNIs and encapsulations"), "{refused}");
    fabric.does(vec![delete("attachment/alder/a")]);
    fabric.is_refused(Rule::Quota, vec![at(5)]);
    // birch is not concerned.
    fabric.does(vec![lan("birch/lan"), attach("birch/a", "lan", "edge1/p2", "untagged")]);
    fabric.converge();
    fabric.does(vec![at(5)]);
}
