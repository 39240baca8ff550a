//! The run: cases of random configurations and frames, until time or frames are used up or the node
//! differs from the model.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context;
use fastrand::Rng;

use super::{
    bed::{self, Bed, Hooks, LONGEST_ON_WIRE},
    case::{Act, Case, How},
    forge::Forge,
    left,
    replay::{Divergence, Pair, Tally},
    setup::{ACCESS, World},
    shrink::shrink,
};

/// Frames between two comparisons of all that is counted.
const BATCH: usize = 128;
/// Batches of a case.
const BATCHES: usize = 64;
/// How many batches go over the wires: one in so many.
const WIRED: u32 = 8;
/// How many batches begin with another configuration: one in so many.
const RELOADS: u32 = 24;

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where randomness begins.
    pub seed: u64,
    /// Frames, at least.
    pub frames: Option<u64>,
    /// Time.
    pub time: Option<Duration>,
    /// Where cases are kept in which the node differs.
    pub corpus: PathBuf,
    /// At which hooks the ports are.
    pub hooks: Hooks,
    /// How many frames of a hundred leave work to their device, rightly or not; all go over wires
    /// then.
    pub left: u8,
    /// Whether such a case is kept as it is, and not made as short as it gets: that takes minutes,
    /// and may not find it again where it is about time.
    pub keeps_whole: bool,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Frames.
    pub tally: Tally,
    /// Cases.
    pub cases: u64,
    /// Divergences that did not come again when their case was replayed.
    pub fleeting: u64,
    /// How the node differs from the model, and where that is kept.
    pub divergence: Option<(Divergence, PathBuf)>,
}

/// Runs until something is used up, or the node differs from the model; `progress` hears of each
/// batch.
///
/// # Errors
/// We are not root, or the kernel refuses what it should not.
pub fn run(options: &Options, progress: &(dyn Fn(&Report) + Sync)) -> anyhow::Result<Report> {
    // Before we are on one of them alone.
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    bed::with(options.hooks, |bed| {
        let mut rng = Rng::with_seed(options.seed);
        let started = Instant::now();
        let mut report = Report::default();
        let is_over = |report: &Report| {
            options.frames.is_some_and(|frames| report.tally.frames >= frames)
                || options.time.is_some_and(|time| started.elapsed() >= time)
        };
        while !is_over(&report) && report.divergence.is_none() {
            let seed = rng.u64(..);
            let mut case = Case::default();
            let mut here = report.clone();
            let diverged = one_case(bed, options, (seed, cpus), &mut case, |tally| {
                here = report.clone();
                here.tally.add(tally);
                progress(&here);
                is_over(&here)
            })?;
            report = Report { cases: here.cases + 1, ..here };
            if let Some(divergence) = diverged {
                keep(bed, options, &case, divergence, &mut report)?;
            }
        }
        Ok(report)
    })
}

/// One case; `is_over` hears of the frames so far.
fn one_case(
    bed: &mut Bed,
    options: &Options,
    (seed, cpus): (u64, usize),
    case: &mut Case,
    mut is_over: impl FnMut(&Tally) -> bool,
) -> anyhow::Result<Option<Divergence>> {
    let mut rng = Rng::with_seed(seed);
    let world = World::new(&mut rng);
    let mut pair = Pair::new(bed, false)?;
    let mut sent = Vec::new();
    let mut act = |pair: &mut Pair<'_>, act: Act| {
        let done = pair.act(&act);
        case.acts.push(act);
        done
    };
    for batch in 0..BATCHES {
        if batch == 0 || rng.u32(..RELOADS) == 0 {
            act(&mut pair, Act::Configure(world.setup(&mut rng)))?.ok();
        }
        if rng.u8(..4) == 0 {
            act(&mut pair, Act::Cpu(rng.usize(..cpus)))?.ok();
        }
        let is_wired = options.left > 0 || rng.u32(..WIRED) == 0;
        let how = if is_wired { How::Wire } else { How::Run };
        for _ in 0..BATCH {
            let config = pair.node.config.clone();
            let (device, bytes) = Forge::new(&mut rng, &config, &mut sent).frame();
            let how = if bytes.len() > LONGEST_ON_WIRE { How::Run } else { how };
            let is_left = how != How::Run && device < ACCESS && rng.u8(..100) < options.left;
            let how = if is_left { How::Left(left::said(&mut rng, &bytes)) } else { how };
            if let Err(divergence) = act(&mut pair, Act::Frame { device, how, bytes })? {
                is_over(&pair.tally);
                return Ok(Some(divergence));
            }
        }
        let done = pair.check()?;
        if is_over(&pair.tally) || done.is_err() {
            return Ok(done.err());
        }
    }
    Ok(None)
}

/// Shrinks a case and writes it down.
fn keep(
    bed: &mut Bed,
    options: &Options,
    case: &Case,
    divergence: Divergence,
    report: &mut Report,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(&options.corpus)
        .with_context(|| options.corpus.display().to_string())?;
    if options.keeps_whole {
        let path = options.corpus.join(format!("{:x}-{}.txt", options.seed, report.cases));
        let whole = Case { about: divergence.what.clone(), acts: case.acts.clone() };
        std::fs::write(&path, whole.text()).with_context(|| path.display().to_string())?;
        report.divergence = Some((divergence, path));
        return Ok(());
    }
    let Some((mut shrunk, divergence)) = shrink(bed, case)? else {
        report.fleeting += 1;
        let path = options.corpus.join(format!("fleeting-{:x}-{}.txt", options.seed, report.cases));
        let case = Case { about: divergence.what, acts: case.acts.clone() };
        std::fs::write(&path, case.text()).with_context(|| path.display().to_string())?;
        return Ok(());
    };
    shrunk.about.clone_from(&divergence.what);
    let path = options.corpus.join(format!("{:x}-{}.txt", options.seed, report.cases));
    std::fs::write(&path, shrunk.text()).with_context(|| path.display().to_string())?;
    report.divergence = Some((divergence, path));
    Ok(())
}
