//! Tests that need no root: `cargo test --test without_root`. They run the real binary on files,
//! and a real controller on sockets of 127.0.0.1.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something is wrong")]

mod api;
mod buckets;
mod check;
mod trust;
