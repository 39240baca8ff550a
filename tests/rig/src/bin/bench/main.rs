//! How fast Sillon is: known unicast through two edges, against a bare redirect and against the kernel's bridge and VXLAN, in one run.

mod contender;
mod crowd;
mod curve;
mod load;
mod report;

use std::{fs, path::PathBuf, process::ExitCode, time::Instant};

use clap::Parser;
use contender::Contender;
use curve::Curve;
use load::{Load, Round};
use report::Report;
use serde_json::json;

/// Measures Sillon in a rig of network namespaces; needs root. `cargo xtask bench` runs it.
#[derive(Debug, Parser)]
struct Options {
    /// Rounds of each contender for each kind of load; what is reported is their median
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// About how long a round takes, in milliseconds
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..=60_000))]
    milliseconds: u32,
    /// Leave out the curve: how much longer a frame takes where the node has 100 000 attachments and a million addresses
    #[arg(long)]
    no_curve: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Write the JSON to this file, too
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The `sillon` binary to measure
    #[arg(long, env = "SILLON_BIN", value_name = "FILE")]
    sillon: PathBuf,
    /// The benchmark's own eBPF object
    #[arg(long, env = "SILLON_RIG_OBJECT", value_name = "FILE")]
    object: PathBuf,
}

/// What is measured: small and large frames, one flow and many.
const LOADS: [Load; 4] = [
    Load { bytes: 64, flows: 1, stations: 0 },
    Load { bytes: 64, flows: 256, stations: 0 },
    Load { bytes: 1400, flows: 1, stations: 0 },
    Load { bytes: 1400, flows: 256, stations: 0 },
];

/// The rounds of one kind of load: for each round, what became of it with each contender.
pub struct Measured {
    load: Load,
    rounds: Vec<Vec<Round>>,
}

fn main() -> ExitCode {
    match measure(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> anyhow::Result<bool> {
    let started = Instant::now();
    let step = |what: &str| eprintln!("[{:5.1} s] {what}", started.elapsed().as_secs_f32());
    step("four rigs: a bare redirect, Sillon with and without guards, and the kernel's bridge and VXLAN");
    let mut contenders = vec![
        contender::bare(&options.object, &options.sillon)?,
        contender::sillon(&options.object, &options.sillon)?,
        contender::unguarded(&options.object, &options.sillon)?,
        contender::kernel(&options.object, &options.sillon)?,
    ];
    let mut measured = Vec::new();
    for load in LOADS {
        step(&format!("{} bytes, flows: {}", load.bytes, load.flows));
        measured.push(rounds(&mut contenders, load, options)?);
    }
    let names: Vec<_> = contenders.iter().map(|contender| contender.name.clone()).collect();
    drop(contenders);
    let curve = if options.no_curve { None } else { Some(Curve::measure(options, &step)?) };
    step("done");
    let report = Report::new(&names, &measured);
    let json = json!({
        "speed": report.json(),
        "curve": curve.as_ref().map(Curve::json),
    });
    let json = serde_json::to_string_pretty(&json)?;
    if let Some(path) = &options.out {
        fs::write(path, format!("{json}\n"))?;
    }
    if options.json {
        println!("{json}");
    } else {
        println!("{}", report.table());
        if let Some(curve) = &curve {
            println!("\n{}", curve.table());
        }
    }
    Ok(report.is_met() && curve.is_none_or(|curve| curve.is_met()))
}

/// Interleaved: whatever else the machine does meanwhile meets all contenders alike.
fn rounds(contenders: &mut [Contender], load: Load, options: &Options) -> anyhow::Result<Measured> {
    let mut frames = Vec::new();
    for contender in &mut *contenders {
        // Warms up, and tells how many frames make a round.
        let first = contender.track.run(load, 50_000)?;
        let offered = first.offered as f64 / first.took.as_secs_f64();
        frames.push((offered * f64::from(options.milliseconds) / 1000.0) as u32);
    }
    let round =
        |_| contenders.iter_mut().zip(&frames).map(|(one, frames)| one.track.run(load, *frames)).collect();
    Ok(Measured { load, rounds: (0..options.rounds).map(round).collect::<anyhow::Result<_>>()? })
}
