//! Who is policed by a bandwidth profile and who is not: copies of floods, tunnels, other operators
//! on the port; and what becomes of the buckets when the file changes.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use sillon_rig::{Fabric, Frame, NodeFile, Tag, Underlay, frame::BROADCAST};

use crate::common::{
    self, comes, datagram, fabric, mac,
    police::{bytes, colours, committed, count, frame, line, offer, passes, plugged},
    soon, stream,
};

#[test]
fn each_copy_of_a_flood_is_policed_where_it_leaves() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = ["p0", "p1", "p2"].map(|port| fabric.plug(0, port).unwrap());
    let file =
        committed(fabric.file(0), "slow", 64_000, 4600).segment("alder-lan", 100, "lan", &[]);
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
        ["green", "yellow", "red"]
            .map(|colour| (count(&egress, colour, "frames"), bytes(&egress, colour)))
    };
    assert!(soon(|| all().iter().map(|(frames, _)| frames).sum::<u64>() == 50));
    let [green, yellow, red] = all();
    let most = 4600 + (64_000.0 / 8.0 * start.elapsed().as_secs_f64()) as u64;
    assert!(green.0 >= 3 && green.1 <= most, "{green:?} of {most} bytes");
    assert_eq!((green.1, yellow.0, red.1), (1504 * green.0, 0, 1504 * red.0), "the tag counts");
    assert!(soon(|| node.dropped("p0 untagged", "policed-egress").unwrap() == red.0));
    let heard =
        wires[2].drain().unwrap().iter().filter(|frame| frame.contains(b"copy ")).count() as u64;
    assert_eq!(heard, green.0);
}

#[test]
fn what_comes_out_of_a_tunnel_is_policed_where_it_leaves_alone() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = [0, 1].map(|edge| {
        let remote = ["10.99.0.2", "10.99.0.1"][edge];
        let file = fabric.file(edge).port("p0", "access");
        let file =
            committed(file, "slow", 64_000, 2000).segment("alder-line", 100, "line", &[remote]);
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
    assert_eq!(
        count(&colours(&fabric.edges[1], "p0", "untagged", "ingress"), "green", "frames"),
        0
    );
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
        let stream =
            stream(&wires[0], mac(2), &wires[1], || thread::sleep(Duration::from_millis(500)));
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
    let green =
        |fabric: &Fabric| bytes(&colours(&fabric.edges[0], "p0", "dot1q 1", "ingress"), "green");
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
    assert!(
        green(&fabric) <= most,
        "alder's bucket was refilled: {} of {most} bytes",
        green(&fabric)
    );
    // A profile that is faster or slower than before holds at once, whatever the bucket was.
    for (bits, burst) in [(80_000_000, 100_000), (8_000_000, 10_000), (80_000_000, 100_000)] {
        fabric.edges[0].reload(&shared(&fabric, (bits, burst), birch)).unwrap();
        let (before, start) = (green(&fabric), Instant::now());
        offer(&runner, 0, &alders, Duration::from_millis(500));
        let (admitted, grown) =
            (green(&fabric) - before, bits as f64 / 8.0 * start.elapsed().as_secs_f64());
        // The machine may be busy for longer than the bucket takes to fill: a tenth is enough to
        // show that it serves.
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
        let file = committed(fabric.file(0), "it", 64_000, 64_000)
            .port("p0", "access")
            .port("p1", "access");
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
    assert!(
        line.contains("best-effort") || line.contains("100 Mbit/s") && line.contains("2 MB"),
        "{table}"
    );
}

/// A profile with the one bucket or the other, of 10 Mbit/s: all that passes has one colour.
fn one_colour(file: NodeFile, name: &str, [rate, burst]: [&str; 2]) -> NodeFile {
    file.profile(name).key(rate, "\"10 Mbit/s\"").key(burst, "\"100 kB\"")
}

const GREEN: [&str; 2] = ["cir", "cbs"];
const YELLOW: [&str; 2] = ["eir", "ebs"];

/// IEEE 802.1Q clause 6.9.3 and MEF 10.3: who has to drop, further down, drops yellow frames first,
/// and knows them by DEI. It stands in the tags that the attachment has of its own, whichever node
/// found out; an operator's own tags say what the operator says.
#[test]
fn yellow_frames_may_be_dropped_first_and_say_so_wherever_they_come_out() {
    // A line forwards at XDP, and a lan copies at TC.
    for service in ["line", "lan"] {
        for (near_is, far_is, comes_out) in
            [(GREEN, GREEN, false), (YELLOW, GREEN, true), (GREEN, YELLOW, true)]
        {
            let mut fabric = fabric(Underlay::Direct);
            let [near, far] = [0, 1].map(|edge| fabric.plug(edge, "p0").unwrap());
            let file = |edge: usize, colour| {
                let remote = ["10.99.0.2", "10.99.0.1"][edge];
                let file = one_colour(fabric.file(edge).port("p0", "access"), "it", colour);
                file.segment("alder", 100, service, &[remote])
            };
            let files = [
                file(0, near_is).attach("alder", "p0", "qinq 7").key("ingress", "\"it\""),
                file(1, far_is).attach("alder", "p0", "qinq 8").key("egress", "\"it\""),
            ];
            for (edge, file) in fabric.edges.iter_mut().zip(&files) {
                edge.start(file).unwrap();
            }
            let carried = Tag::c(9).with_priority(3, false);
            let frame = datagram(1, BROADCAST, "what colour?");
            near.send(&frame.tagged(&[Tag::s(7).with_priority(5, false), carried])).unwrap();
            let came = far
                .expect(common::PATIENCE, |frame| frame.contains(b"what colour?"))
                .unwrap()
                .unwrap();
            let own = Tag::s(8).with_priority(0, comes_out);
            assert_eq!(came.tags(), [own, carried], "{service}, {near_is:?} and {far_is:?}");
        }
    }
}

/// RFC 2597, RFC 2698 section 5: on the underlay a yellow frame has the next drop precedence of its
/// segment's class. A class without drop precedences has nothing to say that by, and nobody's inner
/// bytes are touched.
#[test]
fn the_underlay_may_drop_yellow_frames_first() {
    const DSCP: usize = 15;
    const MARKS: usize = 14 + 20 + 8 + 3;
    for (dscp, colour, wanted) in [
        (10, GREEN, (10, 0)),
        (10, YELLOW, (12, 2)),
        (28, YELLOW, (30, 2)),
        (46, YELLOW, (46, 2)),
        (0, YELLOW, (0, 2)),
    ] {
        for service in ["line", "lan"] {
            let mut fabric = fabric(Underlay::Direct);
            let near = fabric.plug(0, "p0").unwrap();
            let file = one_colour(fabric.file(0).port("p0", "access"), "it", colour);
            let file = file.segment("alder", 100, service, &["10.99.0.2"]).key("dscp", dscp);
            fabric.edges[0]
                .start(&file.attach("alder", "p0", "port").key("ingress", "\"it\""))
                .unwrap();
            // No node is there: what comes is seen as it is.
            let underlay =
                fabric.edges[1].netns.enter(|| Ok(sillon_rig::PacketSocket::open("up0")?)).unwrap();
            let frame =
                datagram(1, BROADCAST, "what colour?").tagged(&[Tag::c(9).with_priority(3, false)]);
            let mut came = None;
            assert!(soon(|| {
                near.send(&frame).unwrap();
                while let Some(bytes) = underlay.try_receive().unwrap() {
                    came = came
                        .take()
                        .or(Some(Frame(bytes)).filter(|frame| frame.contains(b"what colour?")));
                }
                came.is_some()
            }));
            let came = came.unwrap();
            assert_eq!(
                (came.0[DSCP] >> 2, came.0[MARKS]),
                wanted,
                "{service}, DSCP {dscp}, {colour:?}"
            );
            assert_eq!(came.0[50..], frame.0, "{service}");
        }
    }
}
