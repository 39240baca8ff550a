//! Frames that leave work to their device, rightly and not: the node does what the model says of
//! those that are right, and nothing comes of the others.

#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use sillon_model::fuzz::{
    bed::Hooks,
    run::{Options, run},
};

fn left_at(hooks: Hooks) {
    let (frames, corpus) = (Some(10_000), std::env::temp_dir());
    let options =
        Options { seed: 2, frames, time: None, corpus, hooks, left: 90, keeps_whole: false };
    let report = run(&options, &|_| ()).unwrap();
    if let Some((divergence, path)) = report.divergence {
        panic!("{}: {}", path.display(), divergence.what);
    }
    // A run that sends hardly any shows nothing.
    let (left, wrong) = (report.tally.left, report.tally.wrong);
    assert!(
        left > 1000 && wrong > 300 && left - wrong > 300,
        "{left} left work, {wrong} of them wrongly"
    );
    assert!(report.tally.seen > 1000, "{} frames were seen on wires", report.tally.seen);
}

#[test]
fn work_that_is_left_at_xdp() {
    left_at(Hooks::Xdp);
}

#[test]
fn work_that_is_left_at_tc() {
    left_at(Hooks::Tc);
}

#[test]
fn work_that_is_left_between_tc_and_xdp() {
    left_at(Hooks::Mixed);
}
