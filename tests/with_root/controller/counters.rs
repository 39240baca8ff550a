//! What the attachments of real nodes count, at the controller.

use std::{
    thread,
    time::{Duration, Instant},
};

use sillon::{controller::counters::Counters, fabric::Key};
use sillon_rig::{Frame, frame::Macs};

use crate::{
    common::{comes, datagram, mac},
    controller::{
        nodes::World,
        site::{PATIENCE, attach, delete, owned, put},
    },
};

fn counters(world: &World, name: &str) -> Option<Counters> {
    world.at(async |running| {
        let state = running.controller.state();
        running.controller.counters().of(&owned("alder", name), &state)
    })
}

/// Waits until they are so.
fn until(world: &World, name: &str, is_so: impl Fn(&Counters) -> bool) -> Counters {
    let begun = Instant::now();
    loop {
        let now = counters(world, name);
        match now {
            Some(now) if is_so(&now) => return now,
            now => assert!(begun.elapsed() < PATIENCE, "not in time: {now:?}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_an_attachment_carries_and_drops_is_told_and_no_commit_is_made_for_it() {
    let mut world = World::new();
    world.attach_alder();
    world.greet();
    let first = until(&world, "a1", |now| now.in_frames > 0 && now.out_frames > 0);
    let revision = |world: &World| world.at(async |running| running.controller.state().revision());
    let before = revision(&world);
    for number in 0..10 {
        let text = format!("number {number}");
        world.hosts[0].send(&datagram(1, mac(2), &text)).unwrap();
        assert!(comes(&world.hosts[1], &text));
    }
    // From a group address, and to one that no bridge forwards.
    let from_group = Macs { from: [3, 0, 0, 0, 0, 1], to: mac(2) };
    let control = Macs { from: mac(1), to: [1, 0x80, 0xc2, 0, 0, 2] };
    for macs in [from_group, from_group, control] {
        world.hosts[0].send(&Frame::ethertype(macs, 0x88b5, b"dropped")).unwrap();
    }
    let dropped = |now: &Counters, reason: &str| now.dropped.get(reason).copied().unwrap_or(0);
    let now = until(&world, "a1", |now| {
        now.in_frames >= first.in_frames + 10 && dropped(now, "source-group") == 2
    });
    assert!(now.in_bytes >= first.in_bytes + 10 * 50 && now.at > first.at, "{first:?} {now:?}");
    assert!(dropped(&now, "link-local-control") >= 1, "{now:?}");
    until(&world, "a2", |other| other.out_frames >= 10);
    assert_eq!(revision(&world), before);

    // A new leader knows nothing, and is told all, also what has not changed since.
    world.kill();
    world.start();
    let again = until(&world, "a1", |again| again.in_frames >= now.in_frames);
    assert_eq!(again.dropped, now.dropped);

    // What is attached anew begins anew.
    world.does(vec![delete("attachment/alder/a1")]);
    assert_eq!(counters(&world, "a1"), None);
    world.at(async |running| {
        let tombstone: Key = "tombstone/edge1/encap/p0/untagged".parse().unwrap();
        running.until("edge1 has detached it", |state| state.get(&tombstone).is_none()).await;
    });
    world.does(vec![attach("alder/a1", "edge1/p0")]);
    let anew = until(&world, "a1", |_| true);
    assert!(anew.in_frames < now.in_frames && dropped(&anew, "source-group") == 0, "{anew:?}");
}

#[test]
fn what_a_profile_made_of_frames_and_how_many_addresses_there_are_is_told() {
    let world = World::new();
    world.attach_alder();
    world.greet();
    let plain = until(&world, "a1", |now| now.macs.learned == 1);
    assert_eq!((plain.in_colours, plain.out_colours, plain.macs.refused), (None, None, 0));
    let spec = r#"{"segment":"lan","port":"edge1/p0","encap":"untagged","ingress":"slow","guards":{"mac_limit":2}}"#;
    world.does(vec![
        put("profile/alder/slow", r#"{"cir":"1 Mbit/s"}"#),
        put("attachment/alder/a1", spec),
    ]);
    world.is_programmed(&["attachment/alder/a1"]);
    let large = "x".repeat(1400);
    // Twice what the bucket has, which is 64 KiB.
    for _ in 0..100 {
        world.hosts[0].send(&datagram(1, mac(2), &large)).unwrap();
    }
    for host in 20..24 {
        world.hosts[0].send(&datagram(host, mac(2), "who am I")).unwrap();
    }
    let now = until(&world, "a1", |now| {
        now.in_colours
            .is_some_and(|all| all.green.frames + all.yellow.frames + all.red.frames >= 100)
    });
    let colours = now.in_colours.unwrap();
    assert!(
        colours.green.frames >= 40
            && colours.red.frames >= 40
            && colours.red.bytes > 1000 * colours.red.frames,
        "{colours:?}"
    );
    assert!(now.dropped.values().any(|frames| *frames == colours.red.frames), "{now:?}");
    assert_eq!(now.out_colours, None, "it has no profile for what goes to it");
    let now = until(&world, "a1", |now| now.macs.refused > 0);
    assert_eq!(now.macs.learned, 2, "{now:?}");
}
