//! Whether a frame takes longer where there is more of everything, and what it takes to hold it.

use anyhow::Context;
use sillon_rig::{Fabric, Underlay, Wire};

use crate::{
    outcome::{Case, Column, FRAMES, Goal, Limit, MEBIBYTES, Outcome, Sample},
    rigs::{
        crowd::{Crowd, Crowded, Memory, STATIONS, memory},
        line::{VNI, introduce},
        load::{Load, To, Track},
    },
    turns::{Bench, Extent, Turn},
};

/// What there is least of on every axis.
const LEAST: Crowd = Crowd { segments: 1, attachments: 1, macs: 1, remotes: 0 };
/// The name of an axis' first point, which the others are compared with.
const FIRST: &str = "1";
/// From the first point, a frame may take so many times as long (issue 3).
const MOST: f64 = 1.3;
/// Of the first point's rate, the last one of all axes together must have so much (issue 5).
const AT_THE_END: f64 = 0.80;

/// One thing that there is more and more of, by the name of how much.
struct Axis {
    name: &'static str,
    points: &'static [(&'static str, Crowd)],
}

const ALL: Axis = Axis {
    name: "all",
    points: &[
        (FIRST, LEAST),
        ("10 000", Crowd { segments: 10_000, attachments: 10_000, macs: 100_000, remotes: 100 }),
        (
            "100 000",
            Crowd { segments: 100_000, attachments: 100_000, macs: 1_000_000, remotes: 1000 },
        ),
    ],
};
/// Whether it works at all.
const TINY: Axis = Axis {
    name: "all",
    points: &[("100", Crowd { segments: 100, attachments: 100, macs: 1000, remotes: 10 })],
};
const AXES: [Axis; 5] = [
    ALL,
    Axis {
        name: "segments",
        points: &[
            (FIRST, LEAST),
            ("1 000", Crowd { segments: 1000, attachments: 1000, ..LEAST }),
            ("100 000", Crowd { segments: 100_000, attachments: 100_000, ..LEAST }),
        ],
    },
    Axis {
        name: "attachments",
        points: &[
            (FIRST, LEAST),
            ("1 000", Crowd { segments: 1000, attachments: 1000, ..LEAST }),
            ("100 000", Crowd { segments: 1000, attachments: 100_000, ..LEAST }),
        ],
    },
    Axis {
        name: "FDB entries",
        points: &[
            (FIRST, LEAST),
            ("10 000", Crowd { macs: 10_000, ..LEAST }),
            ("1 000 000", Crowd { macs: 1_000_000, ..LEAST }),
        ],
    },
    Axis {
        name: "remotes",
        points: &[
            (FIRST, LEAST),
            ("100", Crowd { remotes: 100, ..LEAST }),
            ("10 000", Crowd { segments: 100, attachments: 100, remotes: 10_000, ..LEAST }),
        ],
    },
];
const FLOODS: [(&str, u32); 3] = [(FIRST, 1), ("16", 16), ("256", 256)];

/// Measures.
///
/// # Errors
/// A rig can't be made, or does not learn.
pub fn run(bench: &Bench) -> anyhow::Result<Outcome> {
    let (mut cases, mut goals) = (Vec::new(), Vec::new());
    for axis in bench.pick(&[TINY][..], &AXES[..1], &AXES) {
        let points = bench.pick(axis.points, &axis.points[..2.min(axis.points.len())], axis.points);
        let measured = bench.in_rigs(|| climb(bench, axis.name, points))?;
        for case in measured.iter().filter(|case| case.unit == FRAMES) {
            goals.extend(
                points[1..]
                    .iter()
                    .map(|(name, _)| Goal::ratio(case, name, FIRST, Limit::AtLeast(1.0 / MOST))),
            );
            if axis.name == ALL.name && bench.extent == Extent::Full {
                goals.push(Goal::ratio(case, "100 000", FIRST, Limit::AtLeast(AT_THE_END)));
            }
        }
        cases.extend(measured);
    }
    cases.push(floods(bench)?);
    Ok(Outcome {
        suite: "scale",
        title: "Frames delivered in a second through two edges with more and more on them",
        cases,
        references: vec![FIRST],
        goals,
        notes: vec![format!(
            "All: as many segments as attachments, ten times as many FDB entries, a hundredth as \
                many remotes. To one host a decision is recalled; to {STATIONS} hosts each is \
                looked up. Flood: copies of a broadcast to so many attachments of one port, in a second; the generator hands over 64 frames at once, and copies that the receiving veth has no room for are lost. A map is as large as the file's limits, which follow the crowd."
        )],
    })
}

fn climb(bench: &Bench, axis: &str, points: &[(&'static str, Crowd)]) -> anyhow::Result<Vec<Case>> {
    let mut crowds = Vec::new();
    for (name, crowd) in points {
        bench.say(&format!("building: {axis}, {name}"));
        crowds.push((*name, crowd.gather(bench).with_context(|| format!("{axis}, {name}"))?));
    }
    let mut cases = Vec::new();
    for (to, words) in [(To::Sink, "one host"), (To::Stations(STATIONS), "many hosts")] {
        let load = Load { bytes: 64, flows: 256, to };
        let mut turns = Vec::new();
        for (name, Crowded { track, .. }) in &mut crowds {
            let frames = track.frames(load, bench.milliseconds)?;
            turns.push(Turn::new(*name, move || Ok(vec![track.run(load, frames)?.sample(1)])));
        }
        cases.extend(bench.take_turns(&format!("{axis}, to {words}"), &[("", FRAMES)], turns)?);
    }
    let held = crowds.iter().map(|(name, crowd)| Ok((*name, memory(&crowd.fabric.edges[0])?)));
    let held = held.collect::<anyhow::Result<Vec<_>>>()?;
    cases.push(holding(format!("{axis}, memory of the maps"), &held, |memory| memory.maps));
    cases.push(holding(format!("{axis}, memory of the agent"), &held, |memory| memory.agent));
    Ok(cases)
}

fn holding(name: String, held: &[(&str, Memory)], bytes: fn(&Memory) -> u64) -> Case {
    let column = |(who, memory): &(&str, Memory)| Column {
        who: (*who).to_owned(),
        samples: Ok(vec![Sample::from(bytes(memory) as f64)]),
    };
    Case { name, unit: MEBIBYTES, columns: held.iter().map(column).collect() }
}

/// A segment with so many attachments on one port; all copies come to one sink.
struct Flood {
    track: Track,
    _wires: [Wire; 2],
    _fabric: Fabric,
}

impl Flood {
    fn new(bench: &Bench, copies: u32) -> anyhow::Result<Self> {
        let mut fabric = Fabric::new(Underlay::Direct, &bench.sillon)?;
        let wires = [fabric.plug(0, "p0")?, fabric.plug(0, "p1")?];
        let file = fabric.file(0).port("p0", "access").port("p1", "access");
        let file = file.segment("bench-lan", VNI, "lan", &[]).key("ageing", 1_000_000);
        let file = file.attach("bench-lan", "p0", "untagged").key("storm", "\"off\"");
        let attach = |file: sillon_rig::NodeFile, vid| {
            file.attach("bench-lan", "p1", &format!("dot1q {vid}"))
        };
        let file = (1..=copies).fold(file, attach);
        fabric.edges[0].start(&file)?;
        introduce(&wires, [&[], &[sillon_rig::Tag::c(1)]])?;
        let track = Track::new(&bench.object, &wires[0].netns, &wires[1].netns, &[], 1)?;
        Ok(Self { track, _wires: wires, _fabric: fabric })
    }
}

fn floods(bench: &Bench) -> anyhow::Result<Case> {
    bench.say("building: flood lists");
    let load = Load { bytes: 64, flows: 16, to: To::All };
    let mut floods = Vec::new();
    for (name, copies) in bench.pick(&FLOODS[..1], &FLOODS, &FLOODS).iter().copied() {
        let mut flood =
            Flood::new(bench, copies).with_context(|| format!("a flood list of {copies}"))?;
        let frames = flood.track.copied(load, bench.milliseconds, copies)?;
        floods.push((name, copies, flood, frames));
    }
    let mut turns = Vec::new();
    for (name, copies, flood, frames) in &mut floods {
        let (copies, frames) = (u64::from(*copies), *frames);
        turns.push(Turn::new(*name, move || {
            Ok(vec![flood.track.run(load, frames)?.sample(copies)])
        }));
    }
    let mut cases = bench.take_turns("flood, copies", &[("", FRAMES)], turns)?;
    Ok(cases.remove(0))
}
