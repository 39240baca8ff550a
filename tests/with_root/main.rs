//! Tests that make network namespaces and load eBPF, for which they need root: `cargo test --test
//! with_root`, with `attacks::` or a part of a name behind it for some of them.
//!
//! They run in one process, as many at a time as there are CPUs. What belongs to a process belongs
//! to all of them: its environment, its folder, its limits, its signals. A test that needs another
//! starts a process of its own. Namespaces are a thread's: `Netns::enter`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something is wrong")]

mod attacks;
mod chaos;
mod common;
mod controller;
mod devices;
mod encapsulations;
mod failures;
mod hooks;
mod isolation;
mod jumbo;
mod kernel_vxlan;
mod large;
mod nested;
mod node;
mod own_tunnels;
mod owner;
mod package;
mod police;
mod policed;
mod services;
mod sizes;
mod store;
mod store_commands;
mod storm;
mod suppress;
mod tags;
mod tunnel;
mod verify;
