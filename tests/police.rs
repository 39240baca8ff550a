//! Bandwidth profiles on the real programs: what is admitted is what the profile says, in both directions, on one CPU and on two.
//!
//! Offered is far more than fits, by running the node's own program on copies of a frame (`sillon_rig::Runner`); admitted is what the
//! programs count as green and yellow. What is asserted on is measured in the run: bytes, and the time that they took.

#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

mod common;

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use common::{comes, datagram, fabric, mac, soon, stream};
use serde_json::Value;
use sillon_rig::{
    Fabric, Frame, Node, NodeFile, Runner, Tag, Underlay, Wire,
    frame::{BROADCAST, Macs},
};

/// How long a rate is measured.
const LONG: Duration = Duration::from_secs(2);
/// How far from the configured rate the admitted one may be.
const TOLERANCE: f64 = 0.02;
/// XDP_DROP and XDP_REDIRECT.
const DROPPED: u32 = 1;
const REDIRECTED: u32 = 4;

/// What `show guards` says of a direction of the attachment `port encap`.
fn colours(node: &Node, port: &str, encap: &str, direction: &str) -> Value {
    let guards = node.show("guards").unwrap();
    let guard = guards.iter().find(|guard| guard["port"] == port && guard["encap"] == encap).unwrap();
    guard[direction].clone()
}

fn count(colours: &Value, colour: &str, of: &str) -> u64 {
    colours[colour][of].as_u64().unwrap()
}

fn bytes(colours: &Value, colour: &str) -> u64 {
    count(colours, colour, "bytes")
}

/// A frame of exactly so many bytes from host 1 to host 2.
fn frame(bytes: usize) -> Vec<u8> {
    Frame::ethertype(Macs { from: mac(1), to: mac(2) }, 0x0800, &vec![0; bytes - 14]).0
}

/// A profile with one bucket of so many bit/s and bytes.
fn committed(file: NodeFile, name: &str, cir: u64, cbs: u64) -> NodeFile {
    file.profile(name).key("cir", format_args!("\"{cir} bit/s\"")).key("cbs", format_args!("\"{cbs} B\""))
}

/// A line over two untagged ports of one node; `keys` are of the attachment of the first.
fn line(fabric: &Fabric, profiles: impl Fn(NodeFile) -> NodeFile, keys: &[(&str, &str)]) -> NodeFile {
    let file = profiles(fabric.file(0).port("p0", "access").port("p1", "access"));
    let file = file.segment("alder-line", 100, "line", &[]).attach("alder-line", "p1", "untagged");
    let file = file.attach("alder-line", "p0", "untagged");
    keys.iter().fold(file, |file, (key, value)| file.key(key, value))
}

/// Starts the node, or has it change.
fn apply(fabric: &mut Fabric, file: &NodeFile) {
    let node = &mut fabric.edges[0];
    if node.agent().is_none() { node.start(file).unwrap() } else { drop(node.reload(file).unwrap()) }
}

/// What was offered, in runs of some frames each.
#[derive(Clone, Copy)]
struct Offered {
    frames: u64,
    /// When the first run began and ended.
    first: (Instant, Instant),
    /// When the last run began and ended.
    last: (Instant, Instant),
    /// The longest time between the ends of two runs: in it, the machine may have done something else.
    pause: Duration,
}

/// Offers copies of a frame on one CPU for `how_long`.
fn offer(runner: &Runner, cpu: usize, frame: &[u8], how_long: Duration) -> Offered {
    const COPIES: u32 = 2000;
    let offer = |run: &dyn Fn(&[u8], u32) -> anyhow::Result<u32>| {
        let run = || {
            let start = Instant::now();
            run(frame, COPIES).map(|_| (start, Instant::now()))
        };
        let first = run()?;
        let (mut frames, mut pause, mut last) = (u64::from(COPIES), first.1 - first.0, first);
        while first.0.elapsed() < how_long {
            let before = last.1;
            last = run()?;
            frames += u64::from(COPIES);
            pause = pause.max(last.1 - before);
        }
        Ok(Offered { frames, first, last, pause })
    };
    runner.on_cpu(cpu, offer).unwrap()
}

/// Whether `admitted` bytes are what a full bucket and the rate make in the time: at most all of it, at least that in which it
/// is certain that frames were offered.
fn assert_rate(admitted: u64, (bits, burst): (u64, u64), offered: &Offered, what: &str) {
    let ratio = |time: Duration| (admitted as f64 - burst as f64) / (bits as f64 / 8.0 * time.as_secs_f64());
    let most = ratio(offered.last.0.saturating_duration_since(offered.first.1));
    let least = ratio(offered.last.1 - offered.first.0);
    println!("{what}: {least:.4} to {most:.4} of {bits} bit/s admitted, in {} frames", offered.frames);
    assert!(least < 1.0 + TOLERANCE && most > 1.0 - TOLERANCE, "{what}: {least} to {most} of {bits} bit/s");
}

/// Measures with a full bucket, until the machine has let us offer without a pause in which a bucket of 100 ms would have run over.
fn undisturbed(mut measure: impl FnMut() -> (Duration, Box<dyn FnOnce()>)) {
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(150));
        let (pause, check) = measure();
        if pause < Duration::from_millis(90) {
            return check();
        }
        println!("the machine paused for {pause:?}: once more");
    }
    panic!("the machine is too busy to measure anything");
}

#[test]
fn the_admitted_rate_is_the_configured_one() {
    let mut fabric = fabric(Underlay::Direct);
    let _wires = ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap());
    let rates = [
        (1_000_000, 60),
        (1_000_000, 1514),
        (10_000_000, 300),
        (100_000_000, 60),
        (100_000_000, 1514),
        (1_000_000_000, 1514),
        (10_000_000_000, 1514),
    ];
    for (bits, len) in rates {
        // 100 ms.
        let burst = bits / 80;
        let file = line(&fabric, |file| committed(file, "it", bits, burst), &[("ingress", "\"it\"")]);
        apply(&mut fabric, &file);
        let runner = fabric.edges[0].runner("p0").unwrap();
        undisturbed(|| {
            let green = || bytes(&colours(&fabric.edges[0], "p0", "untagged", "ingress"), "green");
            let before = green();
            let offered = offer(&runner, 0, &frame(len), LONG);
            let admitted = green() - before;
            let check = move || {
                assert!(offered.frames * len as u64 > admitted, "not enough was offered");
                assert_rate(admitted, (bits, burst), &offered, &format!("{len} bytes"));
            };
            (offered.pause, Box::new(check))
        });
    }
}

/// Two CPUs at once on one bucket; returns what both offered together.
fn on_both_cpus(runners: [&Runner; 2], frames: [&[u8]; 2]) -> Offered {
    let [one, two] = thread::scope(|scope| {
        let threads = [0, 1].map(|cpu| scope.spawn(move || offer(runners[cpu], cpu, frames[cpu], LONG)));
        threads.map(|thread| thread.join().unwrap())
    });
    assert!(one.frames.min(two.frames) > 100_000, "both took part");
    Offered {
        frames: one.frames + two.frames,
        first: (one.first.0.min(two.first.0), one.first.1.min(two.first.1)),
        last: (one.last.0.max(two.last.0), one.last.1.max(two.last.1)),
        // One of them is enough to keep the bucket empty.
        pause: one.pause.min(two.pause),
    }
}

#[test]
fn two_cpus_on_one_bucket_admit_what_one_would() {
    let mut fabric = fabric(Underlay::Direct);
    let _wires = ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap());
    // Small frames and a burst of 2 million of them: the CPUs meet at the bucket all the time, and each charge that got lost is a frame
    // too many. Then as fast as large frames go (the bucket that was so deep is full for a rate so much higher).
    for (bits, burst, len) in [(100_000_000, 125_000_000, 60), (10_000_000_000, 125_000_000, 1514)] {
        let file = line(&fabric, |file| committed(file, "it", bits, burst), &[("ingress", "\"it\"")]);
        apply(&mut fabric, &file);
        let runner = fabric.edges[0].runner("p0").unwrap();
        undisturbed(|| {
            let before = colours(&fabric.edges[0], "p0", "untagged", "ingress");
            let offered = on_both_cpus([&runner; 2], [&frame(len); 2]);
            let after = colours(&fabric.edges[0], "p0", "untagged", "ingress");
            let admitted = bytes(&after, "green") - bytes(&before, "green");
            let seen: u64 = ["green", "yellow", "red"]
                .map(|colour| count(&after, colour, "frames") - count(&before, colour, "frames"))
                .into_iter()
                .sum();
            let check = move || {
                assert_eq!(seen, offered.frames, "each frame has a colour");
                assert_rate(admitted, (bits, burst), &offered, &format!("two CPUs, {len} bytes"));
            };
            (offered.pause, Box::new(check))
        });
    }
}

#[test]
fn a_small_burst_grows_all_the_time() {
    let mut fabric = fabric(Underlay::Direct);
    let _wires = plugged(&fabric);
    // 64 KiB take half a millisecond at this rate: a clock that ticks every 4 ms would fill it once or twice in a run of 2 ms.
    let (bits, burst) = (1_000_000_000, 65_536);
    let file = line(&fabric, |file| committed(file, "it", bits, burst), &[("ingress", "\"it\"")]);
    fabric.edges[0].start(&file).unwrap();
    let runner = fabric.edges[0].runner("p0").unwrap();
    let green = || bytes(&colours(&fabric.edges[0], "p0", "untagged", "ingress"), "green");
    // What grows while the machine does something else is lost: the best of many short runs.
    let ratios = (0..50).map(|_| {
        let before = green();
        let start_and_end = |run: &dyn Fn(&[u8], u32) -> anyhow::Result<u32>| {
            let start = Instant::now();
            run(&frame(1514), 20_000)?;
            Ok(start.elapsed())
        };
        let took = runner.on_cpu(0, start_and_end).unwrap();
        (green() - before) as f64 / (burst as f64 + bits as f64 / 8.0 * took.as_secs_f64())
    });
    let best = ratios.fold(0.0, f64::max);
    println!("{best:.4} of {bits} bit/s with a burst of {burst} bytes");
    assert!(best > 0.7 && best < 1.0 + TOLERANCE, "{best}");
}

#[test]
fn two_ports_on_two_cpus_share_the_bucket_of_the_port_that_they_send_to() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = ["p0", "p1", "p2"].map(|port| fabric.plug(0, port).unwrap());
    let (bits, burst) = (500_000_000, 6_250_000);
    let mut file = committed(fabric.file(0), "it", bits, burst).segment("alder-lan", 100, "lan", &[]);
    for port in ["p0", "p1", "p2"] {
        file = file.port(port, "access").attach("alder-lan", port, "untagged");
    }
    fabric.edges[0].start(&file.key("egress", "\"it\"")).unwrap();
    wires[2].send(&datagram(2, BROADCAST, "I am 2")).unwrap();
    assert!(comes(&wires[0], "I am 2"));
    let runners = ["p0", "p1"].map(|port| fabric.edges[0].runner(port).unwrap());
    let frames =
        [1, 3].map(|host| Frame::ethertype(Macs { from: mac(host), to: mac(2) }, 0x0800, &[0; 500]).0);
    undisturbed(|| {
        let green = || bytes(&colours(&fabric.edges[0], "p2", "untagged", "egress"), "green");
        let before = green();
        let offered = on_both_cpus([&runners[0], &runners[1]], [&frames[0], &frames[1]]);
        let admitted = green() - before;
        let check = move || assert_rate(admitted, (bits, burst), &offered, "egress from two ports");
        (offered.pause, Box::new(check))
    });
    assert!(fabric.edges[0].dropped("p0 untagged", "policed-egress").unwrap() > 0);
    assert!(fabric.edges[0].dropped("p1 untagged", "policed-egress").unwrap() > 0);
}

#[test]
fn green_yellow_and_red_add_up() {
    let mut fabric = fabric(Underlay::Direct);
    let _wires = ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap());
    let both = |file: NodeFile| {
        let file = committed(file, "it", 20_000_000, 250_000);
        file.key("eir", "\"30 Mbit/s\"").key("ebs", "\"375 kB\"")
    };
    let file = line(&fabric, both, &[("ingress", "\"it\"")]);
    fabric.edges[0].start(&file).unwrap();
    let runner = fabric.edges[0].runner("p0").unwrap();
    undisturbed(|| {
        let node = &fabric.edges[0];
        let before = colours(node, "p0", "untagged", "ingress");
        let dropped = node.dropped("p0 untagged", "policed-ingress").unwrap();
        let offered = offer(&runner, 1, &frame(700), LONG);
        let after = colours(node, "p0", "untagged", "ingress");
        let dropped = node.dropped("p0 untagged", "policed-ingress").unwrap() - dropped;
        let check = move || {
            let [green, yellow, red] = ["green", "yellow", "red"].map(|colour| {
                let frames = count(&after, colour, "frames") - count(&before, colour, "frames");
                assert_eq!(bytes(&after, colour) - bytes(&before, colour), 700 * frames);
                frames
            });
            assert_eq!(green + yellow + red, offered.frames);
            assert_eq!(dropped, red);
            assert_rate(700 * green, (20_000_000, 250_000), &offered, "green");
            assert_rate(700 * yellow, (30_000_000, 375_000), &offered, "yellow");
        };
        (offered.pause, Box::new(check))
    });
}

/// Whether a frame passes now.
fn passes(runner: &Runner, frame: &[u8]) -> bool {
    match runner.on_cpu(0, |run| run(frame, 1)).unwrap() {
        REDIRECTED => true,
        DROPPED => false,
        other => panic!("XDP action {other}"),
    }
}

#[test]
fn no_kind_of_frame_gets_more_through_than_another() {
    let mut fabric = fabric(Underlay::Direct);
    let _wires = ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap());
    // One frame of 60 bytes takes 7.5 ms.
    let (bits, burst) = (64_000, 6000);
    let file = line(&fabric, |file| committed(file, "it", bits, burst), &[("ingress", "\"it\"")]);
    fabric.edges[0].start(&file).unwrap();
    let runner = fabric.edges[0].runner("p0").unwrap();
    let macs = Macs { from: mac(1), to: mac(2) };
    let ipv4 = |fragment: [u8; 2]| {
        let header = [0x45, 0, 0, 40, 0, 1, fragment[0], fragment[1], 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        Frame::ethertype(macs, 0x0800, &[&header[..], &[0; 20]].concat()).0
    };
    let ipv6 = [&[0x60, 0, 0, 0, 0, 8, 44, 64][..], &[0; 32], &[17, 0, 0, 9, 0, 0, 0, 1]].concat();
    let kinds = [
        ("an Ethernet header and nothing else", Frame::ethertype(macs, 0x0800, &[]).0, 60),
        ("less than Ethernet's minimum", frame(30), 60),
        ("the minimum", frame(60), 60),
        ("the first fragment", ipv4([0x20, 0]), 60),
        ("another fragment", ipv4([0x20, 5]), 60),
        ("the last fragment", ipv4([0, 10]), 60),
        ("an IPv6 fragment", Frame::ethertype(macs, 0x86dd, &ipv6).0, 62),
        ("a priority tag", Frame(frame(60)).tagged(&[Tag::c(0)]).0, 64),
        ("no IP at all", Frame::ethertype(macs, 0x88b6, &[0; 100]).0, 114),
        ("a broadcast", Frame::ethertype(Macs { to: BROADCAST, ..macs }, 0x0800, &[0; 46]).0, 60),
    ];
    for (kind, frame, charge) in kinds {
        // Emptied to less than a frame; what has grown by the time that all are sent passes, and not a byte more.
        while passes(&runner, &Frame::ethertype(macs, 0x0800, &[0; 46]).0) {}
        let start = Instant::now();
        let before = colours(&fabric.edges[0], "p0", "untagged", "ingress");
        let passed = runner
            .on_cpu(0, |run| (0..500).map(|_| run(&frame, 1)).collect::<anyhow::Result<Vec<_>>>())
            .unwrap()
            .into_iter()
            .filter(|action| *action == REDIRECTED)
            .count() as u64;
        let after = colours(&fabric.edges[0], "p0", "untagged", "ingress");
        let grown = (bits as f64 / 8.0 * start.elapsed().as_secs_f64()) as u64 + 60;
        assert!(passed * charge <= grown, "{kind}: {passed} passed, {grown} bytes have grown");
        let of = |colour| bytes(&after, colour) - bytes(&before, colour);
        assert_eq!(of("green") + of("red"), 500 * charge, "{kind} is charged in full");
        assert!(of("red") > 0, "{kind}");
    }
}

#[test]
fn each_copy_of_a_flood_is_policed_where_it_leaves() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = ["p0", "p1", "p2"].map(|port| fabric.plug(0, port).unwrap());
    let file = committed(fabric.file(0), "slow", 64_000, 4600).segment("alder-lan", 100, "lan", &[]);
    let file = ["p0", "p1", "p2"].iter().fold(file, |file, port| file.port(port, "access"));
    let file = file.attach("alder-lan", "p0", "untagged").attach("alder-lan", "p1", "untagged");
    let file = file.attach("alder-lan", "p2", "dot1q 7").key("egress", "\"slow\"");
    fabric.edges[0].start(&file).unwrap();
    let start = Instant::now();
    // 1500 bytes on the wire, and 1504 with the tag of p2.
    for number in 0..50 {
        let word = format!("copy {number:02}") + &"x".repeat(1500 - 42 - 7);
        wires[0].send(&datagram(1, BROADCAST, &word)).unwrap();
        assert!(comes(&wires[1], &word[..7]), "p1 has no profile, and hears all");
    }
    let node = &fabric.edges[0];
    let all = || {
        let egress = colours(node, "p2", "dot1q 7", "egress");
        ["green", "yellow", "red"].map(|colour| (count(&egress, colour, "frames"), bytes(&egress, colour)))
    };
    assert!(soon(|| all().iter().map(|(frames, _)| frames).sum::<u64>() == 50));
    let [green, yellow, red] = all();
    let most = 4600 + (64_000.0 / 8.0 * start.elapsed().as_secs_f64()) as u64;
    assert!(green.0 >= 3 && green.1 <= most, "{green:?} of {most} bytes");
    assert_eq!((green.1, yellow.0, red.1), (1504 * green.0, 0, 1504 * red.0), "the tag counts");
    assert!(soon(|| node.dropped("p0 untagged", "policed-egress").unwrap() == red.0));
    let heard = wires[2].drain().unwrap().iter().filter(|frame| frame.contains(b"copy ")).count() as u64;
    assert_eq!(heard, green.0);
}

#[test]
fn what_comes_out_of_a_tunnel_is_policed_where_it_leaves_alone() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = [0, 1].map(|edge| {
        let remote = ["10.99.0.2", "10.99.0.1"][edge];
        let file = fabric.file(edge).port("p0", "access");
        let file = committed(file, "slow", 64_000, 2000).segment("alder-line", 100, "line", &[remote]);
        // What the far host would send is limited, and nothing else.
        let file = file.attach("alder-line", "p0", "untagged").key("ingress", "\"slow\"");
        let wire = fabric.plug(edge, "p0").unwrap();
        (wire, if edge == 0 { file.key("egress", "\"slow\"") } else { file })
    });
    let [(near, near_file), (far, far_file)] = wires;
    fabric.edges[0].start(&near_file).unwrap();
    fabric.edges[1].start(&far_file).unwrap();
    let long = |word: &str| word.to_owned() + &"x".repeat(1000);
    near.send(&datagram(1, mac(2), &long("one "))).unwrap();
    assert!(comes(&far, "one "), "the far edge does not count it once more");
    assert_eq!(count(&colours(&fabric.edges[1], "p0", "untagged", "ingress"), "green", "frames"), 0);
    far.send(&datagram(2, mac(1), &long("two "))).unwrap();
    assert!(comes(&near, "two "));
    assert_eq!(count(&colours(&fabric.edges[0], "p0", "untagged", "egress"), "green", "frames"), 1);
    for _ in 0..5 {
        near.send(&datagram(1, mac(2), &long("more "))).unwrap();
    }
    assert!(soon(|| fabric.edges[0].dropped("p0 untagged", "policed-ingress").unwrap() >= 3));
}

/// alder and birch share a port: lines from `p0` to `p1`, `dot1q 1` and `dot1q 2`.
fn shared(fabric: &Fabric, alder: (u64, u64), birch: (u64, u64)) -> NodeFile {
    let file = fabric.file(0).port("p0", "access").port("p1", "access");
    let file = committed(committed(file, "alders", alder.0, alder.1), "birchs", birch.0, birch.1);
    let file = file.segment("alder-line", 100, "line", &[]).segment("birch-line", 200, "line", &[]);
    let file = file.attach("alder-line", "p1", "dot1q 1").attach("birch-line", "p1", "untagged");
    let file = file.attach("alder-line", "p0", "dot1q 1").key("ingress", "\"alders\"");
    file.attach("birch-line", "p0", "untagged").key("ingress", "\"birchs\"")
}

fn plugged(fabric: &Fabric) -> [Wire; 2] {
    ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap())
}

#[test]
fn who_sends_too_much_costs_the_other_operator_on_the_port_nothing() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = plugged(&fabric);
    let file = shared(&fabric, (1_000_000, 1600), (100_000_000, 100_000));
    fabric.edges[0].start(&file).unwrap();
    let runner = fabric.edges[0].runner("p0").unwrap();
    let alders = Frame(frame(1000)).tagged(&[Tag::c(1)]).0;
    let stop = AtomicBool::new(false);
    let stream = thread::scope(|scope| {
        let storm = scope.spawn(|| {
            while !stop.load(Relaxed) {
                offer(&runner, 1, &alders, Duration::from_millis(20));
            }
        });
        let stream = stream(&wires[0], mac(2), &wires[1], || thread::sleep(Duration::from_millis(500)));
        stop.store(true, Relaxed);
        storm.join().unwrap();
        stream
    });
    assert!(stream.sent > 500 && stream.lost.is_empty(), "{stream:?}");
    assert!(fabric.edges[0].dropped("p0 dot1q 1", "policed-ingress").unwrap() > 10_000);
    assert_eq!(count(&colours(&fabric.edges[0], "p0", "untagged", "ingress"), "red", "frames"), 0);
}

#[test]
fn a_reload_changes_the_profile_that_changed_and_refills_no_other_bucket() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = plugged(&fabric);
    // What alder has takes 8 s to grow; birch's never runs out.
    let (alder, birch) = ((64_000, 64_000), (400_000_000, 5_000_000));
    fabric.edges[0].start(&shared(&fabric, alder, birch)).unwrap();
    let runner = fabric.edges[0].runner("p0").unwrap();
    let alders = Frame(frame(1000)).tagged(&[Tag::c(1)]).0;
    let green = |fabric: &Fabric| bytes(&colours(&fabric.edges[0], "p0", "dot1q 1", "ingress"), "green");
    let start = Instant::now();
    offer(&runner, 0, &alders, Duration::from_millis(5));
    assert!(green(&fabric) >= 63_000);
    let stream = stream(&wires[0], mac(2), &wires[1], || {
        for bits in [300_000_000, 200_000_000, 100_000_000] {
            fabric.edges[0].reload(&shared(&fabric, alder, (bits, 5_000_000))).unwrap();
            offer(&runner, 0, &alders, Duration::from_millis(5));
        }
    });
    assert!(stream.lost.is_empty() && stream.doubled == 0, "{stream:?}");
    let most = 64_000 + (8000.0 * start.elapsed().as_secs_f64()) as u64;
    assert!(green(&fabric) <= most, "alder's bucket was refilled: {} of {most} bytes", green(&fabric));
    // A profile that is faster or slower than before holds at once, whatever the bucket was.
    for (bits, burst) in [(80_000_000, 100_000), (8_000_000, 10_000), (80_000_000, 100_000)] {
        fabric.edges[0].reload(&shared(&fabric, (bits, burst), birch)).unwrap();
        let (before, start) = (green(&fabric), Instant::now());
        offer(&runner, 0, &alders, Duration::from_millis(500));
        let (admitted, grown) = (green(&fabric) - before, bits as f64 / 8.0 * start.elapsed().as_secs_f64());
        // The machine may be busy for longer than the bucket takes to fill: a tenth is enough to show that it serves.
        let (least, most) = (bits / 8 / 20, burst as f64 + grown);
        assert!(admitted >= least && admitted as f64 <= most, "{least} <= {admitted} <= {most}");
    }
}

#[test]
fn an_id_that_is_used_again_has_no_tokens_nor_counts_of_before() {
    let mut fabric = fabric(Underlay::Direct);
    let _wires = plugged(&fabric);
    let file = |operator: &str, encap: &str| {
        let segment = format!("{operator}-line");
        let file = committed(fabric.file(0), "it", 64_000, 64_000).port("p0", "access").port("p1", "access");
        let file = file.segment(&segment, 100, "line", &[]).attach(&segment, "p0", encap);
        file.key("ingress", "\"it\"").attach(&segment, "p1", "untagged")
    };
    let nobody = fabric.file(0).port("p0", "access").port("p1", "access");
    let (alder, birch) = (file("alder", "untagged"), file("birch", "dot1q 5"));
    fabric.edges[0].start(&alder).unwrap();
    let node = &fabric.edges[0];
    let runner = node.runner("p0").unwrap();
    offer(&runner, 0, &frame(1000), Duration::from_millis(5));
    assert!(node.dropped("p0 untagged", "policed-ingress").unwrap() > 0, "alder has used it all");
    node.reload(&nobody).unwrap();
    node.reload(&birch).unwrap();
    let ingress = colours(node, "p0", "dot1q 5", "ingress");
    for colour in ["green", "yellow", "red"] {
        assert_eq!(count(&ingress, colour, "frames"), 0, "{colour}");
    }
    assert_eq!(node.dropped("p0 dot1q 5", "policed-ingress").unwrap(), 0);
    let tagged = Frame(frame(1000)).tagged(&[Tag::c(5)]).0;
    let runner = node.runner("p0").unwrap();
    // On the way out the tag goes, so that a copy is not what it was.
    let passed = (0..63).filter(|_| passes(&runner, &tagged)).count();
    assert_eq!(passed, 63, "birch has the whole burst");
}

#[test]
fn profiles_are_shown_as_they_were_written() {
    let mut fabric = fabric(Underlay::Direct);
    let _wires = plugged(&fabric);
    let profiles = |file: NodeFile| {
        let file = file.profile("gold").key("cir", "\"1.5 Gbit/s\"").key("eir", "\"400 Gbit/s\"");
        file.profile("best-effort").key("eir", "\"100 Mbit/s\"").key("ebs", "\"2 MB\"")
    };
    let file = line(&fabric, profiles, &[("ingress", "\"gold\""), ("egress", "\"best-effort\"")]);
    fabric.edges[0].start(&file).unwrap();
    let rates = |direction| {
        let profile = colours(&fabric.edges[0], "p0", "untagged", direction);
        ["cir", "cbs", "eir", "ebs"].map(|key| profile[key].as_u64().unwrap())
    };
    // 10 ms at the rate, where no burst is given.
    assert_eq!(rates("ingress"), [1_500_000_000, 1_875_000, 400_000_000_000, 500_000_000]);
    assert_eq!(rates("egress"), [0, 0, 100_000_000, 2_000_000]);
    assert!(colours(&fabric.edges[0], "p1", "untagged", "ingress").is_null());
    let table = fabric.edges[0].table("guards").unwrap();
    let line = table.lines().find(|line| line.contains("egress")).unwrap();
    assert!(line.contains("best-effort") || line.contains("100 Mbit/s") && line.contains("2 MB"), "{table}");
}
