//! Sillon at work: a controller, two edges, three operators with the same addresses, and who
//! reached whom.

mod attacks;
mod cast;
mod handover;
mod office;
mod paths;
mod report;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::Context;
use cast::{Cast, OPERATORS};
use clap::Parser;
use office::Office;
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
    /// The files that the owner and the operators apply
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples"))]
    examples: PathBuf,
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
    step(
        "making namespaces: two edges, two routers between them, three operators with three \
            servers each, and a controller's",
    );
    let sillon =
        options.sillon.canonicalize().with_context(|| options.sillon.display().to_string())?;
    let mut cast = Cast::new(&sillon)?;
    step(
        "`sillon pki`: a CA, and a certificate for each; then `sillon controller` on a store of \
            its own",
    );
    let mut office =
        Office::open(&mut cast.fabric, options.examples.canonicalize().context("the examples")?)?;
    step(
        "the owner says what there is, and starts `sillon agent` on both edges; the operators \
            take their leases and shape their segments",
    );
    build(&mut cast, &mut office)?;
    let vnis = office.vnis()?;
    step("what must not, at the controller: birch asks for what is alder's");
    let mut faults = refused(&mut office)?;
    step("what must work: ping over IPv4 and IPv6, and TCP, inside each operator");
    let worked = paths::try_all(&mut cast)?;
    step(
        "what must not: every server tries to reach every server of the others, with forged tags, \
            addresses and tunnels",
    );
    let reached = attacks::try_all(&cast, &vnis)?;
    step("one server is handed over from alder to birch, while all talk");
    let handover = handover::run(&cast, &mut office)?;
    step("done");
    println!("{}", report::introduction(&cast, &vnis));
    println!("{}", report::asked(&office));
    println!("{}", report::paths(&worked));
    println!("{}", report::reached(&reached));
    println!("{}", report::handover(&handover));
    println!("{}", report::drops(&cast)?);
    let (proof, in_order) = report::proof(&cast)?;
    println!("{proof}");
    faults.extend(report::faults(&worked, &reached));
    faults.extend(handover.faults());
    if !in_order {
        faults.push("`sillon verify` found violations".to_owned());
    }
    println!("{}", report::verdict(&faults));
    if options.hold {
        println!("{}", report::commands(&cast, &office));
        hold(&mut cast)?;
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Through the API, by all who have to do with it.
fn build(cast: &mut Cast, office: &mut Office) -> anyhow::Result<()> {
    let owner = office.example("owner.yaml");
    office.does("owner", &["apply", "-f", &owner, "--yes"])?;
    for edge in &mut cast.fabric.edges {
        edge.restart()?;
    }
    for operator in &OPERATORS {
        for lease in office.get(operator.name, "leases")? {
            let name = lease.get("name").and_then(serde_json::Value::as_str).unwrap_or_default();
            office.does(operator.name, &["lease", "accept", name])?;
        }
        let file = office.example(operator.file);
        office.does(operator.name, &["apply", "-f", &file, "--yes"])?;
    }
    OPERATORS.iter().try_for_each(|operator| office.programmed(operator.name))
}

/// What an operator may not: see what is another's, take its server, or cut it off. Gives what was
/// done all the same.
fn refused(office: &mut Office) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    for (arguments, code) in [
        (&["get", "segment", "alder/lan"][..], 1),
        (&["attach", "birch/lan", "edge1/p1", "untagged"], 4),
        (&["detach", "alder/s1"], 4),
    ] {
        let said = office.tries("birch", arguments)?;
        if said.code != code {
            faults.push(format!(
                "birch: {}: exit code {} and not {code}: {}",
                said.command, said.code, said.answer
            ));
        }
    }
    Ok(faults)
}

/// Lets the smoltcp hosts answer until Ctrl-C ends us; namespaces and processes end with us.
fn hold(cast: &mut Cast) -> anyhow::Result<()> {
    let mut hosts = cast.smol_hosts();
    loop {
        smol::converse(&mut hosts, std::time::Duration::from_secs(60), |_| Ok(false))?;
    }
}
