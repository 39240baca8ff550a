//! How fast a node is told: things installed in a second, and how long a large node takes to reload
//! and to be taken over.

use std::{
    cell::RefCell,
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use aya::{EbpfLoader, maps::HashMap};
use sillon_rig::{Fabric, Family, NodeFile, Underlay, Wire};

use crate::{
    outcome::{Goal, Limit, Outcome, SECONDS, Sample, THOUSANDS},
    rigs::{
        line::{VNI, introduce},
        load::{Load, To, Track},
        trips::joined,
    },
    stats::Spread,
    turns::{Bench, Turn},
};

const LOAD: Load = Load { bytes: 64, flows: 16, to: To::Sink };
/// Frames a second that pass meanwhile; a tenth of what one CPU forwards, so that what is lost is
/// lost to the change.
const RATE: f64 = 100_000.0;
/// Attachments of a segment, and addresses and remotes of an attachment or segment.
const IN_A_SEGMENT: u32 = 100;
/// The most addresses of a segment: a thousand segments of them fit the node.
const MACS_OF_A_SEGMENT: u32 = 1000;
const BARE: &str = "map writes";

/// A node that switches between two hosts while it is told of others.
struct Told {
    fabric: Fabric,
    track: Track,
    _wires: [Wire; 3],
    attachments: u32,
}

/// What is installed on a node besides the two hosts.
#[derive(Clone, Copy)]
enum Things {
    Nothing,
    Attachments { changed: bool },
    Addresses(u32),
    Remotes(u32),
}

impl Told {
    fn new(bench: &Bench, attachments: u32) -> anyhow::Result<Self> {
        let mut fabric = Fabric::new(Underlay::Direct, &bench.sillon)?;
        let wires = [fabric.plug(0, "p0")?, fabric.plug(0, "p1")?];
        let crowd = fabric.plug(0, "p2")?;
        let far = fabric.vtep(1, Family::V4);
        fabric.edges[0].netns.ip(&format!("route add 10.100.0.0/16 via {far}"))?;
        let told = file(&fabric, Things::Nothing, attachments);
        fabric.edges[0].start(&told)?;
        introduce(&wires, [&[], &[]])?;
        let track = Track::new(&bench.object, &wires[0].netns, &wires[1].netns, &[], 0)?;
        let [from, to] = wires;
        Ok(Self { fabric, track, _wires: [from, to, crowd], attachments })
    }

    fn reload(&self, things: Things) -> anyhow::Result<Duration> {
        let file = file(&self.fabric, things, self.attachments);
        let node = &self.fabric.edges[0];
        node.write(&file)?;
        let started = Instant::now();
        let output = node.sillon(&["agent", "reload", "--node", node.name()])?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(started.elapsed())
    }

    /// Things a second, from nothing to so many.
    fn install(&self, things: Things, count: u32) -> anyhow::Result<Vec<Sample>> {
        self.reload(Things::Nothing)?;
        let took = self.reload(things)?;
        Ok(vec![(f64::from(count) / took.as_secs_f64()).into()])
    }

    /// How long a change takes, and what is lost meanwhile.
    fn meanwhile(
        &mut self,
        change: impl FnOnce(&mut Fabric) -> anyhow::Result<Duration>,
    ) -> anyhow::Result<Vec<Sample>> {
        let Self { fabric, track, .. } = self;
        track.expect(LOAD)?;
        let stop = AtomicBool::new(false);
        let (offered, took) = thread::scope(|scope| {
            let load = scope.spawn(|| track.pace(LOAD, RATE, &stop));
            thread::sleep(Duration::from_millis(20));
            let took = change(fabric);
            stop.store(true, Ordering::Relaxed);
            Ok::<_, anyhow::Error>((joined(load.join())?, took?))
        })?;
        let delivered = track.wait()?.frames;
        let lost = offered.saturating_sub(delivered);
        Ok(vec![Sample { value: took.as_secs_f64(), offered, lost }])
    }
}

fn file(fabric: &Fabric, things: Things, room: u32) -> NodeFile {
    let file = fabric.file(0).port("p0", "access").port("p1", "access").port("p2", "access");
    // The sizes of maps stand under [node], so before the ports.
    let sizes = format!(
        "max_attachments = {}\nmax_segments = {}\nmax_fdb = 1200000\nmax_remotes = 10100\n",
        room + 16,
        room / IN_A_SEGMENT + 200
    );
    let file = file.with_node_keys(&sizes);
    let file = file.segment("bench-lan", VNI, "lan", &[]).key("ageing", 1_000_000);
    let file = file.attach("bench-lan", "p0", "untagged").attach("bench-lan", "p1", "untagged");
    let segment = |file: NodeFile, number: u32, remotes: &[&str]| {
        file.segment(&format!("crowd{number}-lan"), VNI + 1 + number, "lan", remotes)
            .key("mac_limit", MACS_OF_A_SEGMENT)
    };
    let attach = |file: NodeFile, number: u32, of: u32| {
        let encap = format!("qinq {}.{}", number / 4000 + 1, number % 4000 + 1);
        file.attach(&format!("crowd{of}-lan"), "p2", &encap)
    };
    match things {
        Things::Nothing => file,
        Things::Attachments { changed } => (0..room).fold(file, |file, number| {
            let of = number / IN_A_SEGMENT;
            let file = if number % IN_A_SEGMENT == 0 { segment(file, of, &[]) } else { file };
            let file = attach(file, number, of);
            if changed && number == room / 2 { file.key("mac_limit", 63) } else { file }
        }),
        Things::Addresses(count) => (0..count / 1000).fold(file, |file, number| {
            let macs = (0..1000_u32).map(|mac| {
                let [_, _, a, b] = mac.to_be_bytes();
                format!("\"02:01:{:02x}:{:02x}:{a:02x}:{b:02x}\"", number / 256, number % 256)
            });
            let macs = format!("[{}]", macs.collect::<Vec<_>>().join(", "));
            attach(segment(file, number, &[]), number, number).key("macs", macs)
        }),
        Things::Remotes(count) => (0..count / IN_A_SEGMENT).fold(file, |file, number| {
            let numbers = number * IN_A_SEGMENT..(number + 1) * IN_A_SEGMENT;
            let remotes: Vec<String> = numbers
                .map(|number| format!("10.100.{}.{}", number / 250, number % 250 + 1))
                .collect();
            segment(file, number, &remotes.iter().map(String::as_str).collect::<Vec<_>>())
        }),
    }
}

/// Entries a second that userspace writes to a hash of this size, one call each.
fn map_writes(bench: &Bench, count: u32) -> anyhow::Result<Vec<Sample>> {
    let bytes = fs::read(&bench.object)?;
    let mut ebpf = EbpfLoader::new().map_max_entries("SCRATCH", count).load(&bytes)?;
    let map = ebpf.map_mut("SCRATCH").context("no SCRATCH")?;
    let mut map = HashMap::<_, [u64; 2], [u64; 4]>::try_from(map)?;
    let started = Instant::now();
    for number in 0..u64::from(count) {
        map.insert([number, 1], [number; 4], 0)?;
    }
    Ok(vec![(f64::from(count) / started.elapsed().as_secs_f64()).into()])
}

/// Measures.
///
/// # Errors
/// A rig can't be made, or an agent refuses.
pub fn run(bench: &Bench) -> anyhow::Result<Outcome> {
    let (attachments, addresses, remotes) =
        bench.pick((1000, 2000, 100), (10_000, 20_000, 1000), (100_000, 200_000, 10_000));
    bench.say("building: a node to be told");
    let told = RefCell::new(Told::new(bench, attachments)?);
    let turns = vec![
        Turn::new(BARE, || map_writes(bench, attachments)),
        Turn::new("attachments", || {
            told.borrow().install(Things::Attachments { changed: false }, attachments)
        }),
        Turn::new("FDB entries", || told.borrow().install(Things::Addresses(addresses), addresses)),
        Turn::new("remotes", || told.borrow().install(Things::Remotes(remotes), remotes)),
    ];
    let mut cases = bench.take_turns("installed by a reload", &[("", THOUSANDS)], turns)?;
    told.borrow().reload(Things::Attachments { changed: false })?;
    let changed = std::cell::Cell::new(false);
    let again = || {
        told.borrow_mut().meanwhile(|fabric| {
            let started = Instant::now();
            fabric.edges[0].kill()?;
            fabric.edges[0].restart()?;
            Ok(started.elapsed())
        })
    };
    let one = || {
        changed.set(!changed.get());
        let things = Things::Attachments { changed: changed.get() };
        let file = file(&told.borrow().fabric, things, attachments);
        told.borrow_mut().meanwhile(|fabric| {
            let node = &fabric.edges[0];
            node.write(&file)?;
            let started = Instant::now();
            let output = node.sillon(&["agent", "reload", "--node", node.name()])?;
            anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Ok(started.elapsed())
        })
    };
    let turns = vec![Turn::new("reload, one changed", one), Turn::new("taken over", again)];
    cases.extend(bench.take_turns(
        &format!("{attachments} attachments"),
        &[("", SECONDS)],
        turns,
    )?);
    let goals = goals(&cases, attachments);
    Ok(Outcome {
        suite: "program",
        title: "How fast a node is told, by `sillon agent reload`, from the command to its answer",
        cases,
        references: vec![BARE],
        goals,
        notes: vec![format!(
            "{BARE}: entries as large as the FDB's, one bpf(2) call each, by the benchmark \
                itself. A reload reads and checks the file, reads the maps back, compares and \
                writes; all of it is in its time. Lost: of {RATE} frames/s between two other attachments meanwhile."
        )],
    })
}

fn goals(cases: &[crate::outcome::Case], attachments: u32) -> Vec<Goal> {
    let measured = |case: usize, who: &str| cases[case].spread(who);
    let lost =
        cases[1].losses("reload, one changed").and_then(|(_, lost)| Spread::of([lost as f64]));
    vec![
        Goal {
            what: "FDB entries installed in a second".to_owned(),
            limit: Limit::AtLeast(500_000.0),
            measured: measured(0, "FDB entries"),
        },
        Goal {
            what: format!("{attachments} attachments, one changed: seconds"),
            limit: Limit::AtMost(1.0),
            measured: measured(1, "reload, one changed"),
        },
        Goal {
            what: format!("{attachments} attachments, one changed: frames lost elsewhere"),
            limit: Limit::AtMost(0.0),
            measured: lost,
        },
    ]
}
