//! The controller and its agents: the stream with agents that the test plays itself, and real nodes on the rig.
// clippy allows `unwrap` in test functions by itself, but not in their helpers.
#![allow(clippy::unwrap_used)]

mod addresses;
mod command;
#[path = "../common/mod.rs"]
mod common;
mod counters;
mod nodes;
mod site;
mod stream;
