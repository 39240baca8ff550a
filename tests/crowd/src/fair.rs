//! How long one operator waits for a small change, alone and beside another that changes as much as
//! it is let.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::Context;
use futures::future::join_all;
use serde_json::{Value, json};
use sillon::{
    controller::SubmitError,
    fabric::{Actor, Change},
};

use crate::{
    fabric::{self, Size},
    site::{self, Loaded},
};

/// Who asks for much at the same time, and for how much each time: it makes so many profiles, and
/// takes them away again.
const ASKERS: usize = 16;
const CHANGES: usize = 100;
/// Between two small changes, and after an answer that there were too many.
const PAUSE: Duration = Duration::from_millis(5);

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Attachments that there are
    #[arg(long, default_value_t = 1_000)]
    attachments: u32,
    /// Nodes
    #[arg(long, default_value_t = 100)]
    nodes: u32,
    /// Turns
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Small changes of a turn, alone and beside the flood
    #[arg(long, default_value_t = 500)]
    changes: u32,
}

/// Measures.
///
/// # Errors
/// The fabric can't be made, or a change is refused.
pub fn run(options: &Options) -> anyhow::Result<Value> {
    site::runtime()?.block_on(measure(options))
}

async fn measure(options: &Options) -> anyhow::Result<Value> {
    let dir = tempfile::tempdir().context("a place for the store")?;
    let size = Size { nodes: options.nodes, attachments: options.attachments };
    let loaded = Loaded::new(&dir.path().join("fabric.db"), size).await?;
    let (mut alone, mut beside, mut flooded) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        alone.push(small(&loaded, options.changes).await?);
        let (stop, made) = (AtomicBool::new(false), AtomicU32::new(0));
        let began = Instant::now();
        let floods = join_all((0..ASKERS).map(|asker| flood(&loaded, asker, &stop, &made)));
        let measured = async {
            let measured = small(&loaded, options.changes).await;
            stop.store(true, Ordering::Relaxed);
            measured
        };
        let (measured, floods) = futures::join!(measured, floods);
        floods.into_iter().collect::<anyhow::Result<()>>()?;
        beside.push(measured?);
        flooded.push(f64::from(made.load(Ordering::Relaxed)) / began.elapsed().as_secs_f64());
    }
    loaded.close().await;
    Ok(json!({ "alone": alone, "beside": beside, "flooded": flooded }))
}

/// What 99 of 100 small changes are made within, in seconds.
async fn small(loaded: &Loaded, count: u32) -> anyhow::Result<f64> {
    let mut took = Vec::new();
    for number in 0..count {
        let changes = vec![profile("profile/o1/small", number)?];
        let began = Instant::now();
        loaded.submit_as(Actor::Operator("o1".parse()?), changes).await?;
        took.push(began.elapsed().as_secs_f64());
        tokio::time::sleep(PAUSE).await;
    }
    took.sort_by(f64::total_cmp);
    took.get((took.len() * 99).div_ceil(100).saturating_sub(1))
        .copied()
        .context("nothing was asked")
}

async fn flood(
    loaded: &Loaded,
    asker: usize,
    stop: &AtomicBool,
    made: &AtomicU32,
) -> anyhow::Result<()> {
    let mut comes = true;
    while !stop.load(Ordering::Relaxed) {
        let changes = (0..CHANGES).map(|number| {
            let key = format!("profile/o0/p{asker}-{number}");
            if comes { profile(&key, 0) } else { fabric::delete(&key) }
        });
        let changes = changes.collect::<anyhow::Result<Vec<Change>>>()?;
        match loaded.submit_as(Actor::Operator("o0".parse()?), changes).await {
            Ok(()) => {
                made.fetch_add(u32::try_from(CHANGES)?, Ordering::Relaxed);
                comes = !comes;
            }
            Err(SubmitError::TooMany(_)) => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn profile(key: &str, number: u32) -> anyhow::Result<Change> {
    fabric::put(key, &format!(r#"{{"cir":"{} Mbit/s"}}"#, number % 1000 + 1))
}
