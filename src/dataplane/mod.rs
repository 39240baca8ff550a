//! The kernel half, seen from userspace: `compile` says what the tables should hold, `diff` in which steps they get there, `maps` and
//! `links` do it.

mod barrier;
pub mod compile;
mod compile_guards;
mod detach;
pub mod diff;
mod error;
pub mod links;
pub mod maps;
mod maps_fdb;
pub mod names;
pub mod object;
pub mod paths;
pub mod pins;
pub mod sizes;
pub mod tables;
mod take;
pub mod verify;
mod verify_guards;
pub mod view;
pub mod view_guards;

#[cfg(test)]
mod properties;

pub use error::DataplaneError;
pub use maps_fdb::Walk;
