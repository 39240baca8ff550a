//! The controller and its agents: the stream with agents that the test plays itself, and real nodes
//! on the rig.
// clippy allows `unwrap` in test functions by itself, but not in their helpers.
#![allow(clippy::unwrap_used)]

mod addresses;
mod bindings;
mod command;
#[path = "../common/mod.rs"]
mod common;
mod counters;
mod fair;
mod flapping;
#[allow(dead_code, reason = "shared with the tests of suppression")]
#[path = "../suppress/frames.rs"]
mod frames;
mod idle;
mod left_out;
mod nodes;
mod site;
mod stream;
