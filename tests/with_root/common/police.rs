//! What the tests of bandwidth profiles share: profiles, offering more than fits, and holding what
//! was admitted against the clock.
//!
//! Offered is far more than fits, by running the node's own program on copies of a frame
//! (`sillon_rig::Runner`); admitted is what the programs count as green and yellow. What is
//! asserted on is measured in the run: bytes, and the time that they took.

use std::time::{Duration, Instant};

use serde_json::Value;
use sillon_rig::{Fabric, Frame, Node, NodeFile, Runner, Wire, frame::Macs};

use crate::common::mac;

/// How long a rate is measured.
pub const LONG: Duration = Duration::from_secs(2);
/// How far from the configured rate the admitted one may be.
pub const TOLERANCE: f64 = 0.02;
/// XDP_DROP.
pub const DROPPED: u32 = 1;
/// XDP_REDIRECT.
pub const REDIRECTED: u32 = 4;

/// What `show guards` says of a direction of the attachment `port encap`.
pub fn colours(node: &Node, port: &str, encap: &str, direction: &str) -> Value {
    let guards = node.show("guards").unwrap();
    let guard =
        guards.iter().find(|guard| guard["port"] == port && guard["encap"] == encap).unwrap();
    guard[direction].clone()
}

/// Frames or bytes of a colour.
pub fn count(colours: &Value, colour: &str, of: &str) -> u64 {
    colours[colour][of].as_u64().unwrap()
}

/// Bytes of a colour.
pub fn bytes(colours: &Value, colour: &str) -> u64 {
    count(colours, colour, "bytes")
}

/// A frame of exactly so many bytes from host 1 to host 2.
pub fn frame(bytes: usize) -> Vec<u8> {
    Frame::ethertype(Macs { from: mac(1), to: mac(2) }, 0x0800, &vec![0; bytes - 14]).0
}

/// A profile with one bucket of so many bit/s and bytes.
pub fn committed(file: NodeFile, name: &str, cir: u64, cbs: u64) -> NodeFile {
    file.profile(name)
        .key("cir", format_args!("\"{cir} bit/s\""))
        .key("cbs", format_args!("\"{cbs} B\""))
}

/// A line over two untagged ports of one node; `keys` are of the attachment of the first.
pub fn line(
    fabric: &Fabric,
    profiles: impl Fn(NodeFile) -> NodeFile,
    keys: &[(&str, &str)],
) -> NodeFile {
    let file = profiles(fabric.file(0).port("p0", "access").port("p1", "access"));
    let file = file.segment("alder-line", 100, "line", &[]).attach("alder-line", "p1", "untagged");
    let file = file.attach("alder-line", "p0", "untagged");
    keys.iter().fold(file, |file, (key, value)| file.key(key, value))
}

/// Starts the node, or has it change.
pub fn apply(fabric: &mut Fabric, file: &NodeFile) {
    let node = &mut fabric.edges[0];
    if node.agent().is_none() {
        node.start(file).unwrap()
    } else {
        drop(node.reload(file).unwrap())
    }
}

/// What was offered, in runs of some frames each.
#[derive(Clone, Copy)]
pub struct Offered {
    /// How many.
    pub frames: u64,
    /// When the first run began and ended.
    pub first: (Instant, Instant),
    /// When the last run began and ended.
    pub last: (Instant, Instant),
    /// The longest time between the ends of two runs: in it, the machine may have done something
    /// else.
    pub pause: Duration,
}

/// Offers copies of a frame on one CPU for `how_long`.
pub fn offer(runner: &Runner, cpu: usize, frame: &[u8], how_long: Duration) -> Offered {
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

/// Whether `admitted` bytes are what a full bucket and the rate make in the time: at most all of
/// it, at least that in which it is certain that frames were offered.
pub fn assert_rate(admitted: u64, (bits, burst): (u64, u64), offered: &Offered, what: &str) {
    let ratio = |time: Duration| {
        (admitted as f64 - burst as f64) / (bits as f64 / 8.0 * time.as_secs_f64())
    };
    let most = ratio(offered.last.0.saturating_duration_since(offered.first.1));
    let least = ratio(offered.last.1 - offered.first.0);
    println!(
        "{what}: {least:.4} to {most:.4} of {bits} bit/s admitted, in {} frames",
        offered.frames
    );
    assert!(
        least < 1.0 + TOLERANCE && most > 1.0 - TOLERANCE,
        "{what}: {least} to {most} of {bits} bit/s"
    );
}

/// Two ports of the first edge with a host each.
pub fn plugged(fabric: &Fabric) -> [Wire; 2] {
    ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap())
}

/// Whether a frame passes now.
pub fn passes(runner: &Runner, frame: &[u8]) -> bool {
    match runner.on_cpu(0, |run| run(frame, 1)).unwrap() {
        REDIRECTED => true,
        DROPPED => false,
        other => panic!("XDP action {other}"),
    }
}
