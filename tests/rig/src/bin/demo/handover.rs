//! One server goes from alder to birch while everybody talks: in one transaction it leaves the one,
//! and the other gets it only once every node has forgotten it. At no instant do both reach it.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use sillon_rig::{
    Frame, PacketSocket, Tag, Wire,
    frame::{BROADCAST, Macs},
};

use crate::{
    cast::{Cast, OPERATORS, ROVER},
    office::Office,
};

/// Between two broadcasts of one host.
const PACE: Duration = Duration::from_millis(2);
/// How long each state is watched.
const WATCHED: Duration = Duration::from_millis(500);
/// What was sent comes far sooner.
const SILENCE: Duration = Duration::from_millis(300);

/// Frames between the server and an operator's.
#[derive(Clone, Copy, Default)]
pub struct Seen {
    /// How many.
    pub frames: usize,
    /// The first and the last one.
    pub between: Option<(Mark, Mark)>,
}

/// A frame's place among those of its way, which does not depend on when it was looked at; and that
/// time, since the beginning.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    order: u32,
    /// The time.
    pub when: Duration,
}

/// What was seen of the handover.
#[derive(Default)]
pub struct Handover {
    /// By operator: what its servers heard of the one that was handed over, and what that heard of
    /// them.
    pub seen: [[Seen; 2]; 3],
    /// How often somebody heard what is another operator's, the server apart.
    pub strangers: usize,
    /// When the transfer was asked for.
    pub asked: Duration,
    /// When the other had attached it.
    pub attached: Duration,
}

impl Handover {
    /// What is wrong with it.
    pub fn faults(&self) -> Vec<String> {
        let [alder, birch, cedar] = &self.seen;
        let mut faults = Vec::new();
        for (index, way) in ["from", "to"].into_iter().enumerate() {
            match (alder[index].between, birch[index].between) {
                (Some((_, last)), Some((first, _))) if last.order < first.order => {}
                (Some(_), Some(_)) => faults
                    .push(format!("frames {way} server 4 passed to alder and to birch at once")),
                _ => faults
                    .push(format!("frames {way} server 4 were not seen both before and after")),
            }
            if cedar[index].frames > 0 {
                faults
                    .push(format!("{} frames {way} server 4 passed to cedar", cedar[index].frames));
            }
        }
        if self.strangers > 0 {
            faults
                .push(format!("{} frames crossed while server 4 was handed over", self.strangers));
        }
        faults
    }
}

/// Who sends and hears.
struct Voice {
    /// By number; the server that is handed over is nobody's.
    operator: Option<usize>,
    wire: Wire,
    tap: PacketSocket,
    tags: &'static [Tag],
    /// Its number among the operator's servers.
    number: u8,
}

/// What was heard: by whom (a place among the voices), of whom, when.
type Heard = Vec<(usize, Option<usize>, Mark)>;

/// Hands the server over, and watches.
pub fn run(cast: &Cast, office: &mut Office) -> anyhow::Result<Handover> {
    let voices = voices(cast)?;
    let (stop, over, started) = (AtomicBool::new(false), AtomicBool::new(false), Instant::now());
    let mut handover = Handover::default();
    let heard = thread::scope(|scope| {
        let senders: Vec<_> =
            voices.iter().map(|voice| scope.spawn(|| talk(voice, &stop))).collect();
        let ears: Vec<_> = (0..voices.len())
            .map(|at| {
                let (voice, over) = (&voices[at], &over);
                scope.spawn(move || listen(voice, at, started, over))
            })
            .collect();
        let done = hand_over(office, started, &mut handover);
        stop.store(true, Ordering::Relaxed);
        let sent = join(senders);
        thread::sleep(SILENCE);
        over.store(true, Ordering::Relaxed);
        let heard = join(ears);
        done.and(sent).and(heard)
    })?;
    for (at, from, mark) in heard.into_iter().flatten() {
        match (voices[at].operator, from) {
            (Some(operator), None) => handover.seen[operator][0].note(mark),
            (None, Some(operator)) => handover.seen[operator][1].note(mark),
            (Some(own), Some(other)) if own != other => handover.strangers += 1,
            _ => {}
        }
    }
    Ok(handover)
}

/// The commands, with a while between them in which each state is watched.
fn hand_over(office: &mut Office, started: Instant, handover: &mut Handover) -> anyhow::Result<()> {
    thread::sleep(WATCHED);
    handover.asked = started.elapsed();
    office.does("owner", &["lease", "transfer", "s7", "--to", "birch/s7"])?;
    office.does("birch", &["lease", "accept", "birch/s7"])?;
    // Else the quarantine would last an hour.
    office.does("owner", &["lease", "confirm", "alder/s7"])?;
    let state =
        |object: &Value| object.pointer("/status/state").and_then(Value::as_str).map(str::to_owned);
    office.until("birch", "leases", |lease| state(lease).as_deref() == Some("active"))?;
    thread::sleep(WATCHED);
    office.does("birch", &["attach", "birch/lan", "edge1/p4", "untagged", "--name", "s7"])?;
    office.programmed("birch")?;
    handover.attached = started.elapsed();
    thread::sleep(WATCHED);
    Ok(())
}

fn join<T>(
    threads: Vec<thread::ScopedJoinHandle<'_, anyhow::Result<T>>>,
) -> anyhow::Result<Vec<T>> {
    let join = |thread: thread::ScopedJoinHandle<'_, anyhow::Result<T>>| {
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    };
    threads.into_iter().map(join).collect()
}

fn voices(cast: &Cast) -> anyhow::Result<Vec<Voice>> {
    let (number, seat) = ROVER;
    let mut all = vec![Voice {
        operator: None,
        wire: cast.rover.share()?,
        tap: cast.rover.tap()?,
        tags: seat.tags,
        number,
    }];
    for (operator, servers) in cast.servers.iter().enumerate() {
        for (number, (server, seat)) in (1..).zip(servers.iter().zip(OPERATORS[operator].seats)) {
            let (wire, tap) = (server.wire().share()?, server.wire().tap()?);
            all.push(Voice { operator: Some(operator), wire, tap, tags: seat.tags, number });
        }
    }
    Ok(all)
}

/// Numbered broadcasts, from its own address.
fn talk(voice: &Voice, stop: &AtomicBool) -> anyhow::Result<()> {
    let macs = Macs { from: [2, 0, 0, 0, 0, voice.number], to: BROADCAST };
    let ips = (IpAddr::from([10, 0, 0, voice.number]), IpAddr::from([10, 0, 0, 255]));
    for number in 0_u32.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let text = format!("{}{}{number:08}", intro(voice.operator), SEPARATOR);
        voice
            .wire
            .send(&Frame::udp(macs, ips, (4000, 4001), text.as_bytes()).tagged(voice.tags))?;
        thread::sleep(PACE);
    }
    Ok(())
}

/// In front of a frame's number.
const SEPARATOR: &str = ", frame ";

fn intro(operator: Option<usize>) -> String {
    format!("this is {}", operator.map_or("server 4", |operator| OPERATORS[operator].name))
}

fn listen(voice: &Voice, at: usize, started: Instant, over: &AtomicBool) -> anyhow::Result<Heard> {
    let intros = [None, Some(0), Some(1), Some(2)].map(|operator| (operator, intro(operator)));
    let mut heard = Heard::new();
    while !over.load(Ordering::Relaxed) {
        let Some(bytes) = voice.tap.receive(Duration::from_millis(20))? else { continue };
        let (when, frame) = (started.elapsed(), Frame(bytes));
        if !frame.tags().starts_with(voice.tags) {
            continue;
        }
        let of = intros.iter().find(|(_, intro)| frame.contains(intro.as_bytes()));
        let Some((operator, number)) =
            of.and_then(|(operator, _)| Some((*operator, number(&frame)?)))
        else {
            continue;
        };
        // What one hears of several has its order there; what several hear of one, in its numbers.
        let order = if operator.is_none() { number } else { u32::try_from(heard.len())? };
        heard.push((at, operator, Mark { order, when }));
    }
    Ok(heard)
}

fn number(frame: &Frame) -> Option<u32> {
    let text = String::from_utf8_lossy(&frame.0);
    text.rsplit_once(SEPARATOR)?.1.get(..8)?.parse().ok()
}

impl Seen {
    fn note(&mut self, mark: Mark) {
        let (first, last) = self.between.unwrap_or((mark, mark));
        (self.frames, self.between) = (self.frames + 1, Some((first.min(mark), last.max(mark))));
    }
}
