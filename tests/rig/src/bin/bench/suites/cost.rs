//! Nanoseconds a frame of each program, where it runs: what the kernel counts of programs while
//! frames pass through a rig.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd},
};

use anyhow::Context;
use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};
use sillon_rig::{Family, Node, NodeFile};

use crate::{
    outcome::{NANOSECONDS, Outcome, Sample},
    rigs::{
        line::{Carrier, Line, SUPPRESSING, UNGUARDED, Way},
        load::{Load, To},
    },
    turns::{Bench, Extent, Turn},
};

const MANY: u32 = 256;
const LOAD: Load = Load { bytes: 64, flows: MANY, to: To::Sink };

/// A program at its work.
struct Variant {
    name: &'static str,
    way: Way,
    carrier: Carrier,
}

/// Whether it works at all.
const SMOKE: [&str; 2] = ["bare", "VXLAN v4"];

const V4: Way = Way::Vxlan(Family::V4);

fn plain(file: NodeFile) -> NodeFile {
    file
}

fn policed(file: NodeFile) -> NodeFile {
    file.key("ingress", "\"wide\"").key("egress", "\"wide\"")
}

fn listed(file: NodeFile) -> NodeFile {
    file.key("prefixes", "[\"10.0.0.0/24\"]").key("ethertypes", "[\"ipv4\", \"arp\", \"0x88b5\"]")
}

const VARIANTS: [Variant; 9] = [
    Variant { name: "bare", way: V4, carrier: Carrier::Bare },
    Variant { name: "local", way: Way::Local, carrier: Carrier::Sillon(plain) },
    Variant { name: "dot1q → qinq", way: Way::Translated, carrier: Carrier::Sillon(plain) },
    Variant { name: "VXLAN v4", way: V4, carrier: Carrier::Sillon(plain) },
    Variant { name: "VXLAN v4, unguarded", way: V4, carrier: UNGUARDED.1 },
    Variant { name: "VXLAN v4, suppressing", way: V4, carrier: SUPPRESSING.1 },
    Variant { name: "VXLAN v4, policed both ways", way: V4, carrier: Carrier::Sillon(policed) },
    Variant {
        name: "VXLAN v4, prefixes and ethertypes",
        way: V4,
        carrier: Carrier::Sillon(listed),
    },
    Variant { name: "VXLAN v6", way: Way::Vxlan(Family::V6), carrier: Carrier::Sillon(plain) },
];

/// Measures.
///
/// # Errors
/// A rig can't be made, or the kernel does not count.
pub fn run(bench: &Bench) -> anyhow::Result<Outcome> {
    bench.say("building: a rig for each variant");
    let mut lines = Vec::new();
    for variant in
        VARIANTS.iter().filter(|it| bench.extent != Extent::Smoke || SMOKE.contains(&it.name))
    {
        let built = Line::new(bench, variant.way, variant.carrier).with_context(|| variant.name)?;
        if let Ok(mut line) = built {
            let frames = line.track.frames(LOAD, bench.milliseconds)?;
            lines.push((variant, line, frames));
        }
    }
    // It counts for as long as this lives.
    let counting = enable_stats(Stats::RunTime)?;
    let mut cases = Vec::new();
    for (edge, name) in [(0, "where frames come in"), (1, "where they leave the tunnel")] {
        let has = |variant: &Variant| matches!(variant.way, Way::Vxlan(_)) || edge == 0;
        let turns = lines.iter_mut().filter(|(variant, ..)| has(variant));
        let turns = turns.map(|(variant, line, frames)| {
            let frames = *frames;
            Turn::new(variant.name, move || Ok(vec![cost(line, edge, frames)?]))
        });
        cases.extend(bench.take_turns(name, &[("", NANOSECONDS)], turns.collect())?);
    }
    drop(counting);
    let sizes = lines.iter().find(|(variant, ..)| variant.name == "VXLAN v4");
    let size =
        sizes.map(|(_, line, _)| size(&line.fabric.edges[0])).transpose()?.unwrap_or_default();
    Ok(Outcome {
        suite: "cost",
        title: "Nanoseconds a frame in the XDP program, as the kernel counts them \
            (BPF_ENABLE_STATS: run_time_ns over run_cnt)",
        cases,
        references: vec!["bare"],
        goals: Vec::new(),
        notes: vec![
            "What a step costs is the difference of two lines; counting itself is in all of them, \
                the bare redirect's too. Tunnel header: VXLAN v4 less local. Default guards: \
                VXLAN v4 less unguarded. Suppression, of frames that are no ARP and no neighbour discovery: suppressing less VXLAN v4. Police: policed less VXLAN v4.".to_owned(),
            "Instructions a frame are not counted: this machine has no hardware performance \
                counters (a VM without a PMU) unless `perf stat -e instructions true` says \
                otherwise.".to_owned(),
            size,
        ],
    })
}

/// Runs of a program, and their nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    runs: u64,
    nanoseconds: u64,
}

fn cost(line: &mut Line, edge: usize, frames: u32) -> anyhow::Result<Sample> {
    let program = program(line, edge)?;
    let before = counted(program)?;
    line.track.run(LOAD, frames)?;
    let after = counted(program)?;
    let runs = after.runs - before.runs;
    anyhow::ensure!(runs > 0, "no frame met program {program}");
    Ok(((after.nanoseconds - before.nanoseconds) as f64 / runs as f64).into())
}

/// The id of the program that frames meet first on an edge.
fn program(line: &mut Line, edge: usize) -> anyhow::Result<u32> {
    if let Some(program) = line.programs.get_mut(edge) {
        return program.id();
    }
    let port = if edge == 0 { "p0" } else { "up0" };
    line.fabric.edges[edge].program_id(port)
}

fn counted(program: u32) -> anyhow::Result<Counted> {
    let info = loaded_programs()
        .flatten()
        .find(|info| info.id() == program)
        .context("the program is gone")?;
    let descriptor = info.fd()?;
    let path = format!("/proc/thread-self/fdinfo/{}", descriptor.as_fd().as_raw_fd());
    parse(&fs::read_to_string(path)?).context("this kernel does not count programs' runs")
}

/// What a program descriptor's fdinfo says.
fn parse(text: &str) -> Option<Counted> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.trim().parse().ok()
    };
    Some(Counted { runs: value("run_cnt")?, nanoseconds: value("run_time_ns")? })
}

fn size(node: &Node) -> anyhow::Result<String> {
    let program = node.program_id("p0")?;
    let info = loaded_programs()
        .flatten()
        .find(|info| info.id() == program)
        .context("the program is gone")?;
    Ok(format!(
        "sillon_xdp has {} bytes of instructions (8 each) and {} bytes of machine code.",
        info.size_translated().unwrap_or(0),
        info.size_jitted()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_their_time_are_read_from_fdinfo() {
        let text =
            "pos:\t0\nprog_type:\t6\nrun_time_ns:\t12345\nrun_cnt:\t67\nrecursion_misses:\t0\n";
        assert_eq!(parse(text), Some(Counted { runs: 67, nanoseconds: 12345 }));
        assert_eq!(parse("pos:\t0\n"), None);
    }
}
