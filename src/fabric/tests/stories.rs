//! One rule, or one story, a test.

use super::*;

#[test]
fn a_segment_over_two_nodes_is_in_the_file_of_each_with_the_other_as_its_remote() {
    let mut fabric = Fabric::leased();
    fabric.does(vec![
        lan("alder/lan"),
        attach("alder/a1", "lan", "edge1/p1", "untagged"),
        attach("alder/a3", "lan", "edge2/p1", "dot1q 5"),
    ]);
    let edge = |node: &str| desired(&fabric.state, &name(node)).unwrap();
    let (one, two) = (edge("edge1"), edge("edge2"));
    assert_eq!(one.segments[0].remotes, ["10.99.0.2".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(two.segments[0].remotes, ["10.99.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(
        (one.segments[0].name.as_str(), one.segments[0].vni),
        ("alder.lan", two.segments[0].vni)
    );
    assert_eq!((one.attachments.len(), one.ports.len()), (1, 4));
    assert_eq!(two.attachments[0].encap.to_string(), "dot1q 5");
}

#[test]
fn nothing_is_attached_without_an_active_lease_and_it_does_not_show_whether_another_has_it() {
    let mut fabric = Fabric::leased();
    fabric.does(vec![lan("alder/lan")]);
    let at = |port: &str| vec![attach("alder/a", "lan", port, "untagged")];
    let others = fabric.is_refused(Rule::Right, at("edge1/p2"));
    let nobodys = fabric.is_refused(Rule::Right, at("edge9/p2"));
    assert_eq!(others.message.replace("edge1", "edge9"), nobodys.message);
    assert_eq!((&others.help, &others.objects), (&nobodys.help, &nobodys.objects));
    fabric.is_refused(Rule::Right, at("edge1/up0"));
    fabric.does(at("edge1/p1"));
}

#[test]
fn on_a_handover_port_only_granted_vids_are_attached_and_one_is_drawn_where_none_is_asked() {
    let mut fabric = Fabric::leased();
    fabric.does(vec![lan("alder/lan")]);
    fabric.is_refused(Rule::Right, vec![attach("alder/a", "lan", "edge1/h0", "dot1q 20")]);
    fabric.is_refused(Rule::Right, vec![attach("alder/a", "lan", "edge1/h0", "untagged")]);
    for index in 0..3 {
        fabric.does(vec![attach(&format!("alder/a{index}"), "lan", "edge1/h0", "dot1q")]);
    }
    let vids: std::collections::BTreeSet<_> = desired(&fabric.state, &name("edge1"))
        .unwrap()
        .attachments
        .iter()
        .map(|one| one.encap.to_string())
        .collect();
    assert_eq!(
        vids.iter().map(String::as_str).collect::<Vec<_>>(),
        ["dot1q 10", "dot1q 11", "dot1q 12"]
    );
    fabric.is_refused(Rule::Encap, vec![attach("alder/a3", "lan", "edge1/h0", "dot1q")]);
}

#[test]
fn a_vni_is_drawn_of_the_operators_own_and_stays_a_tombstone_until_every_node_has_confirmed() {
    let mut fabric = Fabric::leased();
    let segment = r#"{"kind":"segment","spec":{"service":"lan","vni":103}}"#;
    fabric.is_refused(Rule::Vni, vec![put("segment/birch/lan", segment)]);
    fabric.does(vec![
        put("segment/alder/lan", segment),
        attach("alder/a1", "lan", "edge1/p1", "untagged"),
        attach("alder/a3", "lan", "edge2/p1", "untagged"),
    ]);
    let taken = fabric.is_refused(Rule::Vni, vec![put("segment/alder/two", segment)]);
    assert!(taken.objects.contains(&"segment/alder/lan".parse().unwrap()));
    fabric.does(vec![
        delete("attachment/alder/a1"),
        delete("attachment/alder/a3"),
        delete("segment/alder/lan"),
    ]);
    let freed = fabric.state.revision();
    fabric.is_refused(Rule::Vni, vec![put("segment/alder/two", segment)]);
    fabric.does(vec![applied("edge1", freed)]);
    fabric.is_refused(Rule::Vni, vec![put("segment/alder/two", segment)]);
    fabric.does(vec![applied("edge2", freed)]);
    fabric.does(vec![put("segment/alder/two", segment)]);
}

#[test]
fn an_encapsulation_is_one_attachments_and_stays_a_tombstone_too() {
    let mut fabric = Fabric::leased();
    fabric.does(vec![lan("alder/lan"), attach("alder/a", "lan", "edge1/p1", "qinq 7.8")]);
    fabric.is_refused(Rule::Encap, vec![attach("alder/b", "lan", "edge1/p1", "qinq 7")]);
    fabric.does(vec![delete("attachment/alder/a")]);
    fabric.is_refused(Rule::Encap, vec![attach("alder/b", "lan", "edge1/p1", "qinq 7")]);
    fabric.converge();
    fabric.does(vec![attach("alder/b", "lan", "edge1/p1", "qinq 7")]);
}

#[test]
fn a_quota_holds_for_segments_attachments_addresses_and_bandwidth() {
    let mut fabric = Fabric::leased();
    let quota = |quota: &str| {
        put(
            "operator/alder",
            &format!(r#"{{"kind":"operator","spec":{{"vnis":[[100,105]],"quota":{quota}}}}}"#),
        )
    };
    fabric.does(vec![lan("alder/one"), lan("alder/two"), lan("alder/three")]);
    fabric.is_refused(Rule::Quota, vec![lan("alder/four")]);
    fabric.is_refused(
        Rule::Quota,
        vec![put(
            "segment/alder/one",
            r#"{"kind":"segment","spec":{"service":"lan","mac_limit":3000}}"#,
        )],
    );
    let refused = fabric.is_refused(Rule::Quota, vec![quota(r#"{"segments":2}"#)]);
    assert!(refused.message.contains("3 segments, and may have 2"), "{refused}");
    fabric.does(vec![quota(r#"{"attachments":1,"bandwidth":"150 Mbit/s"}"#)]);
    fabric.is_refused(Rule::Quota, vec![attach("alder/a", "one", "edge1/p1", "untagged")]);
    let profile = |cir: &str| {
        put("profile/alder/gold", &format!(r#"{{"kind":"profile","spec":{{"cir":"{cir}"}}}}"#))
    };
    let with = r#"{"kind":"attachment","spec":{"segment":"one","port":"edge1/p1","encap":"untagged","ingress":"gold","egress":"gold"}}"#;
    fabric.does(vec![profile("100 Mbit/s"), put("attachment/alder/a", with)]);
    fabric.is_refused(Rule::Quota, vec![profile("200 Mbit/s")]);
    fabric.does(vec![profile("150 Mbit/s")]);
    fabric.is_refused(
        Rule::Quota,
        vec![put("attachment/alder/b", &with.replace("edge1/p1", "edge2/p1"))],
    );
}

#[test]
fn nothing_dangles() {
    let mut fabric = Fabric::leased();
    fabric.is_refused(Rule::Dangling, vec![attach("alder/a", "nowhere", "edge1/p1", "untagged")]);
    fabric.does(vec![lan("alder/lan"), attach("alder/a", "lan", "edge1/p1", "untagged")]);
    let refused = fabric.is_refused(Rule::Dangling, vec![delete("segment/alder/lan")]);
    assert!(refused.objects.contains(&"attachment/alder/a".parse().unwrap()));
    for key in ["node/edge1", "port/edge1/p1", "server/s1", "operator/alder"] {
        fabric.is_refused(Rule::Dangling, vec![delete(key)]);
    }
    fabric.is_refused(Rule::Lease, vec![delete("lease/alder/l1")]);
    fabric.does(vec![delete("segment/alder/lan"), delete("attachment/alder/a")]);
}

#[test]
fn what_a_nodes_file_refuses_is_refused_here_in_the_same_words() {
    let mut fabric = Fabric::leased();
    let line = r#"{"kind":"segment","spec":{"service":"line"}}"#;
    fabric.does(vec![put("segment/alder/line", line), lan("alder/lan")]);
    fabric.does(vec![
        attach("alder/a", "line", "edge1/p1", "dot1q 1"),
        attach("alder/b", "line", "edge2/p1", "dot1q 1"),
    ]);
    let refused =
        fabric.is_refused(Rule::Agree, vec![attach("alder/c", "line", "edge1/p1", "dot1q 2")]);
    assert_eq!(refused.message, "a line has two points, and this one has 3");
    let with = |more: &str| {
        let spec = format!(
            r#"{{"kind":"attachment","spec":{{"segment":"lan","port":"edge1/p1","encap":"dot1q 9",{more}}}}}"#
        );
        vec![put("attachment/alder/d", &spec)]
    };
    for (more, rule, words) in [
        (r#""role":"leaf""#, Rule::Agree, "a lan has no roles"),
        (r#""guards":{"control":"tunnel"}"#, Rule::Agree, "a lan tunnels no control frames"),
        (r#""guards":{"control":"peer"}"#, Rule::Agree, "the attachment has no tag"),
        (
            r#""bindings":["10.0.0.1 02:00:00:00:00:01"]"#,
            Rule::Agree,
            "nothing is answered in this segment",
        ),
        (
            r#""guards":{"macs":["02:00:00:00:00:01"],"sticky":true}"#,
            Rule::Spec,
            "learns no addresses",
        ),
    ] {
        let refused = fabric.is_refused(rule, with(more));
        assert!(refused.message.contains(words), "{refused}");
    }
    let mac = r#""guards":{"macs":["02:00:00:00:00:01"]}"#;
    fabric.does(with(mac));
    let elsewhere = r#"{"kind":"attachment","spec":{"segment":"lan","port":"edge2/p1","encap":"dot1q 9","guards":{"macs":["02:00:00:00:00:01"]}}}"#;
    fabric.is_refused(Rule::Agree, vec![put("attachment/alder/e", elsewhere)]);
}

#[test]
fn a_server_that_changes_hands_is_nobodys_until_all_nodes_have_forgotten_it_and_the_owner_confirms()
{
    let mut fabric = Fabric::leased();
    fabric.does(vec![
        lan("alder/lan"),
        lan("birch/lan"),
        attach("alder/a1", "lan", "edge1/p1", "untagged"),
        attach("alder/a3", "lan", "edge2/p1", "untagged"),
    ]);
    fabric.converge();
    fabric.does(vec![Change::Transfer { server: name("s1"), to: owned("birch", "new") }]);
    let detached = fabric.state.revision();
    assert_eq!(fabric.lease("alder", "l1"), LeaseState::Quarantined);
    assert!(desired(&fabric.state, &name("edge1")).unwrap().attachments.is_empty());
    // The other node of the segment has to forget it, too.
    let purge = |fabric: &Fabric, node| purges(&fabric.state, &name(node)).remove(0);
    let own = Purge {
        segment: owned("alder", "lan"),
        port: "edge1/p1".parse().unwrap(),
        freed: detached,
        remote: None,
        is_early: false,
    };
    assert_eq!(purge(&fabric, "edge1"), own);
    // But not before its own node lets it in no more.
    let other = Purge { remote: Some("10.99.0.1".parse().unwrap()), is_early: true, ..own };
    assert_eq!(purge(&fabric, "edge2"), other);
    let attach = || vec![attach("birch/b", "lan", "edge1/p1", "untagged")];
    fabric.does(vec![step("birch", "new", LeaseStep::Accept)]);
    fabric.does(vec![step("alder", "l1", LeaseStep::Confirm), applied("edge1", detached)]);
    assert_eq!(purge(&fabric, "edge2"), Purge { is_early: false, ..other });
    assert_eq!(
        (fabric.lease("alder", "l1"), fabric.lease("birch", "new")),
        (LeaseState::Quarantined, LeaseState::Offered)
    );
    fabric.is_refused(Rule::Right, attach());
    fabric.does(vec![applied("edge2", detached)]);
    assert_eq!(
        (fabric.lease("alder", "l1"), fabric.lease("birch", "new")),
        (LeaseState::Released, LeaseState::Active)
    );
    fabric.does(attach());
    assert!(purges(&fabric.state, &name("edge2")).is_empty());
}

#[test]
fn a_lease_drains_until_its_deadline_and_the_quarantine_ends_by_itself() {
    let mut fabric = Fabric::leased();
    fabric.does(vec![lan("alder/lan"), attach("alder/a", "lan", "edge1/p1", "untagged")]);
    let deadline = fabric.now.checked_add(SignedDuration::from_secs(60)).unwrap();
    fabric.does(vec![step("alder", "l1", LeaseStep::Drain(deadline))]);
    fabric.is_refused(Rule::Right, vec![attach("alder/b", "lan", "edge1/p1", "dot1q 3")]);
    fabric.wait(59);
    assert_eq!(fabric.lease("alder", "l1"), LeaseState::Draining);
    assert_eq!(desired(&fabric.state, &name("edge1")).unwrap().attachments.len(), 1);
    fabric.wait(1);
    assert_eq!(fabric.lease("alder", "l1"), LeaseState::Quarantined);
    assert!(desired(&fabric.state, &name("edge1")).unwrap().attachments.is_empty());
    fabric.wait(3600);
    assert_eq!(fabric.lease("alder", "l1"), LeaseState::Quarantined, "no node has confirmed");
    fabric.converge();
    assert_eq!(fabric.lease("alder", "l1"), LeaseState::Released);
}

#[test]
fn an_offer_begins_and_ends_at_its_times() {
    let mut fabric = Fabric::site();
    let at = |seconds| fabric.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
    let spec = format!(
        r#"{{"kind":"lease","spec":{{"server":"s1","from":"{}","until":"{}"}}}}"#,
        at(10),
        at(20)
    );
    fabric.does(vec![
        put("lease/alder/l", &spec),
        put("lease/birch/l", &spec),
        step("alder", "l", LeaseStep::Accept),
    ]);
    assert_eq!(fabric.lease("alder", "l"), LeaseState::Offered);
    fabric.wait(10);
    assert_eq!(fabric.lease("alder", "l"), LeaseState::Active);
    fabric.wait(10);
    assert_eq!(
        (fabric.lease("alder", "l"), fabric.lease("birch", "l")),
        (LeaseState::Quarantined, LeaseState::Released)
    );
}

#[test]
fn what_expects_another_revision_is_refused_and_what_is_asked_again_changes_nothing() {
    let mut fabric = Fabric::leased();
    fabric.does(vec![lan("alder/lan")]);
    let revision = fabric.state.revision();
    assert!(fabric.does(vec![lan("alder/lan")]).is_empty());
    assert_eq!(fabric.state.revision(), revision);
    let expecting = |expect| {
        let Change::Put(key, spec, _) = lan("alder/lan") else { unreachable!() };
        vec![Change::Put(key, spec, expect)]
    };
    fabric.is_refused(Rule::Changed, expecting(Expect::Absent));
    fabric.is_refused(Rule::Changed, expecting(Expect::At(Revision(1))));
    fabric.does(expecting(Expect::At(revision)));
}

#[test]
fn programmed_is_what_all_nodes_concerned_have_applied() {
    let mut fabric = Fabric::leased();
    fabric.does(vec![
        lan("alder/lan"),
        attach("alder/a1", "lan", "edge1/p1", "untagged"),
        attach("alder/a3", "lan", "edge2/p1", "untagged"),
    ]);
    let revision = fabric.state.revision();
    fabric.does(vec![applied("edge1", revision)]);
    let is = |fabric: &Fabric, key: &str| fabric.condition(key, ConditionKind::Programmed).unwrap();
    assert!(
        is(&fabric, "attachment/alder/a1")
            && !is(&fabric, "attachment/alder/a3")
            && !is(&fabric, "segment/alder/lan")
    );
    fabric.does(vec![applied("edge2", revision)]);
    assert!(is(&fabric, "attachment/alder/a3") && is(&fabric, "segment/alder/lan"));
    let report = Report {
        node: name("edge1"),
        applied: Revision(0),
        drift: Some("an entry too many in fdb".to_owned()),
        down: ["p1".parse().unwrap()].into(),
        silent: false,
        seen: None,
    };
    fabric.does(vec![Change::Report(report)]);
    assert_eq!(fabric.condition("node/edge1", ConditionKind::Verified), Some(false));
    assert_eq!(fabric.condition("port/edge1/p1", ConditionKind::Degraded), Some(true));
    assert!(is(&fabric, "attachment/alder/a1"), "an agent that begins anew takes nothing back");
}

#[test]
fn a_node_has_room_and_a_way_for_what_is_attached_or_it_is_refused_without_a_number() {
    let mut fabric = Fabric::leased();
    let node = |node: &str| put("node/edge2", &format!(r#"{{"kind":"node","spec":{node}}}"#));
    let both = || {
        vec![
            lan("alder/lan"),
            attach("alder/a1", "lan", "edge1/p1", "untagged"),
            attach("alder/a3", "lan", "edge2/p1", "untagged"),
        ]
    };
    for (spec, what) in [
        (
            r#"{"vtep":["10.99.0.2"],"limits":{"fdb":1000}}"#,
            "node/edge2 has no room for more addresses",
        ),
        (r#"{"vtep":[]}"#, "edge1 and edge2 have no tunnel address of one family"),
    ] {
        fabric.does(vec![node(spec)]);
        assert_eq!(fabric.is_refused(Rule::Room, both()).message, what);
    }
    fabric.does(vec![node(
        r#"{"vtep":["fd99::2"],"limits":{"attachments":1,"segments":1,"remotes":1}}"#,
    )]);
    fabric.does(both());
    assert_eq!(desired(&fabric.state, &name("edge1")).unwrap().segments[0].remotes.len(), 1);
    fabric.is_refused(Rule::Room, vec![attach("alder/b", "lan", "edge2/p1", "dot1q 9")]);
    fabric.is_refused(Rule::Room, vec![node(r#"{"vtep":["10.99.0.2"],"limits":{"fdb":1000}}"#)]);
    fabric.is_refused(Rule::Room, vec![node(r#"{"vtep":[]}"#)]);
    fabric.is_refused(Rule::Room, vec![delete("port/edge2/up0")]);
}

#[test]
fn a_node_that_is_gone_is_waited_for_until_the_owner_says_so() {
    let mut fabric = Fabric::leased();
    let vni = r#"{"kind":"segment","spec":{"service":"lan","vni":103}}"#;
    fabric.does(vec![
        put("segment/alder/lan", vni),
        attach("alder/a1", "lan", "edge1/p1", "untagged"),
        attach("alder/a3", "lan", "edge2/p1", "untagged"),
    ]);
    fabric.converge();
    let forget = || Change::Forget { node: name("edge2") };
    // What is attached there has to go first: who is gone carries nothing.
    let refused = fabric.is_refused(Rule::Room, vec![forget()]);
    assert!(refused.message.contains("is gone, and something is attached"), "{refused}");
    let now = fabric.now;
    fabric.does(vec![
        step("alder", "l3", LeaseStep::Drain(now)),
        delete("attachment/alder/a1"),
        delete("attachment/alder/a3"),
        delete("segment/alder/lan"),
    ]);
    fabric.wait(1);
    fabric.does(vec![
        step("alder", "l3", LeaseStep::Confirm),
        applied("edge1", fabric.state.revision()),
    ]);
    // Its machine burnt down: it confirms nothing, and so the VNI, the server and the node itself
    // stay.
    fabric.wait(100_000);
    assert_eq!(fabric.lease("alder", "l3"), LeaseState::Quarantined);
    fabric.is_refused(Rule::Vni, vec![put("segment/alder/two", vni)]);
    fabric.is_refused(Rule::Dangling, vec![delete("server/s3"), delete("port/edge2/p1")]);
    fabric.does(vec![forget()]);
    assert_eq!(fabric.lease("alder", "l3"), LeaseState::Released);
    assert!(fabric.does(vec![forget()]).is_empty(), "it is forgotten once");
    fabric.does(vec![put("segment/alder/two", vni)]);
    fabric.does(vec![
        put("server/s2", r#"{"kind":"server","spec":{"ports":["edge1/p2"]}}"#),
        delete("server/s3"),
        delete("port/edge2/p1"),
        delete("port/edge2/p2"),
        delete("port/edge2/up0"),
        delete("node/edge2"),
    ]);
    fabric.is_refused(Rule::Dangling, vec![forget()]);
    // A new machine may have the name.
    fabric.does(vec![
        put("node/edge2", r#"{"kind":"node","spec":{"vtep":["10.99.0.2"]}}"#),
        put(
            "port/edge2/h0",
            r#"{"kind":"port","spec":{"role":"handover","grants":{"alder":"whole"}}}"#,
        ),
        attach("alder/a3", "two", "edge2/h0", "untagged"),
    ]);
    fabric.does(vec![applied("edge2", fabric.state.revision())]);
}

#[test]
fn a_node_that_is_gone_is_not_heard_and_gets_nothing_however_often_its_file_is_applied() {
    let mut fabric = Fabric::leased();
    fabric.does(vec![lan("alder/lan"), attach("alder/a3", "lan", "edge2/p1", "untagged")]);
    fabric.converge();
    // Detached and forgotten in one transaction: it leaves nothing to wait for.
    fabric.does(vec![delete("attachment/alder/a3"), Change::Forget { node: name("edge2") }]);
    assert_eq!(fabric.state.of_kind(Kind::Tombstone).count(), 0);
    let back = vec![attach("alder/a3", "lan", "edge2/p1", "untagged")];
    let refused = fabric.is_refused(Rule::Room, back.clone());
    assert_eq!(refused.objects, ["node/edge2".parse().unwrap()]);
    let revision = fabric.state.revision();
    fabric.is_refused(Rule::Dangling, vec![applied("edge2", revision)]);
    assert!(
        fabric
            .does(vec![put("node/edge2", r#"{"kind":"node","spec":{"vtep":["10.99.0.2"]}}"#)])
            .is_empty()
    );
    fabric.does(vec![put("node/edge2", r#"{"kind":"node","spec":{"vtep":["10.99.0.3"]}}"#)]);
    fabric.is_refused(Rule::Room, back);
}

#[test]
fn a_server_that_is_transferred_from_a_node_that_is_gone_waits_only_for_the_others() {
    let mut fabric = Fabric::leased();
    fabric.does(vec![
        lan("alder/lan"),
        attach("alder/a1", "lan", "edge1/p1", "untagged"),
        attach("alder/a3", "lan", "edge2/p1", "untagged"),
    ]);
    fabric.converge();
    fabric.does(vec![
        Change::Transfer { server: name("s3"), to: owned("birch", "new") },
        step("birch", "new", LeaseStep::Accept),
        Change::Forget { node: name("edge2") },
    ]);
    fabric.does(vec![step("alder", "l3", LeaseStep::Confirm)]);
    // The other node of the segment still knows the server.
    assert_eq!(fabric.lease("birch", "new"), LeaseState::Offered);
    fabric.does(vec![applied("edge1", fabric.state.revision())]);
    assert_eq!(fabric.lease("birch", "new"), LeaseState::Active);
    fabric.does(vec![lan("birch/lan")]);
    fabric.is_refused(Rule::Room, vec![attach("birch/b", "lan", "edge2/p1", "untagged")]);
}

#[test]
fn what_was_taken_away_says_which_node_has_not_confirmed() {
    let mut fabric = Fabric::leased();
    let on = |fabric: &Fabric, key: &str| {
        let (is, why) = fabric.why(key, ConditionKind::Programmed);
        (is, why.to_owned())
    };
    fabric.does(vec![
        lan("alder/lan"),
        attach("alder/a1", "lan", "edge1/p1", "untagged"),
        attach("alder/a3", "lan", "edge2/p1", "untagged"),
    ]);
    fabric.converge();
    fabric.does(vec![Change::Transfer { server: name("s1"), to: owned("birch", "new") }]);
    let detached = fabric.state.revision();
    let asked = "lease/alder/l1";
    assert_eq!(
        on(&fabric, asked),
        (false, "not confirmed that the server is detached and forgotten: node/edge1".to_owned())
    );
    let (encap, learned) =
        ("tombstone/edge1/encap/p1/untagged", "tombstone/edge2/learned/alder/lan/edge1/p1");
    assert_eq!(on(&fabric, encap), (false, "node/edge1 has not confirmed".to_owned()));
    let (is, why) = on(&fabric, learned);
    assert!(
        !is && why.starts_with("node/edge1 has not confirmed that it lets the server in no more"),
        "{why}"
    );
    // Confirmed by the owner and the wrong node: it still says who is missing.
    fabric.does(vec![step("alder", "l1", LeaseStep::Confirm)]);
    assert_eq!(
        on(&fabric, asked).1,
        "not confirmed that the server is detached and forgotten: node/edge1"
    );

    fabric.does(vec![applied("edge1", detached)]);
    assert_eq!(
        on(&fabric, asked).1,
        "not confirmed that the server is detached and forgotten: node/edge2"
    );
    assert_eq!(on(&fabric, learned), (false, "node/edge2 has not confirmed".to_owned()));
    fabric.does(vec![applied("edge2", detached)]);
    assert_eq!(fabric.lease("alder", "l1"), LeaseState::Released);
    let all =
        (true, "every node has confirmed that the server is detached and forgotten".to_owned());
    assert_eq!(on(&fabric, asked), all);
    // Of who waits for nobody nothing is said.
    assert_eq!(fabric.condition("lease/birch/new", ConditionKind::Programmed), None);

    fabric.does(vec![delete("attachment/alder/a3"), delete("segment/alder/lan")]);
    let vni = fabric
        .state
        .of_kind(Kind::Tombstone)
        .find(|key| matches!(key, Key::Tombstone(_, Freed::Vni(_))));
    let vni = vni.unwrap().to_string();
    assert_eq!(on(&fabric, &vni), (false, "node/edge2 has not confirmed".to_owned()));
}

#[test]
fn a_quarantine_that_waits_for_the_owner_alone_says_that_all_nodes_have_confirmed() {
    let mut fabric = Fabric::leased();
    fabric.does(vec![lan("alder/lan"), attach("alder/a1", "lan", "edge1/p1", "untagged")]);
    fabric.converge();
    fabric.does(vec![step("alder", "l1", LeaseStep::Drain(fabric.now))]);
    assert_eq!(fabric.lease("alder", "l1"), LeaseState::Quarantined);
    assert!(!fabric.why("lease/alder/l1", ConditionKind::Programmed).0);
    fabric.converge();
    assert_eq!(fabric.lease("alder", "l1"), LeaseState::Quarantined);
    assert!(fabric.why("lease/alder/l1", ConditionKind::Programmed).0);
    // A node that is gone is waited for no more.
    let mut fabric = Fabric::leased();
    fabric.does(vec![lan("alder/lan"), attach("alder/a1", "lan", "edge1/p1", "untagged")]);
    fabric.converge();
    fabric.does(vec![step("alder", "l1", LeaseStep::Drain(fabric.now))]);
    fabric.does(vec![Change::Forget { node: name("edge1") }]);
    assert!(fabric.why("lease/alder/l1", ConditionKind::Programmed).0);
}
