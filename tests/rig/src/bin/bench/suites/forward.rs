//! Frames delivered in a second, and those that were lost.

use sillon_rig::Family;

use crate::{
    outcome::{Case, FRAMES, Goal, Limit, Outcome},
    rigs::{
        line::{Built, CONTENDERS, OTHER, SUPPRESSING, UNGUARDED, Way, lines},
        load::{Load, To},
    },
    turns::{Bench, Extent, Turn},
};

const WAYS: [Way; 4] =
    [Way::Local, Way::Translated, Way::Vxlan(Family::V4), Way::Vxlan(Family::V6)];
const SIZES: [usize; 3] = [64, 512, 1400];
const FLOWS: [u32; 2] = [1, 1024];

/// Measures.
///
/// # Errors
/// A rig can't be made.
pub fn run(bench: &Bench) -> anyhow::Result<Outcome> {
    let mut contenders = CONTENDERS.to_vec();
    if bench.extent != Extent::Smoke {
        contenders.splice(2..2, [UNGUARDED, SUPPRESSING]);
    }
    if bench.against.is_some() {
        contenders.insert(2, OTHER);
    }
    let references =
        contenders.iter().map(|(name, _)| *name).filter(|name| *name != "sillon").collect();
    let (mut cases, mut goals) = (Vec::new(), Vec::new());
    for way in bench.pick(&WAYS[2..3], &WAYS, &WAYS).iter().copied() {
        let loads = loads(bench);
        let measured = bench.in_rigs(|| {
            let mut lines = lines(bench, way, &contenders)?;
            loads.iter().map(|load| measure(bench, way, *load, &mut lines)).collect()
        })?;
        goals.extend(
            measured.iter().zip(&loads).flat_map(|(case, load)| goals_of(case, way, *load)),
        );
        cases.extend(measured);
    }
    Ok(Outcome {
        suite: "forward",
        title: "Known unicast, frames delivered in a second, sent from one core and forwarded on \
            it",
        cases,
        references,
        goals,
        notes: vec![
            "bare: one XDP_REDIRECT on each edge, which looks at nothing and puts on no tunnel \
                header. unguarded: ours, trusted for everything. suppressing: ours with its \
                defaults and ARP/ND suppression. ovs has the other cores for its daemon."
                .to_owned(),
        ],
    })
}

fn loads(bench: &Bench) -> Vec<Load> {
    let sizes = bench.pick(&SIZES[..1], &SIZES[..1], &SIZES);
    let flows = bench.pick(&FLOWS[..1], &FLOWS, &FLOWS);
    let load = |bytes: usize, flows: u32| Load { bytes, flows, to: To::Sink };
    sizes.iter().flat_map(|bytes| flows.iter().map(move |flows| load(*bytes, *flows))).collect()
}

fn measure(
    bench: &Bench,
    way: Way,
    load: Load,
    lines: &mut [(&'static str, Built)],
) -> anyhow::Result<Case> {
    let flows = if load.flows == 1 { "flow" } else { "flows" };
    let name = format!("{}, {} bytes, {} {flows}", way.name(), load.bytes, load.flows);
    let mut turns = Vec::new();
    for (who, line) in lines {
        let run = match line {
            Err(why) => Err(why.clone()),
            Ok(line) => {
                let frames = line.track.frames(load, bench.milliseconds)?;
                let track = &mut line.track;
                Ok(Turn::new(*who, move || Ok(vec![track.run(load, frames)?.sample(1)])))
            }
        };
        turns.push(match run {
            Ok(turn) => turn,
            Err(why) => Turn { who: (*who).to_owned(), run: Err(why) },
        });
    }
    let mut cases = bench.take_turns(&name, &[("", FRAMES)], turns)?;
    Ok(cases.remove(0))
}

/// Of large frames issue 2's over bare and kernel, of small ones those of issue 5, which ask for
/// more; issue 3's over what is without guards.
fn goals_of(case: &Case, way: Way, load: Load) -> Vec<Goal> {
    let mut goals = Vec::new();
    let is_small = load.bytes == 64;
    if way == Way::Vxlan(Family::V4) {
        goals.push(Goal::ratio(case, "suppressing", "unguarded", Limit::AtLeast(0.90)));
    }
    let mut at_least = |over: &str, least: f64| {
        goals.push(Goal::ratio(case, "sillon", over, Limit::AtLeast(least)));
    };
    match way {
        Way::Vxlan(Family::V4) if is_small => {
            at_least("bare", if load.flows == 1 { 0.90 } else { 0.85 });
            at_least("unguarded", 0.90);
            at_least("kernel", 8.0);
            at_least("ovs", 8.0);
        }
        Way::Vxlan(Family::V4) => {
            at_least("bare", 0.80);
            at_least("unguarded", 0.90);
            at_least("kernel", 6.0);
        }
        Way::Vxlan(Family::V6) | Way::Translated if is_small => at_least("bare", 0.85),
        _ => {}
    }
    goals.extend(Goal::lossless(case, "sillon", "bare"));
    goals
}
