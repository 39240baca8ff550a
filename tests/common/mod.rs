//! What the tests on the rig share.

#![allow(dead_code, reason = "each test file takes what it needs")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use sillon_rig::{Fabric, Frame, Underlay, Wire, frame::Macs};

/// How long something may take that normally takes no time.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// How long to wait for what must not come: far longer than what comes takes.
pub const SILENCE: Duration = Duration::from_millis(150);

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
    Frame::udp(Macs { from: mac(from), to }, (v4(from), v4(to[5])), (4000, 4001), payload.as_bytes())
}

/// Whether a frame that says `payload` comes.
pub fn comes(wire: &Wire, payload: &str) -> bool {
    wire.expect(PATIENCE, |frame| frame.contains(payload.as_bytes())).unwrap().is_some()
}

/// Whether no frame that says `payload` comes.
pub fn stays_away(wire: &Wire, payload: &str) -> bool {
    wire.expect(SILENCE, |frame| frame.contains(payload.as_bytes())).unwrap().is_none()
}

/// Whether `is_so` becomes true in time. For what happens in another process, and has no event that a test could wait for.
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

/// Sends numbered frames to `to`, some 5000 in a second, while `during` runs and a moment before and after it; `arrives` is the far end.
pub fn stream(from: &Wire, to: [u8; 6], arrives: &Wire, during: impl FnOnce()) -> Stream {
    const PACE: Duration = Duration::from_micros(200);
    let stop = AtomicBool::new(false);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                from.send(&datagram(1, to, &format!("no {sent:08}"))).unwrap();
                sent += 1;
                thread::sleep(PACE);
            }
            thread::sleep(SILENCE);
            is_over.store(true, Ordering::Relaxed);
            sent
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
        {
            // Also where `during` panics: the scope waits for its threads.
            let _stop = StopOnDrop(&stop);
            thread::sleep(SILENCE);
            during();
            thread::sleep(SILENCE);
        }
        let sent = sender.join().unwrap();
        let arrived = receiver.join().unwrap();
        let once: BTreeSet<u32> = arrived.iter().copied().collect();
        let lost = (0..sent).filter(|number| !once.contains(number)).collect();
        Stream { sent, lost, doubled: arrived.len() - once.len() }
    })
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The number of a frame of a stream.
fn number(frame: &Frame) -> Option<u32> {
    let at = frame.0.windows(3).rposition(|window| window == b"no ")? + 3;
    std::str::from_utf8(frame.0.get(at..at + 8)?).ok()?.parse().ok()
}
