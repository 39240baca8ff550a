//! How many transactions a second there are, and whether that depends on how much is attached.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures::future::try_join_all;
use jiff::Timestamp;
use serde_json::{Value, json};
use sillon::fabric::{Actor, State, Transaction, transact};

use crate::{
    fabric::{Size, Visits},
    site::{self, Loaded},
};

/// Who asks at the same time.
const ASKERS: usize = 256;

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Attachments, a fabric each
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000])]
    attachments: Vec<u32>,
    /// Nodes of each
    #[arg(long, default_value_t = 1_000)]
    nodes: u32,
    /// Turns of each
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// How long a turn takes, in milliseconds
    #[arg(long, default_value_t = 1_500)]
    milliseconds: u64,
    /// Only the rules, without a store
    #[arg(long)]
    pure: bool,
}

/// Sizes take turns, since a machine's speed changes from minute to minute.
///
/// # Errors
/// A fabric can't be made.
pub fn run(options: &Options) -> anyhow::Result<Value> {
    let sizes: Vec<Size> = options
        .attachments
        .iter()
        .map(|&attachments| Size { nodes: options.nodes, attachments })
        .collect();
    let time = Duration::from_millis(options.milliseconds);
    if options.pure {
        return pure(&sizes, options.rounds, time);
    }
    site::runtime()?.block_on(durable(&sizes, options.rounds, time))
}

/// A turn's figures of each size.
fn told(sizes: &[Size], rates: &[Vec<f64>]) -> Value {
    let all = sizes.iter().zip(rates);
    all.map(|(size, rates)| json!({ "attachments": size.attachments, "rates": rates })).collect()
}

fn pure(sizes: &[Size], rounds: u32, time: Duration) -> anyhow::Result<Value> {
    let mut fabrics = Vec::new();
    for &size in sizes {
        let mut state = State::default();
        for changes in site::changes(size)? {
            state = step(&state, changes)?;
        }
        fabrics.push((state, Visits::new(size)));
    }
    let mut rates = vec![Vec::new(); sizes.len()];
    for _ in 0..rounds {
        for ((state, visits), rates) in fabrics.iter_mut().zip(&mut rates) {
            let (began, mut made) = (Instant::now(), 0);
            while began.elapsed() < time {
                let visit = visits.next()?;
                for change in [visit.attach, visit.detach] {
                    *state = step(state, vec![change])?;
                    made += 1;
                }
            }
            rates.push(f64::from(made) / began.elapsed().as_secs_f64());
        }
    }
    Ok(told(sizes, &rates))
}

fn step(state: &State, changes: Vec<sillon::fabric::Change>) -> anyhow::Result<State> {
    let transaction =
        Transaction { who: Actor::Owner, when: Timestamp::now(), seed: fastrand::u64(..), changes };
    Ok(transact(state, &transaction)?.state)
}

/// By a controller that writes its audit log, too, and signs each of its entries.
async fn durable(sizes: &[Size], rounds: u32, time: Duration) -> anyhow::Result<Value> {
    let dir = tempfile::tempdir().context("a place for the stores")?;
    let mut fabrics = Vec::new();
    for &size in sizes {
        let loaded =
            Loaded::new(&dir.path().join(format!("{}.db", size.attachments)), size).await?;
        fabrics.push((loaded, Visits::new(size)));
    }
    let mut rates = vec![Vec::new(); sizes.len()];
    for _ in 0..rounds {
        for ((loaded, visits), rates) in fabrics.iter().zip(&mut rates) {
            let (began, before) = (Instant::now(), loaded.version().await?);
            let askers = (0..ASKERS).map(|_| async {
                while began.elapsed() < time {
                    let visit = visits.next()?;
                    loaded.submit(vec![visit.attach]).await?;
                    loaded.submit(vec![visit.detach]).await?;
                }
                anyhow::Ok(())
            });
            try_join_all(askers).await?;
            rates.push((loaded.version().await? - before) as f64 / began.elapsed().as_secs_f64());
        }
    }
    Ok(told(sizes, &rates))
}
