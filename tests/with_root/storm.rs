//! Storm control: each kind of flooded frame has a limit of its own, at the attachment that it
//! comes in at, and nobody else feels it.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use sillon_rig::{Fabric, Node, NodeFile, Tag, Underlay, Wire, frame::BROADCAST};

use crate::common::{self, comes, datagram, fabric, mac, soon, stream};

const MULTICAST: [u8; 6] = [0x01, 0, 0x5e, 1, 2, 3];
const UNKNOWN: [u8; 6] = [2, 0, 0, 0, 0, 99];
/// The reasons and the destinations that they are for.
const KINDS: [(&str, [u8; 6]); 3] = [
    ("storm-broadcast", BROADCAST),
    ("storm-multicast", MULTICAST),
    ("storm-unknown-unicast", UNKNOWN),
];

/// A lan over untagged ports of one node; `storm` is of the attachment of `p0`, and others have
/// none.
fn lan(fabric: &Fabric, ports: &[&str], storm: Option<&str>) -> NodeFile {
    let file = fabric.file(0).segment("alder-lan", 100, "lan", &[]);
    ports.iter().fold(file, |file, port| {
        let file = file.port(port, "access").attach("alder-lan", port, "untagged");
        match storm {
            Some(storm) if *port == "p0" => file.key("storm", storm),
            Some(_) => file.key("storm", "\"off\""),
            None => file,
        }
    })
}

fn started(storm: Option<&str>) -> (Fabric, Vec<Wire>) {
    let mut fabric = fabric(Underlay::Direct);
    let ports = ["p0", "p1", "p2"];
    let wires = ports.map(|port| fabric.plug(0, port).unwrap()).into();
    let file = lan(&fabric, &ports, storm);
    fabric.edges[0].start(&file).unwrap();
    (fabric, wires)
}

fn dropped(node: &Node, reason: &str) -> u64 {
    node.dropped("p0 untagged", reason).unwrap()
}

/// Sends frames to one address; returns how many, once the node has seen them all.
fn send(node: &Node, wire: &Wire, to: [u8; 6], frames: u64) {
    let seen = || {
        let attachments: Vec<_> = node.show("ports").unwrap();
        let p0 = attachments.iter().find(|port| port["name"] == "p0").unwrap();
        p0["attachments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["traffic"]["in_frames"].as_u64().unwrap())
            .sum()
    };
    let before: u64 = seen();
    for _ in 0..frames {
        wire.send(&datagram(1, to, "a storm")).unwrap();
    }
    assert!(soon(|| seen() == before + frames));
}

/// How many frames of a storm have come.
fn heard(wire: &Wire) -> u64 {
    thread::sleep(common::SILENCE);
    wire.drain().unwrap().iter().filter(|frame| frame.contains(b"a storm")).count() as u64
}

#[test]
fn each_kind_has_a_limit_of_its_own_and_all_receivers_hear_the_same() {
    let (fabric, wires) = started(Some("{ broadcast = 40, multicast = 60, unknown = 80 }"));
    let node = &fabric.edges[0];
    for ((reason, to), limit) in KINDS.into_iter().zip([40, 60, 80]) {
        let start = Instant::now();
        send(node, &wires[0], to, 400);
        let most = limit + (limit as f64 * start.elapsed().as_secs_f64()) as u64 + 1;
        let (one, two) = (heard(&wires[1]), heard(&wires[2]));
        assert!((limit..=most).contains(&one), "{reason}: {one} of {limit}..={most}");
        assert_eq!(one, two, "{reason} is decided before anything is copied");
        assert_eq!(dropped(node, reason), 400 - one, "{reason}");
    }
    let guard =
        node.show("guards").unwrap().into_iter().find(|guard| guard["port"] == "p0").unwrap();
    for (kind, (reason, _)) in ["broadcast", "multicast", "unknown"].into_iter().zip(KINDS) {
        assert_eq!(guard["storm"][kind]["dropped"], dropped(node, reason), "{kind}");
    }
}

#[test]
fn over_time_as_many_frames_are_flooded_as_the_limit_says() {
    let (fabric, wires) = started(Some("{ broadcast = 500 }"));
    for attempt in 0..5 {
        // Full again.
        thread::sleep(Duration::from_millis(if attempt == 0 { 0 } else { 1100 }));
        let before = dropped(&fabric.edges[0], "storm-broadcast");
        let (start, mut last, mut pause, mut sent) =
            (Instant::now(), Instant::now(), Duration::ZERO, 0);
        while start.elapsed() < Duration::from_secs(4) {
            wires[0].send(&datagram(1, BROADCAST, "a storm")).unwrap();
            sent += 1;
            thread::sleep(Duration::from_micros(100));
            pause = pause.max(last.elapsed());
            last = Instant::now();
        }
        let took = start.elapsed().as_secs_f64();
        if pause > Duration::from_millis(500) {
            println!("the machine paused for {pause:?}: once more");
            continue;
        }
        let flooded = heard(&wires[1]);
        assert!(soon(|| dropped(&fabric.edges[0], "storm-broadcast") - before == sent - flooded));
        // A second's worth at the beginning, and then the rate.
        let ratio = (flooded as f64 - 500.0) / (500.0 * took);
        println!("{flooded} of {sent} flooded in {took} s: {ratio:.4} of the limit");
        return assert!((ratio - 1.0).abs() < 0.02, "{ratio}");
    }
    panic!("the machine is too busy to measure anything");
}

#[test]
fn what_is_known_is_no_storm_and_comes_through_one() {
    let (fabric, wires) = started(Some("{ broadcast = 1, multicast = 1, unknown = 1 }"));
    wires[1].send(&datagram(2, BROADCAST, "I am 2")).unwrap();
    assert!(comes(&wires[0], "I am 2"));
    for (_, to) in KINDS {
        send(&fabric.edges[0], &wires[0], to, 50);
    }
    let stream = stream(&wires[0], mac(2), &wires[1], || thread::sleep(Duration::from_millis(300)));
    assert!(stream.sent > 200 && stream.lost.is_empty(), "{stream:?}");
}

#[test]
fn without_a_limit_everything_is_flooded() {
    let (fabric, wires) =
        started(Some("{ broadcast = \"off\", multicast = \"off\", unknown = \"off\" }"));
    for (reason, to) in KINDS {
        // More than by default, if it were only that.
        send(&fabric.edges[0], &wires[0], to, 500);
        assert_eq!((heard(&wires[1]), dropped(&fabric.edges[0], reason)), (500, 0), "{reason}");
    }
}

#[test]
fn there_are_limits_where_none_are_given() {
    let (fabric, wires) = started(None);
    for guard in fabric.edges[0].show("guards").unwrap() {
        for kind in ["broadcast", "multicast", "unknown"] {
            assert_eq!(guard["storm"][kind]["limit"], 10_000);
        }
    }
    let start = Instant::now();
    for _ in 0..60_000 {
        wires[0].send(&datagram(1, BROADCAST, "a storm")).unwrap();
    }
    let most = 10_000.0 + 10_000.0 * start.elapsed().as_secs_f64() + 1.0;
    assert!(
        soon(|| dropped(&fabric.edges[0], "storm-broadcast") as f64 >= 60_000.0 - most),
        "at most {most} pass"
    );
}

#[test]
fn the_node_at_which_a_frame_comes_in_counts_it_and_no_other() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = [0, 1].map(|edge| fabric.plug(edge, "p0").unwrap());
    for (edge, (remote, storm)) in
        [("10.99.0.2", "\"off\""), ("10.99.0.1", "{ broadcast = 1 }")].iter().enumerate()
    {
        let file =
            fabric.file(edge).segment("alder-lan", 100, "lan", &[remote]).port("p0", "access");
        let file = file.attach("alder-lan", "p0", "untagged").key("storm", storm);
        fabric.edges[edge].start(&file).unwrap();
    }
    send(&fabric.edges[0], &wires[0], BROADCAST, 200);
    assert_eq!(heard(&wires[1]), 200);
    for _ in 0..50 {
        wires[1].send(&datagram(2, BROADCAST, "a storm")).unwrap();
    }
    assert!((1..=3).contains(&heard(&wires[0])), "the far edge's own attachment is limited");
}

#[test]
fn a_storm_costs_the_other_operator_on_the_port_nothing() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap());
    let file = fabric.file(0).port("p0", "access").port("p1", "access");
    let file = file.segment("alder-lan", 100, "lan", &[]).segment("birch-lan", 200, "lan", &[]);
    let limit = "{ broadcast = 100 }";
    let file = file.attach("alder-lan", "p0", "dot1q 1").key("storm", limit).attach(
        "alder-lan",
        "p1",
        "dot1q 1",
    );
    let file = file.attach("birch-lan", "p0", "untagged").attach("birch-lan", "p1", "untagged");
    fabric.edges[0].start(&file).unwrap();
    let stop = AtomicBool::new(false);
    let host = wires[0].share().unwrap();
    let stream = thread::scope(|scope| {
        let storm = scope.spawn(|| {
            while !stop.load(Relaxed) {
                host.send(&datagram(9, BROADCAST, "a storm").tagged(&[Tag::c(1)])).unwrap();
            }
        });
        // Broadcasts, too: birch's own limit is another.
        let stream =
            stream(&wires[0], BROADCAST, &wires[1], || thread::sleep(Duration::from_millis(300)));
        stop.store(true, Relaxed);
        storm.join().unwrap();
        stream
    });
    assert!(stream.sent > 200 && stream.lost.is_empty(), "{stream:?}");
    assert!(fabric.edges[0].dropped("p0 dot1q 1", "storm-broadcast").unwrap() > 1000);
    assert_eq!(fabric.edges[0].dropped("p0 untagged", "storm-broadcast").unwrap(), 0);
}
