//! Several controllers on etcd, with nodes that have real dataplanes: what happens when one of them
//! dies or hangs, and what is left when all kinds of parts are killed, paused, cut off and given
//! another time at random, under changes by all roles.
//!
//! The random part runs for `SILLON_CHAOS_SECONDS`, with what `SILLON_CHAOS_SEED` makes: `cargo
//! xtask chaos --time 10m --seed N`.

mod ask;
mod captures;
mod clock;
mod faults;
mod judge;
mod load;
mod several;
mod world;

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use sillon_rig::Netns;

use crate::chaos::{
    ask::Asker,
    captures::{ALDER, BIRCH, Captures},
    faults::Faults,
    judge::{difference, read, unrest},
    load::Load,
    world::{PATIENCE, World},
};

/// How long the random part is, if nobody says how long.
const SECONDS: u64 = 40;

/// Does something where the cluster's clients are.
fn in_hub<T: Send>(hub: &Netns, work: impl AsyncFnOnce() -> T + Send) -> T {
    let done = hub.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(work()))
    });
    done.unwrap()
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}")))
}

#[test]
fn whatever_breaks_nothing_acknowledged_is_lost_and_no_frame_crosses() {
    let seed = from_environment("SILLON_CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let time = Duration::from_secs(from_environment("SILLON_CHAOS_SECONDS").unwrap_or(SECONDS));
    println!("seed {seed}, for {time:?}");
    let mut world = World::new();
    let hub = world.cluster.hub().clone();
    in_hub(&hub, async || load::build(&world).await);
    world.fabric.edges.iter_mut().for_each(|edge| edge.restart().unwrap());

    let load = Load::default();
    let askers = ["owner", "operator-alder", "operator-birch", "auditor"]
        .map(|stem| Asker::new(&world, stem));
    let captures = Captures::start(&world.hosts);
    let mut faults = Faults::new(seed);
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| in_hub(&hub, async || load::run(&load, &askers, seed).await));
        // Whatever ends this thread has to end the load, too.
        let ends = End(&load);
        let began = Instant::now();
        while began.elapsed() < time {
            faults.step(&mut world);
            assert!(!loading.is_finished(), "the load has ended");
            std::thread::sleep(Duration::from_millis(20));
        }
        faults.mend_all(&mut world);
        drop(ends);
        loading.join().unwrap();
    });
    let endpoints = world.cluster.endpoints();
    // Where all is well again, all comes to rest.
    let began = Instant::now();
    let records = loop {
        faults.keep_alive(&mut world);
        let records = in_hub(&hub, async || read(endpoints.clone()).await);
        let left = unrest(&records.state);
        if left.is_empty() {
            break records;
        }
        assert!(began.elapsed() < PATIENCE, "not at rest: {left:#?}");
        std::thread::sleep(Duration::from_millis(200));
    };
    println!("at rest after {:.1?}", began.elapsed());
    let heard = captures.stop();

    let (asked, transfers) =
        (load.asked.into_inner().unwrap(), load.transfers.load(Ordering::Relaxed));
    let entries = records.is_audited(&world);
    println!("{} commits, {entries} audit entries; broken: {:?}", records.log.len(), faults.counts);
    let known = asked.iter().filter(|asked| asked.is_known).count();
    println!(
        "{known} changes acknowledged, {} of unknown outcome, {} refused, {} times nobody was \
            there, {transfers} transfers",
        asked.len() - known,
        load.refused.load(Ordering::Relaxed),
        load.unheard.load(Ordering::Relaxed),
    );
    let frames: usize = heard.iter().map(Vec::len).sum();
    println!("{frames} frames were heard");
    assert_eq!(load.wrong.into_inner().unwrap(), Vec::<String>::new());
    records.is_one_history();
    records.has_all(&asked);
    assert_eq!(captures::crossings(&heard, transfers), Vec::<String>::new());
    for edge in 0..2 {
        assert_eq!(difference(&world, edge, &records.state), Vec::<String>::new(), "edge {edge}");
        let node = &world.fabric.edges[edge];
        let verified = node.sillon(&["verify", "--node", node.name()]).unwrap();
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    }
    // Or all of the above would say nothing.
    assert!(known as u64 > time.as_secs(), "that is no load");
    for hosts in [ALDER, BIRCH] {
        let at = |host: u8| &heard[usize::from(host) - 1];
        assert!(
            at(hosts[1]).iter().any(|(from, _)| *from == hosts[0]),
            "{hosts:?} never heard each other"
        );
    }
}

struct End<'l>(&'l Load);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.ends.store(true, Ordering::Relaxed);
    }
}
