//! How long a round trip takes, idle and under half load.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::Context;
use sillon_rig::Family;

use crate::{
    outcome::{Case, Goal, Limit, MICROSECONDS, Outcome, Sample},
    rigs::{
        line::{Built, CONTENDERS, Line, Way, lines},
        load::{Load, To},
        trips::{Trips, joined, round_trips},
    },
    stats::percentile,
    turns::{Bench, Metric, Turn},
};

const LOAD: Load = Load { bytes: 64, flows: 64, to: To::Sink };
/// So many turns' time is a round: the highest percentile needs some thousand round trips.
const LONGER: u32 = 4;
const METRICS: [Metric; 3] =
    [("p50", MICROSECONDS), ("p99", MICROSECONDS), ("p99.9", MICROSECONDS)];
const SHARES: [f64; 3] = [0.5, 0.99, 0.999];

/// Measures.
///
/// # Errors
/// A rig can't be made.
pub fn run(bench: &Bench) -> anyhow::Result<Outcome> {
    let mut lines = lines(bench, Way::Vxlan(Family::V4), &CONTENDERS)?;
    let how_long = Duration::from_millis(u64::from(bench.milliseconds * LONGER));
    let mut halves = Vec::new();
    for (_, built) in &mut lines {
        let half = if let Ok(line) = built {
            line.inhabit()?;
            let frames = line.track.frames(LOAD, bench.milliseconds)?;
            line.track.run(LOAD, frames)?.rate() / 2.0
        } else {
            0.0
        };
        halves.push(half);
    }
    let mut cases = measure(bench, "idle", &mut lines, &|line, _| idle(line, how_long), &halves)?;
    let loaded = measure(
        bench,
        "half load",
        &mut lines,
        &|line, rate| loaded(line, rate, how_long),
        &halves,
    )?;
    let goals = [Goal::ratio(&loaded[1], "sillon", "bare", Limit::AtMost(1.25))].into();
    cases.extend(loaded);
    let said = lines.iter().zip(&halves).filter(|((_, line), _)| line.is_ok());
    let said: Vec<String> =
        said.map(|((who, _), half)| format!("{who} {:.3} M/s", half / 1e6)).collect();
    Ok(Outcome {
        suite: "latency",
        title: "UDP round trips of 64-byte frames between kernel hosts, through two edges with \
            VXLAN over IPv4",
        cases,
        references: vec!["bare", "kernel", "ovs"],
        goals,
        notes: vec![format!(
            "Half load is half of what each delivers itself ({}), evenly spaced, from CPU 0; the \
                hosts are on CPU 1. What is not answered within 50 ms counts as 50 ms, and as \
                lost.",
            said.join(", ")
        )],
    })
}

fn measure(
    bench: &Bench,
    name: &str,
    lines: &mut [(&'static str, Built)],
    trips: &dyn Fn(&mut Line, f64) -> anyhow::Result<Trips>,
    halves: &[f64],
) -> anyhow::Result<Vec<Case>> {
    let mut turns = Vec::new();
    for ((who, line), half) in lines.iter_mut().zip(halves) {
        turns.push(match line {
            Ok(line) => Turn::new(*who, move || samples(&trips(line, *half)?)),
            Err(why) => Turn { who: (*who).to_owned(), run: Err(why.clone()) },
        });
    }
    bench.take_turns(name, &METRICS, turns)
}

/// One of each percentile.
pub fn samples(trips: &Trips) -> anyhow::Result<Vec<Sample>> {
    let sample = |share| {
        let value = percentile(&trips.times, share).context("no round trip was made")?;
        Ok(Sample { value, offered: trips.times.len() as u64, lost: trips.lost })
    };
    SHARES.into_iter().map(sample).collect()
}

fn idle(line: &Line, how_long: Duration) -> anyhow::Result<Trips> {
    round_trips(&line.wires[0].netns, &line.wires[1].netns, how_long)
}

fn loaded(line: &mut Line, rate: f64, how_long: Duration) -> anyhow::Result<Trips> {
    let stop = AtomicBool::new(false);
    let Line { track, wires, .. } = line;
    thread::scope(|scope| {
        let load = scope.spawn(|| track.pace(LOAD, rate, &stop));
        // The load is on its way.
        thread::sleep(Duration::from_millis(10));
        let trips = round_trips(&wires[0].netns, &wires[1].netns, how_long);
        stop.store(true, Ordering::Relaxed);
        joined(load.join())?;
        trips
    })
}
