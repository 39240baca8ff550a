//! Three controllers on three members of etcd, without chance.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::json;

use crate::chaos::{
    ask::{Answer, Asker, If},
    in_hub,
    judge::{read, unrest},
    load,
    world::{PATIENCE, World, soon},
};

/// How soon the survivors have to go on.
const SOON: Duration = Duration::from_secs(5);

/// A world whose nodes follow it, with two of alder's servers in a segment.
fn world() -> World {
    let mut world = World::new();
    in_hub(world.cluster.hub(), async || {
        load::build(&world).await;
        let alder = Asker::new(&world, "operator-alder");
        for (name, port) in [("e1", "edge1/p0"), ("e2", "edge2/p0")] {
            let spec = json!({ "segment": "s0", "port": port, "encap": "untagged" });
            let path = format!("attachments/alder/{name}");
            does(&alder, 0, Method::PUT, &path, spec).await;
        }
    });
    world.fabric.edges.iter_mut().for_each(|edge| edge.restart().unwrap());
    rests(&world, PATIENCE);
    world
}

async fn does(
    asker: &Asker,
    controller: usize,
    method: Method,
    path: &str,
    spec: serde_json::Value,
) {
    let body = Some(json!({ "spec": spec }));
    let answer = asker.ask(controller, (method, path), &If::Any, body).await;
    assert!(matches!(answer, Answer::Done { .. }), "{path}: {answer:?}");
}

/// Waits until the nodes have all that was asked for.
fn rests(world: &World, patience: Duration) {
    let mut left = Vec::new();
    let is_at_rest = || {
        let endpoints = world.cluster.endpoints();
        left = unrest(&in_hub(world.cluster.hub(), async || read(endpoints).await).state);
        left.is_empty()
    };
    assert!(soon(patience, is_at_rest), "not at rest after {patience:?}: {left:#?}");
}

/// Who has the latest term, of those that say they lead.
fn leader(world: &World) -> (usize, u64) {
    let of = |index: usize| world.controllers[index].terms().last().map(|term| (*term, index));
    let (term, index) = (0..3).filter_map(of).max().unwrap();
    (index, term)
}

/// Waits until another one leads, and says which.
fn successor(world: &World, term: u64) -> usize {
    assert!(soon(PATIENCE, || leader(world).1 > term), "nobody else leads");
    leader(world).0
}

/// Attaches alder's two servers at a controller under one more tag, and no longer under the one
/// before.
fn tag(world: &World, controller: usize, vid: usize) {
    in_hub(world.cluster.hub(), async || {
        let alder = Asker::new(world, "operator-alder");
        for (name, port) in [("x1", "edge1/p0"), ("x2", "edge2/p0")] {
            let spec = json!({ "segment": "s0", "port": port, "encap": format!("dot1q {vid}") });
            does(&alder, controller, Method::PUT, &format!("attachments/alder/{name}"), spec).await;
        }
    });
}

/// Whether an edge has that tag.
fn has(world: &World, edge: usize, vid: usize) -> bool {
    let all = world.fabric.edges[edge].show("ports").unwrap();
    all.iter().any(|port| port.to_string().contains(&format!("dot1q {vid}")))
}

/// Whether both have it in time.
fn all_have(world: &World, vid: usize) -> bool {
    soon(PATIENCE, || has(world, 0, vid) && has(world, 1, vid))
}

#[test]
fn any_controller_serves_and_when_the_leader_is_killed_another_goes_on_at_once() {
    let mut world = world();
    for controller in 0..3 {
        tag(&world, controller, 2000 + controller);
        assert!(all_have(&world, 2000 + controller), "of controller {controller}");
    }
    let (dead, term) = leader(&world);
    world.controllers[dead].kill();
    let killed = Instant::now();
    // Whoever is left takes changes at once, and the nodes get them from the next leader.
    tag(&world, (dead + 1) % 3, 2100);
    println!("a change was taken {:.2?} after the leader was killed", killed.elapsed());
    assert!(killed.elapsed() < SOON);
    let next = successor(&world, term);
    println!("another led {:.2?} after the leader was killed", killed.elapsed());
    assert!(killed.elapsed() < SOON, "{:?}", killed.elapsed());
    assert!(all_have(&world, 2100), "the nodes do not get it");
    // They ask again after pauses that grow, so that a thousand of them do not come all at once.
    println!("the nodes had it {:.2?} after the leader was killed", killed.elapsed());
    assert_ne!(next, dead);
    // It comes back, and serves as any other.
    world.controllers[dead].start();
    let is_back = || {
        in_hub(world.cluster.hub(), async || {
            let owner = Asker::new(&world, "owner");
            matches!(owner.get(dead, "nodes").await, Answer::Done { .. })
        })
    };
    assert!(soon(PATIENCE, is_back));
    tag(&world, dead, 2200);
    rests(&world, PATIENCE);
    assert_eq!(leader(&world).0, next, "who comes back does not take the leadership away");
}

#[test]
fn a_leader_that_was_paused_wakes_up_and_neither_writes_nor_serves_as_one() {
    let world = world();
    let (old, term) = leader(&world);
    world.controllers[old].signal(Signal::SIGSTOP);
    let paused = Instant::now();
    let next = successor(&world, term);
    println!("another leads {:.2?} after the leader was paused", paused.elapsed());
    assert!(paused.elapsed() < SOON, "{:?}", paused.elapsed());
    // The nodes come to the new one although nobody has closed their streams.
    tag(&world, next, 3000);
    assert!(all_have(&world, 3000), "the nodes do not get it");
    println!("the nodes had the next change {:.2?} after the leader was paused", paused.elapsed());
    rests(&world, PATIENCE);
    let before = in_hub(world.cluster.hub(), async || read(world.cluster.endpoints()).await);
    world.controllers[old].signal(Signal::SIGCONT);
    // It takes requests as any other, knows all that the others wrote, and is no leader.
    tag(&world, old, 3001);
    assert!(all_have(&world, 3001), "the nodes do not get it");
    rests(&world, PATIENCE);
    let after = in_hub(world.cluster.hub(), async || read(world.cluster.endpoints()).await);
    after.is_one_history();
    after.is_audited(&world);
    assert!(after.log.starts_with(&before.log), "what was there has changed");
    assert_eq!(leader(&world).0, next);
    assert!(
        world.controllers[old].log().contains("no longer leads"),
        "{}",
        world.controllers[old].log()
    );
}
