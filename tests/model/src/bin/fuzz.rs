//! `cargo xtask fuzz` runs it: random configurations and frames through the loaded programs, held
//! against the model.

use std::{
    io::{IsTerminal, stderr},
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use sillon_model::fuzz::{
    bed::Hooks,
    replay::Tally,
    run::{Options, Report, run},
};

/// Runs random frames through the loaded programs and through the model, and compares; needs root
#[derive(Debug, Parser)]
struct Cli {
    /// Stop after so many seconds
    #[arg(long, value_name = "SECONDS")]
    time: Option<u64>,
    /// Begin with this seed, as an earlier run printed it; a random one otherwise
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Stop after so many frames
    #[arg(long, value_name = "N")]
    frames: Option<u64>,
    /// Keep cases in which node and model differ here
    #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus"))]
    corpus: PathBuf,
    /// At which hooks the ports are
    #[arg(long, value_enum, default_value_t)]
    hooks: HooksArg,
    /// So many frames of a hundred leave work to their device, rightly or not: checksums and
    /// super-packets
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=100))]
    left: u8,
    /// Keep them as they are, and not made as short as they get
    #[arg(long)]
    whole: bool,
}

/// See [`Hooks`].
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum HooksArg {
    /// All at XDP; most frames are run without a wire
    #[default]
    Xdp,
    /// All at TC
    Tc,
    /// At either in turn
    Mixed,
}

impl From<HooksArg> for Hooks {
    fn from(hooks: HooksArg) -> Self {
        match hooks {
            HooksArg::Xdp => Self::Xdp,
            HooksArg::Tc => Self::Tc,
            HooksArg::Mixed => Self::Mixed,
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let seed = cli.seed.unwrap_or_else(|| fastrand::u64(..));
    let time = cli.time.map(Duration::from_secs);
    let (frames, corpus, hooks) = (cli.frames, cli.corpus, cli.hooks.into());
    let options =
        Options { seed, frames, time, corpus, hooks, left: cli.left, keeps_whole: cli.whole };
    eprintln!("seed {seed}");
    match fuzz(&options) {
        Ok(report) if report.divergence.is_none() && report.fleeting == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn fuzz(options: &Options) -> anyhow::Result<Report> {
    let started = Instant::now();
    let bar = bar(options)?;
    let (shown, told) = (AtomicU64::new(0), AtomicU64::new(0));
    let report = run(options, &|report: &Report| {
        // Where there is no bar: a run of hours may be ended before its time, and still has shown
        // what it has.
        let millions = report.tally.frames / 1_000_000;
        if bar.is_hidden() && told.swap(millions, Ordering::Relaxed) != millions {
            let Tally { frames, wired, timed, open, .. } = &report.tally;
            eprintln!(
                "{frames} frames, {wired} of them over wires; {timed} decisions by time, {open} \
                    of them open"
            );
        }
        let position = match options.frames {
            Some(_) => report.tally.frames,
            None => started.elapsed().as_secs(),
        };
        if shown.swap(position, Ordering::Relaxed) != position {
            bar.set_position(position);
            bar.set_message(format!("{} frames, {} cases", report.tally.frames, report.cases));
        }
    })?;
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{} frames in {} cases, {:.0} frames/s; {} of them over wires, where {} came out; seed {}",
        report.tally.frames,
        report.cases,
        report.tally.frames as f64 / seconds,
        report.tally.wired,
        report.tally.seen,
        options.seed
    );
    println!(
        "{} left work to their device, {} of them wrongly",
        report.tally.left, report.tally.wrong
    );
    println!(
        "{} decisions by time, {} of them open ({:.2} %)",
        report.tally.timed,
        report.tally.open,
        100.0 * report.tally.open as f64 / report.tally.timed.max(1) as f64
    );
    for (end, frames) in &report.tally.ends {
        println!("{frames:>12} {end}");
    }
    if report.fleeting > 0 {
        println!("{} differences that did not come again, kept as fleeting-*.txt", report.fleeting);
    }
    match &report.divergence {
        None => println!("the node did what the model says"),
        Some((divergence, path)) => {
            println!(
                "the node differs from the model; kept as {}\n{}",
                path.display(),
                divergence.what
            );
        }
    }
    Ok(report)
}

/// A bar on a terminal, and nothing elsewhere.
fn bar(options: &Options) -> anyhow::Result<ProgressBar> {
    let length = options.frames.or(options.time.map(|time| time.as_secs()));
    if !stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let bar = ProgressBar::new(length.unwrap_or(0));
    let template = if length.is_some() {
        "{bar:40} {elapsed}/{duration} {msg}"
    } else {
        "{spinner} {elapsed} {msg}"
    };
    bar.set_style(ProgressStyle::with_template(template)?);
    Ok(bar)
}
