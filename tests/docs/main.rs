//! The documentation: that its links lead somewhere, that `docs/reference/` is what the code says,
//! and that every command of a tutorial works.
//!
//! `cargo xtask docs` runs the first two; `cargo xtask docs --write` writes `docs/reference/` anew.

#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

mod pages;
mod reference;
mod tutorial;

/// The checkout.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
