//! What the tests on the rig share.

pub mod maps;
pub mod police;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use sillon_rig::{Fabric, Frame, Underlay, Wire, frame::Macs};

/// How long something may take that normally takes no time.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// How long to wait for what must not come: far longer than what comes takes.
pub const SILENCE: Duration = Duration::from_millis(150);

/// Where an edge's frames are seen to.
#[derive(Clone, Copy)]
pub struct Hooks {
    /// At its uplinks.
    pub uplinks: &'static str,
    /// At its ports, in turn.
    pub ports: [&'static str; 2],
}

/// All at XDP.
pub const XDP: Hooks = Hooks { uplinks: "xdp", ports: ["xdp", "xdp"] };
/// All at TC.
pub const TC: Hooks = Hooks { uplinks: "tc", ports: ["tc", "tc"] };
/// What comes in at the one goes out at the other, on a node and in a segment.
pub const MIXED: Hooks = Hooks { uplinks: "xdp", ports: ["tc", "xdp"] };

/// Two edges; their agents run the binary under test.
pub fn fabric(underlay: Underlay) -> Fabric {
    Fabric::new(underlay, env!("CARGO_BIN_EXE_sillon")).unwrap()
}

/// The MAC of host `number`.
pub fn mac(number: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, number]
}

/// The address of host `number`.
pub fn v4(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

/// The address of host `number`.
pub fn v6(number: u8) -> IpAddr {
    IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, number.into()])
}

/// A datagram from one host to another that says `payload`.
pub fn datagram(from: u8, to: [u8; 6], payload: &str) -> Frame {
    Frame::udp(
        Macs { from: mac(from), to },
        (v4(from), v4(to[5])),
        (4000, 4001),
        payload.as_bytes(),
    )
}

/// Whether a frame that says `payload` comes.
pub fn comes(wire: &Wire, payload: &str) -> bool {
    wire.expect(PATIENCE, |frame| frame.contains(payload.as_bytes())).unwrap().is_some()
}

/// Whether no frame that says `payload` comes.
pub fn stays_away(wire: &Wire, payload: &str) -> bool {
    wire.expect(SILENCE, |frame| frame.contains(payload.as_bytes())).unwrap().is_none()
}

/// Whether `is_so` becomes true in time. For what happens in another process, and has no event that
/// a test could wait for.
pub fn soon(mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if is_so() {
            return true;
        }
        thread::sleep(Duration::from_millis(5));
    }
    false
}

/// How many frames of a stream are sent before something happens, and how many after that: more
/// than any test asks for.
pub const AROUND: u32 = 300;

/// What became of a stream of numbered frames.
#[derive(Debug)]
pub struct Stream {
    /// How many were sent.
    pub sent: u32,
    /// Those that did not arrive, in order.
    pub lost: Vec<u32>,
    /// How many arrived more than once.
    pub doubled: usize,
}

/// Sends numbered frames to `to`, some 5000 in a second, while `during` runs, and [`AROUND`] before
/// and as many after it, however long a busy machine takes for that; `arrives` is the far end.
pub fn stream(from: &Wire, to: [u8; 6], arrives: &Wire, during: impl FnOnce()) -> Stream {
    const PACE: Duration = Duration::from_micros(200);
    let sent = AtomicU32::new(0);
    let stop = AtomicBool::new(false);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            // Also where a frame can't be sent: the receiver waits for it.
            let _over = SetOnDrop(&is_over);
            while !stop.load(Ordering::Relaxed) {
                let number = sent.load(Ordering::Relaxed);
                from.send(&datagram(1, to, &format!("no {number:08}"))).unwrap();
                sent.store(number + 1, Ordering::Relaxed);
                thread::sleep(PACE);
            }
            thread::sleep(SILENCE);
            sent.load(Ordering::Relaxed)
        });
        let receiver = scope.spawn(|| {
            let mut arrived = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                arrives
                    .expect(Duration::from_millis(20), |frame| {
                        arrived.extend(number(frame));
                        false
                    })
                    .unwrap();
            }
            arrived
        });
        let some = || {
            let enough = sent.load(Ordering::Relaxed) + AROUND;
            while sent.load(Ordering::Relaxed) < enough && !sender.is_finished() {
                thread::sleep(PACE);
            }
        };
        {
            // Also where `during` panics: the scope waits for its threads.
            let _stop = SetOnDrop(&stop);
            some();
            during();
            some();
        }
        let sent = sender.join().unwrap();
        let arrived = receiver.join().unwrap();
        let once: BTreeSet<u32> = arrived.iter().copied().collect();
        let lost = (0..sent).filter(|number| !once.contains(number)).collect();
        Stream { sent, lost, doubled: arrived.len() - once.len() }
    })
}

/// Says that something is over, however it ends.
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The number of a frame of a stream.
fn number(frame: &Frame) -> Option<u32> {
    let at = frame.0.windows(3).rposition(|window| window == b"no ")? + 3;
    std::str::from_utf8(frame.0.get(at..at + 8)?).ok()?.parse().ok()
}
