//! The kernel half, seen from userspace: `compile` says what the tables should hold, `diff` in
//! which steps they get there, `maps` and `links` do it.

pub mod applied;
mod barrier;
mod bpf_syscall;
pub mod btf;
pub mod clock;
pub mod compile;
pub mod cookies;
pub mod detach;
pub mod diff;
mod error;
pub mod hooks;
pub mod inject;
pub mod learn_events;
pub mod left_out;
pub mod links;
pub mod loader;
pub mod maps;
pub mod names;
pub mod paths;
pub mod pins;
pub mod rates;
pub mod room;
pub mod sizes;
pub mod tables;
pub mod verify;
pub mod view;

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod testing;

pub use error::DataplaneError;
