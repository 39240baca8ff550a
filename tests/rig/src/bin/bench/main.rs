//! How fast Sillon is, in one run against a bare redirect, the kernel's bridge and VXLAN, and Open
//! vSwitch.

mod machine;
mod options;
mod outcome;
mod plot;
mod report;
mod rigs;
mod stats;
mod suites;
mod turns;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use machine::Machine;
use options::{Options, Suite};
use outcome::Outcome;
use report::Look;
use turns::{Bench, Extent};

/// What to measure, and the programs that xtask has built for it.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Cli {
    #[command(flatten)]
    options: Options,
    /// The `sillon` binary to measure
    #[arg(long, env = "SILLON_BIN", value_name = "FILE", hide = true)]
    sillon: PathBuf,
    /// The benchmark's own eBPF object
    #[arg(long, env = "SILLON_RIG_OBJECT", value_name = "FILE", hide = true)]
    object: PathBuf,
    /// What plays a crowd of agents
    #[arg(long, env = "SILLON_CROWD", value_name = "FILE", hide = true)]
    crowd: PathBuf,
}

fn main() -> ExitCode {
    match measure(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(cli: &Cli) -> anyhow::Result<bool> {
    let options = &cli.options;
    let document = options.markdown.as_ref().map(read_marked).transpose()?;
    let machine = Machine::here();
    let extent = match (options.smoke, options.quick) {
        (true, _) => Extent::Smoke,
        (false, true) => Extent::Quick,
        (false, false) => Extent::Full,
    };
    let (rigs, rounds, milliseconds) = match extent {
        Extent::Smoke => (1, 1, 10),
        Extent::Quick => (1, 3, 60),
        Extent::Full => (3, 7, 150),
    };
    let bench = Bench {
        sillon: cli.sillon.clone(),
        against: options.against.clone(),
        object: cli.object.clone(),
        crowd: cli.crowd.clone(),
        rigs: options.rigs.unwrap_or(rigs),
        rounds: options.rounds.unwrap_or(rounds),
        milliseconds: options.milliseconds.unwrap_or(milliseconds),
        extent,
        progress: turns::progress(),
    };
    let all = options.suites.is_empty();
    let suites: Vec<Suite> = Suite::value_variants()
        .iter()
        .copied()
        .filter(|suite| all || options.suites.contains(suite))
        .collect();
    let mut outcomes = Vec::new();
    for suite in suites {
        outcomes.push(suite.run(&bench).with_context(|| format!("suite {suite:?}"))?);
    }
    bench.progress.finish_and_clear();
    println!("{}", report::text(&machine, &outcomes, Look::Plain));
    write(options, &machine, &outcomes, document.as_deref())?;
    Ok(options.smoke
        || !outcomes
            .iter()
            .flat_map(|outcome| &outcome.goals)
            .any(|goal| goal.is_met() == Some(false)))
}

/// A document that has marks: that is told before anything is measured.
fn read_marked(path: &PathBuf) -> anyhow::Result<String> {
    let document = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    report::between_marks(&document, "")
        .with_context(|| format!("{} has no marks", path.display()))?;
    Ok(document)
}

fn write(
    options: &Options,
    machine: &Machine,
    outcomes: &[Outcome],
    document: Option<&str>,
) -> anyhow::Result<()> {
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&report::json(machine, outcomes))?;
        fs::write(path, format!("{json}\n")).with_context(|| path.display().to_string())?;
    }
    if let Some(directory) = &options.plot {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        outcomes.iter().try_for_each(|outcome| plot::draw(outcome, directory))?;
    }
    if let (Some(path), Some(document)) = (&options.markdown, document) {
        let text = report::text(machine, outcomes, Look::Markdown);
        let changed = report::between_marks(document, &text).context("no marks")?;
        fs::write(path, changed).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
