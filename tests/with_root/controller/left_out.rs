//! What one operator asks for never stops another, and what is taken away is away.

use sillon::{
    controller::SubmitError,
    fabric::{Actor, Body, Change, ConditionKind, Key, LeaseState, Report, Rule, Seen},
};
use sillon_rig::frame::BROADCAST;

use crate::{
    common::{comes, datagram, soon, stays_away},
    controller::{
        nodes::World,
        site::{attach, lan, owned, put},
    },
};

/// A wish that is refused by what the nodes have reported, as if they had reported nothing yet.
fn unreported(wish: Change) -> Vec<Change> {
    let report = |node: &str| {
        Change::Report(Report {
            node: node.parse().unwrap(),
            applied: sillon::fabric::Revision(0),
            drift: None,
            down: Default::default(),
            silent: false,
            seen: Some(Seen::default()),
        })
    };
    vec![report("edge1"), report("edge2"), wish]
}

fn jumbo() -> Change {
    put("segment/alder/lan", r#"{"service":"lan","mtu":9000}"#)
}

impl World {
    /// Waits until an object is not programmed, for a reason that has these words.
    fn is_not_programmed(&self, key: &str, words: &[&str]) {
        let object: Key = key.parse().unwrap();
        let is_so = |state: &sillon::fabric::State| {
            let condition =
                state.get(&object).and_then(|it| it.conditions.get(&ConditionKind::Programmed));
            condition.is_some_and(|it| !it.is && words.iter().all(|word| it.why.contains(word)))
        };
        self.at(async |running| {
            running.until(&format!("{key} is not, for {words:?}"), is_so).await
        });
    }

    fn restart(&mut self, edge: usize) {
        self.fabric.edges[edge].stop().unwrap();
        self.fabric.edges[edge].restart().unwrap();
    }
}

#[test]
fn a_wish_that_can_not_be_stops_neither_another_operator_nor_what_is_taken_away() {
    let mut world = World::new();
    world.attach_alder();
    world.greet();
    // What can't be is refused, with the rule and the objects.
    let device = |state: &sillon::fabric::State| {
        let Some(Body::Node(node)) = state.get(&"node/edge1".parse().unwrap()).map(|it| &it.body)
        else {
            return false;
        };
        node.devices.get("p0").is_some_and(|it| it.mtu == 1600)
    };
    world.at(async |running| running.until("edge1 has told of its devices", device).await);
    let refused = world.at(async |running| {
        running.tries(Actor::Operator("alder".parse().unwrap()), vec![jumbo()]).await.unwrap_err()
    });
    let SubmitError::Refused(refused) = refused else { panic!("{refused:?}") };
    assert_eq!(refused.rule, Rule::Device, "{refused}");
    assert!(refused.message.contains("9000") && refused.message.contains("1600"), "{refused}");
    // It is there all the same, since the nodes had not reported yet.
    world.does(unreported(jumbo()));
    for attachment in ["attachment/alder/a1", "attachment/alder/a2"] {
        world.is_not_programmed(attachment, &["MTU", "1600", "9000"]);
    }
    world.is_not_programmed("segment/alder/lan", &["attachment/alder/a1", "9000"]);
    // birch's changes are made.
    world.does(vec![
        lan("birch/lan"),
        attach("birch/b3", "edge2/p1"),
        attach("birch/b4", "edge1/p1"),
    ]);
    world.is_programmed(&["segment/birch/lan", "attachment/birch/b3", "attachment/birch/b4"]);
    world.hosts[2].send(&datagram(3, BROADCAST, "hello birch")).unwrap();
    assert!(comes(&world.hosts[3], "hello birch"));
    // And alder's go on as they were, also after a restart.
    world.greet();
    world.restart(0);
    world.restart(1);
    world.greet();
    world.is_not_programmed("attachment/alder/a1", &["MTU", "9000"]);
    world.is_programmed(&["segment/birch/lan", "attachment/birch/b3", "attachment/birch/b4"]);
    // A server that is taken away is away.
    world.hand_over_s2();
    world.lease_is("alder", "s2", LeaseState::Released);
    world.hosts[0].send(&datagram(1, BROADCAST, "to s2, who is gone")).unwrap();
    assert!(stays_away(&world.hosts[1], "to s2, who is gone"));
    world.hosts[1].send(&datagram(2, BROADCAST, "of s2, who is gone")).unwrap();
    assert!(stays_away(&world.hosts[0], "of s2, who is gone"));
    world.does(vec![attach("birch/b2", "edge2/p0")]);
    world.is_programmed(&["attachment/birch/b2"]);
    world.hosts[1].send(&datagram(2, BROADCAST, "now birch's")).unwrap();
    assert!(comes(&world.hosts[2], "now birch's") && stays_away(&world.hosts[0], "now birch's"));
    // It is made as soon as it can be.
    world.fabric.edges[0].netns.ip("link set p0 mtu 9000").unwrap();
    world.is_programmed(&["attachment/alder/a1", "segment/alder/lan"]);
}

#[test]
fn a_server_that_is_taken_away_is_away_whatever_its_node_leaves_out_and_after_a_restart() {
    let mut world = World::new();
    world.attach_alder();
    world.greet();
    let many: Vec<String> =
        (0..60_000).map(|it| format!("\"10.{}.{}.0/24\"", it / 256, it % 256)).collect();
    let guards = format!(r#"{{"prefixes":[{}]}}"#, many.join(","));
    let spec = |port: &str, encap: &str| {
        format!(r#"{{"segment":"lan","port":"{port}","encap":"{encap}","guards":{guards}}}"#)
    };
    // Whatever else of the same revision fails: a new attachment that has too much, and a port that
    // is not there.
    world.does(vec![put("port/edge2/p7", r#"{"role":"access"}"#)]);
    let tried = world.at(async |running| {
        let wish = vec![put("attachment/alder/huge", &spec("edge1/p0", "dot1q 9"))];
        running.tries(Actor::Owner, wish).await
    });
    let is_taken = tried.is_ok();
    world.fabric.edges[1].kill().unwrap();
    world.does(vec![Change::Transfer {
        server: "s2".parse().unwrap(),
        to: owned("birch", "round"),
    }]);
    world.fabric.edges[1].restart().unwrap();
    let tombstone: Key = "tombstone/edge2/encap/p0/untagged".parse().unwrap();
    world.at(async |running| {
        running.until("edge2 has detached it", |state| state.get(&tombstone).is_none()).await;
    });
    world.hosts[1].send(&datagram(2, BROADCAST, "of s2, who is gone")).unwrap();
    assert!(stays_away(&world.hosts[0], "of s2, who is gone"));
    // Where a quota does not refuse it, the node leaves it out alone.
    if is_taken {
        world.is_not_programmed("attachment/alder/huge", &["no room for its prefixes"]);
    }
    world.is_programmed(&["attachment/alder/a1"]);
    let trouble = |state: &sillon::fabric::State| {
        let port = state.get(&"port/edge2/p7".parse().unwrap());
        let condition = port.and_then(|port| port.conditions.get(&ConditionKind::Degraded));
        condition.is_some_and(|it| it.is && it.why.contains("no such interface"))
    };
    world.at(async |running| running.until("the port is told of", trouble).await);
}

/// A wish that a node can't hold is refused, also where the node was made for less than is asked of
/// it since; it is not found out when the node leaves it out.
#[test]
fn what_a_node_was_not_made_for_is_refused_with_what_to_change() {
    let world = World::new();
    world.attach_alder();
    let sold = r#"{"vnis":[[100,199]],"quota":{"prefixes":100000,"node":{"prefixes":100000}}}"#;
    let more = r#"{"vtep":["10.99.0.1","fd99::1"],"limits":{"attachments":10000}}"#;
    world.does(vec![put("operator/alder", sold), put("node/edge1", more)]);
    let many: Vec<String> =
        (0..40_000).map(|it| format!("\"10.{}.{}.0/24\"", it / 256, it % 256)).collect();
    let spec = format!(
        r#"{{"segment":"lan","port":"edge1/p0","encap":"dot1q 9","guards":{{"prefixes":[{}]}}}}"#,
        many.join(",")
    );
    let wish = vec![put("attachment/alder/huge", &spec)];
    let refused = world.at(async |running| running.tries(Actor::Owner, wish).await.unwrap_err());
    let SubmitError::Refused(refused) = refused else { panic!("{refused:?}") };
    assert_eq!(refused.rule, Rule::Room, "{refused}");
    let help = refused.help_for_owner.unwrap();
    for told in ["40001", "33792", "max_attachments = 4096", "10000 since", "`sillon node flush`"] {
        assert!(help.contains(told), "{told}: {help}");
    }
}

#[test]
fn an_interface_that_is_missing_at_a_cold_start_keeps_nothing_else_dark() {
    let mut world = World::new();
    for edge in 0..2 {
        world.fabric.edges[edge].stop().unwrap();
        world.fabric.edges[edge].flush().unwrap();
    }
    world.fabric.edges[0].netns.ip("link del p0").unwrap();
    for edge in 0..2 {
        world.fabric.edges[edge].restart().unwrap();
    }
    world.does(vec![
        lan("alder/lan"),
        attach("alder/a1", "edge1/p0"),
        attach("alder/a2", "edge2/p0"),
        lan("birch/lan"),
        attach("birch/b3", "edge2/p1"),
        attach("birch/b4", "edge1/p1"),
    ]);
    world.is_programmed(&[
        "segment/birch/lan",
        "attachment/birch/b3",
        "attachment/birch/b4",
        "attachment/alder/a2",
    ]);
    world.hosts[2].send(&datagram(3, BROADCAST, "hello birch")).unwrap();
    assert!(comes(&world.hosts[3], "hello birch"));
    world.is_not_programmed("attachment/alder/a1", &["edge1", "p0", "no such interface"]);
    world.is_not_programmed("segment/alder/lan", &["attachment/alder/a1", "no such interface"]);
    assert!(soon(|| world.fabric.edges[0].show("left-out").unwrap().len() == 1));
    world.hosts[0] = world.fabric.plug(0, "p0").unwrap();
    world.is_programmed(&["attachment/alder/a1", "segment/alder/lan"]);
    world.greet();
    // And if it goes, that is told.
    world.fabric.edges[0].netns.ip("link del p0").unwrap();
    world.is_not_programmed("attachment/alder/a1", &["no such interface"]);
    world.is_programmed(&["segment/birch/lan"]);
}
