//! Sillon at work: two edges, three operators with the same addresses, and who reached whom.

mod attacks;
mod cast;
mod paths;
mod report;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use cast::Cast;
use clap::Parser;
use sillon_rig::smol;

/// Shows Sillon at work in a rig of network namespaces; needs root. `cargo xtask demo` runs it.
#[derive(Debug, Parser)]
struct Options {
    /// Keep the rig until Ctrl-C, and print commands to try in it
    #[arg(long)]
    hold: bool,
    /// The `sillon` binary to show
    #[arg(long, env = "SILLON_BIN", value_name = "FILE")]
    sillon: PathBuf,
}

fn main() -> ExitCode {
    show(&Options::parse()).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn show(options: &Options) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let step = |what: &str| eprintln!("[{:4.1} s] {what}", started.elapsed().as_secs_f32());
    step("making namespaces: two edges, two routers between them, three operators with three servers each");
    let mut cast = Cast::new(&options.sillon)?;
    step("starting `sillon agent` on both edges");
    cast.start()?;
    step("what must work: ping over IPv4 and IPv6, and TCP, inside each operator");
    let worked = paths::try_all(&mut cast)?;
    step(
        "what must not: every server tries to reach every server of the others, with forged tags, addresses and tunnels",
    );
    let reached = attacks::try_all(&mut cast)?;
    step("done");
    println!("{}", report::introduction(&cast));
    println!("{}", report::paths(&worked));
    println!("{}", report::reached(&reached));
    println!("{}", report::drops(&cast)?);
    let (proof, in_order) = report::proof(&cast)?;
    println!("{proof}");
    let mut faults = report::faults(&worked, &reached);
    if !in_order {
        faults.push("`sillon verify` found violations".to_owned());
    }
    println!("{}", report::verdict(&faults));
    if options.hold {
        println!("{}", report::commands(&cast));
        hold(&mut cast)?;
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Lets the smoltcp hosts answer until Ctrl-C ends us; namespaces and processes end with us.
fn hold(cast: &mut Cast) -> anyhow::Result<()> {
    let mut hosts = cast.smol_hosts();
    loop {
        smol::converse(&mut hosts, std::time::Duration::from_secs(60), |_| Ok(false))?;
    }
}
