//! What agents and controller say to each other: `proto/agent.proto` as Rust, and a node's file in
//! parts.
#![forbid(unsafe_code)]

mod host;
mod parts;

pub use self::{
    host::{bytes, host},
    parts::{Digest, Parts},
};

/// Made by `build.rs`.
#[allow(clippy::all, reason = "generated; `proto/agent.proto` says what is what")]
pub mod pb {
    tonic::include_proto!("sillon.agent.v1");
}

/// The longest update, bytes: a node's file as large as one may be, and its wrapping.
pub const LONGEST_UPDATE: usize = 65 << 20;
/// The longest that an agent may say.
pub const LONGEST_REPORT: usize = 1 << 20;
/// What a controller says to a node whose certificate was revoked, so that its agent knows it from
/// all else that ends a stream.
pub const REVOKED: &str = "this node's certificate was revoked";
