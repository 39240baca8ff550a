//! The API on a real controller, a real store, real TLS and real sockets.

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
