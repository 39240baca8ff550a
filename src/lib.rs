//! Sillon carves isolated layer-2 segments for competing operators out of shared ports.
// Allowed again only in the modules that wrap it.
#![deny(unsafe_code)]

mod admission;
pub mod agent;
pub mod api;
pub mod audit;
pub mod authz;
mod causes;
pub mod cli;
pub mod controller;
pub mod dataplane;
pub mod fabric;
mod files;
#[doc(hidden)]
pub mod fuzzing;
pub mod identity;
pub mod model;
pub mod net;
pub mod pki;
pub mod protocol;
pub mod service;
pub mod southbound;
pub mod store;
mod tls_listener;

/// What allocates memory in `sillon`. A controller's state is millions of small pieces that
/// come and go with every transaction: with glibc's a sixth of a transaction was spent on
/// these (docs/adr/0015-mimalloc.md).
pub use mimalloc::MiMalloc as Allocator;
