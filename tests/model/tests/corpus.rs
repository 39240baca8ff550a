//! Every case in which the programs once differed from the model, or a test of the fuzzer found
//! that they would, is tried again.

#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use std::{fs, path::Path};

use sillon_model::fuzz::{
    bed::{self, Hooks},
    case::{Act, Case},
    replay::replay,
};

/// Cases that are of frames alone which the kernel keeps from TC: `host-runt.txt`.
const ABOUT_XDP: usize = 1;

#[test]
fn no_difference_that_was_found_comes_back() {
    replay_all(Hooks::Xdp);
}

#[test]
fn no_difference_that_was_found_comes_back_at_tc() {
    replay_all(Hooks::Tc);
}

#[test]
fn no_difference_that_was_found_comes_back_between_tc_and_xdp() {
    replay_all(Hooks::Mixed);
}

fn replay_all(hooks: Hooks) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut paths: Vec<_> =
        fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", corpus.display());
    let is_taken =
        |act: &&Act| matches!(act, Act::Frame { device, bytes, .. } if hooks.takes(*device, bytes));
    let mut tried = 0;
    bed::with(hooks, |bed| {
        for path in &paths {
            let case = Case::parse(&fs::read_to_string(path)?)
                .map_err(|error| error.context(path.display().to_string()))?;
            match replay(bed, &case)? {
                Ok(frames) => {
                    let taken = case.acts.iter().filter(is_taken).count() as u64;
                    assert_eq!(frames, taken, "{}: not all frames were tried", path.display());
                    tried += u64::from(taken > 0);
                }
                Err((act, divergence)) => {
                    panic!("{}: act {act}: {}", path.display(), divergence.what)
                }
            }
        }
        Ok(())
    })
    .unwrap();
    let all = if hooks == Hooks::Xdp { paths.len() } else { paths.len() - ABOUT_XDP };
    assert_eq!(tried, all as u64, "cases with a frame that comes to the programs");
}
