//! What goes wrong, at random and in turn: processes that are killed or hang, wires that are cut,
//! clocks that jump.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use fastrand::Rng;
use nix::sys::signal::Signal;

use crate::chaos::world::World;

/// How many things are wrong at once, at most.
const AT_ONCE: usize = 3;
/// Until the next one begins, in milliseconds.
const PAUSES: std::ops::Range<u64> = 100..2500;
/// How long one lasts, in milliseconds: from too short to be noticed to longer than any leadership.
const LASTS: std::ops::Range<u64> = 100..7000;
/// How far a clock jumps, in seconds, either way.
const JUMP: i64 = 24 * 3600;
/// A controller that has ended is started again after this, as the service manager does.
const AGAIN: Duration = Duration::from_secs(1);

/// What may be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Controller(usize),
    Agent(usize),
    Member(usize),
}

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Killed,
    Paused,
    CutOff,
    /// By so many seconds.
    Jumped(i64),
}

/// All parts of a world.
const PARTS: [Part; 8] = [
    Part::Controller(0),
    Part::Controller(1),
    Part::Controller(2),
    Part::Agent(0),
    Part::Agent(1),
    Part::Member(0),
    Part::Member(1),
    Part::Member(2),
];

/// Breaks and mends.
pub struct Faults {
    rng: Rng,
    broken: BTreeMap<Part, (Fault, Instant)>,
    next: Instant,
    /// Since when a controller is not there by itself.
    ended: BTreeMap<usize, Instant>,
    /// How often each was broken how.
    pub counts: BTreeMap<String, u32>,
}

impl Faults {
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            broken: BTreeMap::new(),
            next: Instant::now(),
            ended: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Does what is due now.
    pub fn step(&mut self, world: &mut World) {
        let now = Instant::now();
        let over: Vec<Part> = self
            .broken
            .iter()
            .filter(|(_, (_, until))| *until <= now)
            .map(|(part, _)| *part)
            .collect();
        over.into_iter().for_each(|part| self.mend(world, part));
        self.keep_alive(world);
        if now >= self.next && self.broken.len() < AT_ONCE {
            self.next = now + Duration::from_millis(self.rng.u64(PAUSES));
            let part = PARTS[self.rng.usize(..PARTS.len())];
            if !self.broken.contains_key(&part) {
                self.hurt(world, part);
            }
        }
    }

    /// Mends all that is broken.
    pub fn mend_all(&mut self, world: &mut World) {
        let all: Vec<Part> = self.broken.keys().copied().collect();
        all.into_iter().for_each(|part| self.mend(world, part));
    }

    /// Starts what has ended by itself.
    pub fn keep_alive(&mut self, world: &mut World) {
        for (index, controller) in world.controllers.iter_mut().enumerate() {
            let is_killed =
                matches!(self.broken.get(&Part::Controller(index)), Some((Fault::Killed, _)));
            if is_killed || controller.runs() {
                self.ended.remove(&index);
                continue;
            }
            if self.ended.entry(index).or_insert_with(Instant::now).elapsed() > AGAIN {
                self.ended.remove(&index);
                *self.counts.entry("controller ended by itself".to_owned()).or_default() += 1;
                controller.kill();
                controller.start();
            }
        }
    }

    fn hurt(&mut self, world: &mut World, part: Part) {
        let kinds = if matches!(part, Part::Member(_)) { 3 } else { 4 };
        let fault = match self.rng.u32(..kinds) {
            0 => Fault::Killed,
            1 => Fault::Paused,
            2 => Fault::CutOff,
            _ => Fault::Jumped(self.rng.i64(-JUMP..=JUMP)),
        };
        // Two members that are away are all of etcd; that is allowed, and shall not be all that
        // happens.
        let members = self.broken.keys().filter(|part| matches!(part, Part::Member(_))).count();
        if matches!(part, Part::Member(_)) && members > 0 && self.rng.u32(..3) > 0 {
            return;
        }
        let lasts = Duration::from_millis(self.rng.u64(LASTS));
        println!("{part} {fault} for {lasts:.1?}");
        *self.counts.entry(format!("{} {}", part.kind(), fault.kind())).or_default() += 1;
        world.hurt(part, fault);
        self.broken.insert(part, (fault, Instant::now() + lasts));
    }

    fn mend(&mut self, world: &mut World, part: Part) {
        if let Some((fault, _)) = self.broken.remove(&part) {
            world.mend(part, fault);
        }
    }
}

impl World {
    fn hurt(&mut self, part: Part, fault: Fault) {
        match (part, fault) {
            (Part::Controller(index), Fault::Killed) => self.controllers[index].kill(),
            (Part::Controller(index), Fault::Paused) => self.pause(index, Signal::SIGSTOP),
            (Part::Controller(index), Fault::CutOff) => self.controllers[index].wire(false),
            (Part::Controller(index), Fault::Jumped(by)) => {
                self.controllers[index].clock.set(&format!("{by:+}"))
            }
            (Part::Agent(edge), Fault::Killed) => self.fabric.edges[edge].kill().unwrap(),
            (Part::Agent(edge), Fault::Paused) => {
                self.fabric.edges[edge].signal(Signal::SIGSTOP).unwrap()
            }
            (Part::Agent(edge), Fault::CutOff) => self.wire(edge, false),
            (Part::Agent(edge), Fault::Jumped(by)) => self.agents[edge].set(&format!("{by:+}")),
            (Part::Member(index), Fault::Killed) => self.cluster.kill(index).unwrap(),
            (Part::Member(index), Fault::Paused) => {
                self.cluster.signal(index, Signal::SIGSTOP).unwrap()
            }
            (Part::Member(index), Fault::CutOff | Fault::Jumped(_)) => {
                self.cluster.wire(index, false).unwrap()
            }
        }
    }

    fn mend(&mut self, part: Part, fault: Fault) {
        match (part, fault) {
            (Part::Controller(index), Fault::Killed) => self.controllers[index].start(),
            (Part::Controller(index), Fault::Paused) => self.pause(index, Signal::SIGCONT),
            (Part::Controller(index), Fault::CutOff) => self.controllers[index].wire(true),
            (Part::Controller(index), Fault::Jumped(_)) => self.controllers[index].clock.set("+0"),
            (Part::Agent(edge), Fault::Killed) => self.fabric.edges[edge].restart().unwrap(),
            (Part::Agent(edge), Fault::Paused) => {
                self.fabric.edges[edge].signal(Signal::SIGCONT).unwrap()
            }
            (Part::Agent(edge), Fault::CutOff) => self.wire(edge, true),
            (Part::Agent(edge), Fault::Jumped(_)) => self.agents[edge].set("+0"),
            (Part::Member(index), Fault::Killed) => self.cluster.run(index).unwrap(),
            (Part::Member(index), Fault::Paused) => {
                self.cluster.signal(index, Signal::SIGCONT).unwrap()
            }
            (Part::Member(index), Fault::CutOff | Fault::Jumped(_)) => {
                self.cluster.wire(index, true).unwrap()
            }
        }
    }

    /// A controller that has ended by itself can't be paused.
    fn pause(&mut self, index: usize, signal: Signal) {
        if self.controllers[index].runs() {
            self.controllers[index].signal(signal);
        }
    }
}

impl Part {
    fn kind(self) -> &'static str {
        match self {
            Self::Controller(_) => "controller",
            Self::Agent(_) => "agent",
            Self::Member(_) => "etcd member",
        }
    }
}

impl Fault {
    fn kind(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Paused => "paused",
            Self::CutOff => "cut off",
            Self::Jumped(_) => "clock jumped",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Controller(index) | Self::Agent(index) | Self::Member(index)) = self;
        write!(f, "{} {index}", self.kind())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jumped(by) => write!(f, "{} by {by:+} s", self.kind()),
            _ => f.write_str(self.kind()),
        }
    }
}
