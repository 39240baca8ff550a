//! Does acts on the bed and on the model, and compares.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::Context;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use sillon::{dataplane::links::Mode, model::NodeConfig};
use sillon_rig::{Frame, Undone};

use super::{
    bed::{Bed, Hooks, LONGEST_ON_WIRE},
    case::{Act, Case, How},
    compare::{self, Flows},
    isolation,
    left::{self, Made, Word},
    setup::{DEVICES, Setup, mac},
    witness::{self, Observer, Seen},
};
use crate::forwarding::{
    Copy, Counts, Device, Node, Verdict,
    police::{Clock, Moment},
    suppress::Question,
};

/// How long a frame may take that normally takes no time.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long to wait for what should not come, where each frame is looked at by itself.
const SILENCE: Duration = Duration::from_millis(2);
/// What a kernel thread was left with is done after so many looks, this far apart.
const LOOKS: u32 = 40;

/// How the node differs from the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// What is wrong.
    pub what: String,
}

/// What an act came to: a divergence is no failure of the fuzzer's own.
pub type Done = anyhow::Result<Result<(), Divergence>>;

/// A bed and a model that have done the same.
pub struct Pair<'a> {
    /// The bed.
    pub bed: &'a mut Bed,
    /// The model.
    pub node: Node,
    flows: Flows,
    /// Copies that the far end's kernel may show or not.
    may_come: Vec<Copy>,
    /// Frames that were to be dropped for what was said beside them, and are not counted in the
    /// model yet.
    wrong: u64,
    /// Those of which that is open.
    maybe_wrong: u64,
    /// Whether to look for what should not come after each frame.
    is_strict: bool,
    /// What was done so far.
    pub tally: Tally,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Frames.
    pub frames: u64,
    /// Those of them that were sent over a wire.
    pub wired: u64,
    /// Those of them with something left to do.
    pub left: u64,
    /// Those of these that were to be dropped for what was said of it.
    pub wrong: u64,
    /// Frames that came out of a wire, and were held against the isolation property.
    pub seen: u64,
    /// What a bucket decided: whether it had enough.
    pub timed: u64,
    /// Those of them in which the time between two looks at a clock left both open.
    pub open: u64,
    /// How many frames met which end, by the verdict or the reason of the drop; and how many said
    /// which address their sender has, and what became of that.
    pub ends: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// Adds what another one has.
    pub fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.wired += other.wired;
        self.left += other.left;
        self.wrong += other.wrong;
        self.seen += other.seen;
        self.timed += other.timed;
        self.open += other.open;
        for (end, frames) in &other.ends {
            *self.ends.entry(end).or_default() += frames;
        }
    }

    fn timed(&mut self, clock: &Clock<'_>) {
        self.timed += clock.decisions;
        self.open += clock.open;
    }

    fn met(&mut self, verdict: &Verdict, node: &Node) {
        self.frames += 1;
        let end = match verdict {
            Verdict::Host => "passed to the host",
            Verdict::Peer(_) => "passed to the host as a peer's",
            Verdict::Sent(_) => "sent to one place",
            Verdict::Flooded(flood) if flood.yellow => "flooded as yellow",
            Verdict::Flooded(_) => "flooded",
            Verdict::Answered(Question::Arp, _) => "ARP request answered",
            Verdict::Answered(Question::Neighbour, _) => "solicitation answered",
            Verdict::Dropped(_, reason) => reason.name(),
        };
        if let Some(heard) = node.heard {
            *self.ends.entry(heard.name()).or_default() += 1;
        }
        *self.ends.entry(end).or_default() += 1;
    }
}

fn diverges(what: impl Into<String>) -> Done {
    Ok(Err(Divergence { what: what.into() }))
}

/// Whether the far end of a wire can see a copy: its kernel drops tagged frames without two bytes
/// behind the tag (`skb_vlan_untag`).
fn is_capturable(copy: &Copy) -> bool {
    let is_tagged = |bytes: &[u8]| matches!(bytes[12..14], [0x81, 0x00] | [0x88, 0xa8]);
    copy.ways.iter().all(|(_, bytes)| bytes.len() >= 20 || !is_tagged(bytes))
}

fn devices() -> Vec<Device> {
    let device = |(device, name): (usize, &str)| Device { name: name.to_owned(), mac: mac(device) };
    DEVICES.into_iter().enumerate().map(device).collect()
}

/// Moves the calling thread to a CPU.
///
/// # Errors
/// There is none of that number.
pub fn move_to(cpu: usize) -> anyhow::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &cpus).with_context(|| format!("CPU {cpu}"))
}

impl<'a> Pair<'a> {
    /// Both as if nothing had happened yet.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new(bed: &'a mut Bed, is_strict: bool) -> anyhow::Result<Self> {
        // What is sent over a wire is forwarded on the CPU that sends it: nothing of it is under
        // way while we look.
        move_to(0)?;
        let setup = Setup::empty();
        let config = setup.config()?;
        bed.configure(&setup, &config)?;
        for device in 0..DEVICES.len() {
            bed.end(device).drain()?;
        }
        let node = Node::new(config, devices(), setup.ways);
        let (flows, may_come) = (Flows::default(), Vec::new());
        let tally = Tally::default();
        Ok(Self { bed, node, flows, may_come, wrong: 0, maybe_wrong: 0, is_strict, tally })
    }

    /// Does an act on both.
    ///
    /// # Errors
    /// It can't be done at all.
    pub fn act(&mut self, act: &Act) -> Done {
        match act {
            Act::Configure(setup) => self.configure(setup)?,
            Act::Cpu(cpu) => move_to(*cpu)?,
            Act::Frame { device, how, bytes } => return self.frame(*device, *how, bytes),
        }
        Ok(Ok(()))
    }

    fn configure(&mut self, setup: &Setup) -> anyhow::Result<()> {
        let config: NodeConfig = setup.config()?;
        self.bed.configure(setup, &config)?;
        self.node.reconfigure(config, setup.ways.clone());
        self.flows = Flows::default();
        Ok(())
    }

    fn frame(&mut self, device: usize, how: How, bytes: &[u8]) -> Done {
        let hooks = self.bed.hooks();
        if !hooks.takes(device, bytes) {
            return Ok(Ok(()));
        }
        // What the kernel does with a frame before it comes to TC, and what becomes of it between
        // two programs, is seen on a wire alone.
        let how = if hooks != Hooks::Xdp && how == How::Run { How::Wire } else { how };
        let mut bytes = bytes.to_vec();
        let owner = isolation::owner(&self.node.config, device, &bytes, true);
        isolation::remark(&mut bytes, owner);
        let bytes = &bytes[..];
        let earliest = witness::earliest();
        let done = match how {
            How::Run => self.run(device, bytes, earliest)?,
            How::Wire => self.on_wire((device, bytes), Undone::default(), earliest)?,
            How::Left(undone) => self.on_wire((device, bytes), undone, earliest)?,
        };
        if done.is_err() || !self.is_strict {
            return Ok(done);
        }
        self.check()
    }

    fn run(&mut self, device: usize, bytes: &[u8], earliest: Moment) -> Done {
        let ran = self.bed.run(device, bytes)?;
        let mut observer = Observer::new(self.bed, Seen::ran(ran.action));
        let mut clock = Clock::new(earliest, &mut observer);
        let verdict = self.node.receive_at(device, bytes, &mut clock);
        self.tally.timed(&clock);
        observer.done()?;
        self.tally.met(&verdict, &self.node);
        Ok(compare::run(&verdict, bytes, &ran, self.bed.ids(), &mut self.flows).map_err(|what| {
            Divergence { what: format!("{what}\nmodel: {verdict:02x?}\nnode: {ran:02x?}") }
        }))
    }

    fn on_wire(
        &mut self,
        (device, bytes): (usize, &[u8]),
        undone: Undone,
        earliest: Moment,
    ) -> Done {
        if bytes.len() > LONGEST_ON_WIRE {
            anyhow::bail!("{} bytes are too many for a wire", bytes.len());
        }
        let hooks = self.bed.hooks();
        let word = left::judge(bytes, undone, hooks.is_tap(device));
        let is_at_tc = hooks.mode(device) == Mode::Tc;
        // What is to be taken apart is, before it gets to XDP.
        let is_for_us = word != Word::Open && (is_at_tc || !undone.is_many());
        if !is_for_us || !self.bed.end(device).send(undone, bytes)? {
            return Ok(Ok(()));
        }
        self.tally.wired += 1;
        self.tally.left += u64::from(undone != Undone::default());
        if is_at_tc && word == Word::Wrong {
            self.tally.frames += 1;
            self.drops_for_its_word();
            return Ok(Ok(()));
        }
        let mut observer = Observer::new(self.bed, Seen::Sent);
        let mut clock = Clock::new(earliest, &mut observer);
        let verdict = self.node.receive_at(device, bytes, &mut clock);
        let mut copies = match &verdict {
            Verdict::Sent(copy) | Verdict::Answered(_, copy) => vec![copy.clone()],
            // At XDP nobody knows of it before it is copied.
            Verdict::Flooded(_) if word == Word::Wrong => vec![],
            Verdict::Flooded(flood) => self.node.flood_at(flood, &mut clock),
            Verdict::Dropped(..) | Verdict::Peer(_) => vec![],
            Verdict::Host => {
                self.node.pass_to_host(device, bytes);
                vec![]
            }
        };
        self.tally.timed(&clock);
        observer.done()?;
        self.tally.met(&verdict, &self.node);
        if word == Word::Wrong && matches!(verdict, Verdict::Flooded(_)) {
            self.drops_for_its_word();
        }
        // What XDP sends to a port at TC goes by there, if by then the kernel has not forgotten
        // what was said: what it takes off in front may be where it was to begin.
        let goes_by_tc = |copy: &Copy| copy.ways.iter().any(|(to, _)| hooks.mode(*to) == Mode::Tc);
        if word == Word::Wrong && copies.iter().any(goes_by_tc) {
            self.maybe_wrong += 1;
            self.may_come.append(&mut copies);
        }
        if let (Word::Right, Some(made), Verdict::Sent(_) | Verdict::Flooded(_)) =
            (word, Made::new(undone, bytes), &verdict)
        {
            let is_flooded = matches!(verdict, Verdict::Flooded(_));
            let ways = copies.iter_mut().flat_map(|copy| &mut copy.ways);
            // From port to port at XDP nobody makes it.
            ways.filter(|(to, _)| is_at_tc || is_flooded || hooks.mode(*to) == Mode::Tc)
                .for_each(|(_, bytes)| made.write(bytes));
        }
        let (must_come, may_come): (Vec<_>, Vec<_>) = copies.into_iter().partition(is_capturable);
        self.may_come.extend(may_come);
        self.receive(must_come)
    }

    fn drops_for_its_word(&mut self) {
        self.wrong += 1;
        self.tally.wrong += 1;
    }

    /// Takes the copies from the wires where they must come out.
    fn receive(&mut self, mut copies: Vec<Copy>) -> Done {
        while let Some(copy) = copies.first() {
            let devices: Vec<usize> = copy.ways.iter().map(|(device, _)| *device).collect();
            let Some((device, bytes)) = self.next_of(&devices)? else {
                return diverges(format!("nothing came out at {devices:?}, where {copy:?} should"));
            };
            self.tally.seen += 1;
            if let Err(what) = isolation::holds(&self.node.config, device, &bytes) {
                return diverges(format!("{what}: {bytes:02x?}"));
            }
            let explains =
                |copy: &Copy| copy.explains(&bytes).is_some_and(|(way, _)| way == device);
            let Some(which) = copies.iter().position(explains) else {
                if self.might_have_come(device, &bytes) {
                    continue;
                }
                return diverges(format!(
                    "at {} came {bytes:02x?}, and not one of {copies:?}",
                    DEVICES[device]
                ));
            };
            let copy = copies.remove(which);
            if let Err(what) = self.flows.holds(&copy, Some(device), &bytes) {
                return diverges(format!("{what}: {bytes:02x?}"));
            }
        }
        Ok(Ok(()))
    }

    /// Whether a frame is one that the far end's kernel need not show; it comes once.
    fn might_have_come(&mut self, device: usize, bytes: &[u8]) -> bool {
        let explains = |copy: &Copy| copy.explains(bytes).is_some_and(|(way, _)| way == device);
        let which = self.may_come.iter().position(explains);
        which.map(|which| self.may_come.remove(which)).is_some()
    }

    /// The next frame out of one of these devices.
    fn next_of(&self, devices: &[usize]) -> anyhow::Result<Option<(usize, Vec<u8>)>> {
        for look in 0..LOOKS {
            for device in devices {
                if let Some(bytes) = self.bed.end(*device).try_receive()? {
                    return Ok(Some((*device, bytes)));
                }
            }
            if look > 0 {
                thread::sleep(PATIENCE / LOOKS);
            }
        }
        Ok(None)
    }

    /// Compares everything that is counted and learned, and looks for frames that should not have
    /// come out.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn check(&mut self) -> Done {
        if self.is_strict {
            thread::sleep(SILENCE);
        }
        for (device, name) in DEVICES.into_iter().enumerate() {
            for bytes in self.bed.end(device).drain()? {
                if self.might_have_come(device, &bytes) {
                    continue;
                }
                let isolation = isolation::holds(&self.node.config, device, &bytes).err();
                let isolation = isolation.unwrap_or_default();
                return diverges(format!(
                    "at {name} came what should not: {:?} {isolation}",
                    Frame(bytes)
                ));
            }
        }
        self.may_come.clear();
        let mut differences = Vec::new();
        for _ in 0..LOOKS {
            let counts = self.bed.counts()?;
            differences = self.differences(&counts);
            if differences.is_empty() {
                if self.wrong + self.maybe_wrong > 0 {
                    self.node.counts.adopt_drops(&counts);
                    (self.wrong, self.maybe_wrong) = (0, 0);
                }
                return Ok(Ok(()));
            }
            thread::sleep(SILENCE);
        }
        diverges(differences.join("\n"))
    }

    /// How the node's counts differ from the model's. Of a frame that is dropped for what was said
    /// beside it, it is open where that is noticed, and so what it is counted for; that it is
    /// counted, once, is not, and nothing else may come of it.
    fn differences(&self, counts: &Counts) -> Vec<String> {
        if self.wrong + self.maybe_wrong == 0 {
            return self.node.counts.differences(counts);
        }
        let mut wanted = self.node.counts.clone();
        let more = counts.all_dropped().saturating_sub(wanted.all_dropped());
        wanted.adopt_drops(counts);
        let mut differences = wanted.differences(counts);
        let wrong = self.wrong..=self.wrong + self.maybe_wrong;
        if !wrong.contains(&more) {
            differences
                .push(format!("{more} more frames were dropped than by the model, not {wrong:?}"));
        }
        differences
    }
}

/// Replays a case, looking at each frame by itself; says how the node differs, and at which act.
///
/// # Errors
/// It can't be done at all.
pub fn replay(bed: &mut Bed, case: &Case) -> anyhow::Result<Result<u64, (usize, Divergence)>> {
    let mut pair = Pair::new(bed, true)?;
    for (at, act) in case.acts.iter().enumerate() {
        if let Err(divergence) = pair.act(act).with_context(|| format!("act {at}"))? {
            return Ok(Err((at, divergence)));
        }
    }
    Ok(Ok(pair.tally.frames))
}
