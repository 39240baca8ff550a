//! The API on a real controller, a real store, real TLS and real sockets.
// clippy allows `unwrap` in test functions by itself, but not in their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod audit;
mod cli;
mod counters;
mod errors;
mod idle;
mod limits;
mod objects;
mod quotas;
mod secrets;
mod site;
mod trials;
mod watching;
