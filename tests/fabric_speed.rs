//! How many transactions a second there are, and whether that depends on how much is attached. Run it with the machine for itself:
//!
//!     cargo test --release --test fabric_speed -- --ignored --nocapture
//!
//! Sizes take turns, since a machine's speed changes from minute to minute; what counts is the ratio within a round.
// clippy allows `unwrap` in test functions by itself, but not in their helpers.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sillon::controller::{Controller, Request, Settings};
use sillon::fabric::{Actor, Change, Expect, LeaseStep, State, Transaction, transact};
use sillon::store::{Embedded, Store};

const SIZES: [u32; 3] = [1_000, 10_000, 100_000];
const ROUNDS: usize = 5;
/// Transactions of one turn without a store.
const PURE: u32 = 2_000;
/// How long a turn with a store takes.
const TURN: Duration = Duration::from_secs(2);
/// Who asks at the same time.
const ASKERS: usize = 256;

const OPERATORS: u32 = 20;
const NODES: u32 = 100;
/// Attachments of a segment.
const POINTS: u32 = 10;

fn put(key: &str, kind: &str, spec: &str) -> Change {
    let spec = serde_json::from_str(&format!(r#"{{"kind":"{kind}","spec":{spec}}}"#)).unwrap();
    Change::Put(key.parse().unwrap(), spec, Expect::Any)
}

fn attach(operator: u32, name: &str, segment: u32, node: u32, vid: u32) -> Change {
    let spec = format!(r#"{{"segment":"s{segment}","port":"n{node}/p{operator}","encap":"dot1q {vid}"}}"#);
    put(&format!("attachment/o{operator}/{name}"), "attachment", &spec)
}

fn detach(operator: u32, name: &str) -> Change {
    Change::Delete(format!("attachment/o{operator}/{name}").parse().unwrap(), Expect::Any)
}

/// Each operator has a server at each node; a segment is on ten nodes.
fn site() -> Vec<Change> {
    let mut all = Vec::new();
    for operator in 0..OPERATORS {
        let first = operator * 100_000 + 1;
        let quota = r#"{"segments":1000000,"attachments":1000000,"macs":4000000000}"#;
        let spec = format!(r#"{{"vnis":[[{first},{}]],"quota":{quota}}}"#, first + 99_998);
        all.push(put(&format!("operator/o{operator}"), "operator", &spec));
    }
    for node in 0..NODES {
        let limits = r#"{"attachments":1000000,"segments":1000000,"remotes":1000,"fdb":16777216}"#;
        let spec = format!(r#"{{"vtep":["10.9.0.{}"],"limits":{limits}}}"#, node + 1);
        all.push(put(&format!("node/n{node}"), "node", &spec));
        all.push(put(&format!("port/n{node}/up0"), "port", r#"{"role":"uplink"}"#));
        for operator in 0..OPERATORS {
            let server = format!("n{node}-{operator}");
            all.push(put(&format!("port/n{node}/p{operator}"), "port", r#"{"role":"access"}"#));
            let ports = format!(r#"{{"ports":["n{node}/p{operator}"]}}"#);
            all.push(put(&format!("server/{server}"), "server", &ports));
            let lease = format!("lease/o{operator}/l{node}");
            all.push(put(&lease, "lease", &format!(r#"{{"server":"{server}"}}"#)));
            let sillon::fabric::Key::Lease(owned) = lease.parse().unwrap() else { unreachable!() };
            all.push(Change::Lease(owned, LeaseStep::Accept));
        }
    }
    all
}

fn attachments(size: u32) -> Vec<Change> {
    let mut all = Vec::new();
    for segment in 0..size / POINTS {
        let operator = segment % OPERATORS;
        let spec = r#"{"service":"lan","mac_limit":16}"#;
        all.push(put(&format!("segment/o{operator}/s{segment}"), "segment", spec));
        let of_operator = segment / OPERATORS;
        for point in 0..POINTS {
            let (node, vid) = ((of_operator * POINTS + point) % NODES, of_operator * POINTS / NODES + 1);
            all.push(attach(operator, &format!("a{segment}-{point}"), segment, node, vid));
        }
    }
    all
}

/// What comes next: an attachment somewhere, with a VID that was not in use there, and its end.
struct Next {
    size: u32,
    count: AtomicU64,
}

impl Next {
    fn pair(&self) -> [Change; 2] {
        let count = u32::try_from(self.count.fetch_add(1, Ordering::Relaxed)).unwrap();
        let random = count.wrapping_mul(2_654_435_761);
        let segment = random % (self.size / POINTS);
        let (operator, node) = (segment % OPERATORS, count % NODES);
        let name = format!("x{count}");
        // Every port comes again after as many as there are nodes, with another VID.
        [attach(operator, &name, segment, node, 200 + count / NODES % 3800), detach(operator, &name)]
    }
}

fn transaction(changes: Vec<Change>, seed: u64) -> Transaction {
    Transaction { who: Actor::Owner, when: Timestamp::from_second(1_000_000).unwrap(), seed, changes }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Prints the medians, and gives how much slower the slowest size is in the median round.
fn report(what: &str, rates: &[Vec<f64>]) -> f64 {
    for (size, rates) in SIZES.iter().zip(rates) {
        let (least, most) =
            rates.iter().fold((f64::MAX, 0.0_f64), |(a, b), rate| (a.min(*rate), b.max(*rate)));
        let middle = median(rates.clone());
        println!("{what}, {size} attachments: {middle:.0} transactions/s (from {least:.0} to {most:.0})");
    }
    let ratios = (0..ROUNDS).map(|round| {
        let of_round = rates.iter().map(|rates| rates[round]);
        of_round.clone().fold(0.0, f64::max) / of_round.fold(f64::MAX, f64::min)
    });
    let ratio = median(ratios.collect());
    println!(
        "{what}: the fastest size is {ratio:.2} times as fast as the slowest, in the median of {ROUNDS} rounds"
    );
    ratio
}

#[test]
#[ignore = "it measures, for a minute, and means nothing beside other work"]
fn transactions_a_second_without_a_store() {
    let mut fabrics = SIZES.map(|size| {
        let mut state = State::default();
        for (seed, changes) in
            [site()].into_iter().chain(attachments(size).chunks(1000).map(<[_]>::to_vec)).enumerate()
        {
            state = transact(&state, &transaction(changes, seed as u64)).unwrap().state;
        }
        (state, Next { size, count: AtomicU64::new(0) })
    });
    let mut rates = vec![Vec::new(); SIZES.len()];
    for _ in 0..ROUNDS {
        for (index, (state, next)) in fabrics.iter_mut().enumerate() {
            let began = Instant::now();
            for _ in 0..PURE / 2 {
                for change in next.pair() {
                    *state = transact(state, &transaction(vec![change], 7)).unwrap().state;
                }
            }
            rates[index].push(f64::from(PURE) / began.elapsed().as_secs_f64());
        }
    }
    report("without a store", &rates);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures, for a minute, and means nothing beside other work"]
async fn transactions_a_second_in_the_embedded_store() {
    let dir = tempfile::tempdir().unwrap();
    let request = |changes| Request { who: Actor::Owner, changes, dry_run: false };
    let mut fabrics = Vec::new();
    for size in SIZES {
        let store = Embedded::open(&dir.path().join(format!("{size}.db"))).unwrap();
        let settings = Settings { tick: Duration::from_secs(3600), ..Settings::default() };
        let controller = Controller::open(store, settings).await.unwrap();
        controller.submit(request(site())).await.unwrap();
        for changes in attachments(size).chunks(1000) {
            controller.submit(request(changes.to_vec())).await.unwrap();
        }
        fabrics.push((controller, Next { size, count: AtomicU64::new(0) }));
    }
    let mut rates = vec![Vec::new(); SIZES.len()];
    for _ in 0..ROUNDS {
        for (index, (controller, next)) in fabrics.iter().enumerate() {
            let before = controller.store().version().await.unwrap().0;
            let began = Instant::now();
            let askers = (0..ASKERS).map(|_| async {
                while began.elapsed() < TURN {
                    for change in next.pair() {
                        controller.submit(request(vec![change])).await.unwrap();
                    }
                }
            });
            futures::future::join_all(askers).await;
            let elapsed = began.elapsed().as_secs_f64();
            let made = controller.store().version().await.unwrap().0 - before;
            rates[index].push(made as f64 / elapsed);
        }
    }
    report("durable", &rates);
}
