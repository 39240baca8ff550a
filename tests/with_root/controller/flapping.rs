//! A server whose link goes up and down all the time is nobody's burden but its own.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use sillon::fabric::ConditionKind;

use crate::controller::{
    nodes::World,
    site::{attach, lan},
};

/// How long it goes on.
const FLAPPING: Duration = Duration::from_secs(5);
/// As many flaps as it has to be, however busy the machine is.
const ENOUGH: u32 = 60;
/// What birch's change may take, beside other tests.
const PROMPT: Duration = Duration::from_secs(3);

#[test]
fn a_server_that_flaps_its_link_delays_nobody_and_its_last_state_arrives() {
    let world = World::new();
    world.attach_alder();
    let revision = || world.at(async |running| running.controller.state().revision().0);
    let down = |is| {
        world.at(async |running| {
            running.condition("port/edge1/p0", ConditionKind::Degraded, is).await;
        });
    };
    let (before, begun, is_over) = (revision(), Instant::now(), AtomicBool::new(false));
    let (flaps, took) = thread::scope(|scope| {
        let netns = &world.hosts[0].netns;
        let flapping = scope.spawn(|| {
            let mut flaps = 0;
            while !is_over.load(Ordering::Relaxed) || flaps < ENOUGH {
                for to in ["down", "up"] {
                    netns.ip(&format!("link set eth0 {to}")).unwrap();
                    thread::sleep(Duration::from_millis(7));
                }
                flaps += 1;
            }
            flaps
        });
        let end = Instant::now() + FLAPPING;
        thread::sleep(FLAPPING / 2);
        let asked = Instant::now();
        world.does(vec![lan("birch/lan"), attach("birch/b4", "edge1/p1")]);
        world.is_programmed(&["segment/birch/lan", "attachment/birch/b4"]);
        let took = asked.elapsed();
        thread::sleep(end.saturating_duration_since(Instant::now()));
        is_over.store(true, Ordering::Relaxed);
        (flapping.join().unwrap(), took)
    });
    let revisions = revision() - before;
    eprintln!("{flaps} flaps, {revisions} revisions, birch took {took:?}");
    assert!(took < PROMPT, "birch waited {took:?}");
    // Four at once, and then one each two seconds; a look at all each five; and birch's own.
    let seconds = begun.elapsed().as_secs();
    let most = 4 + seconds / 2 + seconds / 5 + 8;
    assert!(revisions <= most, "{revisions} revisions of {most} for {flaps} flaps");
    // Whatever it is in the end is known.
    down(false);
    world.hosts[0].netns.ip("link set eth0 down").unwrap();
    down(true);
    world.hosts[0].netns.ip("link set eth0 up").unwrap();
    down(false);
}
