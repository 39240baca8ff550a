//! Eight operators on one uplink, one of which floods.

use std::{
    cell::RefCell,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use sillon_rig::{Fabric, Family, Frame, Underlay, Wire};

use crate::{
    outcome::{Case, FRAMES, Goal, Limit, MICROSECONDS, Outcome, SHARE, Sample, ratio},
    rigs::{
        line::{VNI, inhabit, introduce},
        load::{Load, To, Track, frame, stay_on},
        trips::{Trips, joined, round_trips},
    },
    stats::{Spread, jain, percentile},
    turns::{Bench, Metric, Turn},
};

const OPERATORS: usize = 8;
/// Frames a second that each victim sends: together well below what one CPU forwards.
const RATE: f64 = 5_000.0;
/// What each may send where there are profiles: twice what a victim does, in bits of 64-byte
/// frames.
const PROFILE: &str = "\"5120 kbit/s\"";
const LOAD: Load = Load { bytes: 64, flows: 16, to: To::Sink };
/// A frame a nanosecond is due: as fast as it goes.
const FLOOD: f64 = 1e9;
/// So many turns' time is a round.
const LONGER: u32 = 4;
const METRICS: [Metric; 3] = [
    ("victims' frames", FRAMES),
    ("a victim's p99", MICROSECONDS),
    ("Jain's index of the victims", SHARE),
];
const ALONE: [&str; 2] = ["unflooded, no profiles", "unflooded, profiles"];
const FLOODED: [&str; 2] = ["flooded, no profiles", "flooded, profiles"];

struct Street {
    tracks: Vec<Track>,
    wires: Vec<[Wire; 2]>,
    _fabric: Fabric,
}

/// Measures.
///
/// # Errors
/// A rig can't be made.
pub fn run(bench: &Bench) -> anyhow::Result<Outcome> {
    bench.say("building: eight operators on one uplink, without and with bandwidth profiles");
    let kinds = bench.pick(&[true][..], &[false, true], &[false, true]);
    let street = |profiles: &bool| Ok((*profiles, RefCell::new(Street::new(bench, *profiles)?)));
    let streets = kinds.iter().map(street).collect::<anyhow::Result<Vec<_>>>()?;
    let how_long = Duration::from_millis(u64::from(bench.milliseconds * LONGER));
    let mut turns = Vec::new();
    for (profiles, street) in &streets {
        let which = usize::from(*profiles);
        let names = [ALONE[which], FLOODED[which]];
        for (floods, name) in [false, true].into_iter().zip(names) {
            turns.push(Turn::new(name, move || street.borrow_mut().round(floods, how_long)));
        }
    }
    let cases = bench.take_turns("eight operators", &METRICS, turns)?;
    let goals = [0, 1].map(|which| goal(&cases[0], which)).into();
    Ok(Outcome {
        suite: "fair",
        title: "Eight operators on one uplink, seven of which send 5 000 frames/s each while one \
            floods",
        cases,
        references: ALONE.to_vec(),
        goals,
        notes: vec![
            "The flooder has CPU 0 for itself, the victims share CPU 1 with what asks for round \
                trips; uplink and far edge are shared by all. What is compared is the share of \
                what the victims really sent, since the sender has its CPU not to itself. Profiles: 5.12 Mbit/s a server, twice what a victim sends.".to_owned(),
        ],
    })
}

/// The delivered share of what was offered while one floods, over the same while none does.
fn goal(case: &Case, which: usize) -> Goal {
    let share = |who| {
        let share =
            |sample: &Sample| (1.0 - sample.lost as f64 / sample.offered.max(1) as f64).into();
        case.samples(who).map(|samples| samples.iter().map(share).collect::<Vec<Sample>>())
    };
    let measured: Option<Spread> = share(FLOODED[which])
        .zip(share(ALONE[which]))
        .and_then(|(these, those)| ratio(&these, &those));
    Goal {
        what: format!("victims' delivered share: {} over {}", FLOODED[which], ALONE[which]),
        limit: Limit::AtLeast(0.98),
        measured,
    }
}

impl Street {
    fn new(bench: &Bench, profiles: bool) -> anyhow::Result<Self> {
        let mut fabric = Fabric::new(Underlay::Direct, &bench.sillon)?;
        let ports: Vec<String> = (0..OPERATORS).map(|number| format!("p{number}")).collect();
        let plug = |port: &String| Ok([fabric.plug(0, port)?, fabric.plug(1, port)?]);
        let wires = ports.iter().map(plug).collect::<anyhow::Result<Vec<_>>>()?;
        for edge in [0, 1] {
            let remote = fabric.vtep(1 - edge, Family::V4);
            let mut file = fabric.file(edge).profile("share").key("cir", PROFILE);
            for port in &ports {
                file = file.port(port, "access");
            }
            for (vni, port) in (VNI..).zip(&ports) {
                let name = format!("operator{port}-lan");
                file = file.segment(&name, vni, "lan", &[remote]).key("ageing", 1_000_000);
                file = file.attach(&name, port, "untagged");
                if profiles {
                    file = file.key("ingress", "\"share\"");
                }
            }
            fabric.edges[edge].start(&file)?;
        }
        let mut tracks = Vec::new();
        for [from, to] in &wires {
            tracks.push(Track::new(&bench.object, &from.netns, &to.netns, &[], 0)?);
        }
        for pair in &wires {
            introduce(pair, [&[], &[]])?;
            inhabit(&pair[0].netns, 1, 2)?;
            inhabit(&pair[1].netns, 2, 1)?;
        }
        Ok(Self { tracks, wires, _fabric: fabric })
    }

    fn round(&mut self, floods: bool, how_long: Duration) -> anyhow::Result<Vec<Sample>> {
        let Some((flooder, victims)) = self.tracks.split_first_mut() else {
            bail!("nobody lives here")
        };
        for track in &mut *victims {
            track.expect(LOAD)?;
        }
        let stop = AtomicBool::new(false);
        let [from, to] = &self.wires[1];
        let (sent, trips) = thread::scope(|scope| {
            let flooding = floods.then(|| scope.spawn(|| flooder.pace(LOAD, FLOOD, &stop)));
            let sending = scope.spawn(|| send(&self.wires[1..], &stop));
            let trips = round_trips(&from.netns, &to.netns, how_long);
            stop.store(true, Ordering::Relaxed);
            if let Some(flooding) = flooding {
                joined(flooding.join())?;
            }
            Ok::<_, anyhow::Error>((joined(sending.join())?, trips?))
        })?;
        // All that still comes has come after the first wait.
        let came = victims
            .iter_mut()
            .map(|victim| Ok(victim.wait()?.frames))
            .collect::<anyhow::Result<Vec<u64>>>()?;
        let sent = vec![sent; came.len()];
        samples(&sent, &came, &trips, how_long)
    }
}

/// Sends frames from each of these hosts in turn, from CPU 1, at the victims' rate; returns how
/// many from each.
fn send(wires: &[[Wire; 2]], stop: &AtomicBool) -> anyhow::Result<u64> {
    stay_on(1)?;
    let frame = Frame(frame(LOAD)?);
    let (started, mut sent) = (Instant::now(), 0_u64);
    while !stop.load(Ordering::Relaxed) {
        if (started.elapsed().as_secs_f64() * RATE) as u64 <= sent {
            thread::sleep(Duration::from_micros(50));
            continue;
        }
        for [from, _] in wires {
            from.send(&frame)?;
        }
        sent += 1;
    }
    Ok(sent)
}

fn samples(
    sent: &[u64],
    came: &[u64],
    trips: &Trips,
    how_long: Duration,
) -> anyhow::Result<Vec<Sample>> {
    let [offered, delivered]: [u64; 2] = [sent.iter().sum(), came.iter().sum()];
    let shares: Vec<f64> =
        came.iter().zip(sent).map(|(came, sent)| *came as f64 / (*sent).max(1) as f64).collect();
    let frames = Sample {
        value: delivered as f64 / how_long.as_secs_f64(),
        offered,
        lost: offered.saturating_sub(delivered),
    };
    let p99 = percentile(&trips.times, 0.99).context("no round trip was made")?;
    let p99 = Sample { value: p99, offered: trips.times.len() as u64, lost: trips.lost };
    Ok(vec![frames, p99, jain(&shares).unwrap_or(0.0).into()])
}
