//! The forwarding database: which address is behind which endpoint of a segment (IEEE 802.1Q clause
//! 8.8).
//!
//! - `learn`: source addresses are learned where their frames come in;
//! - `moves`: who may use which address, and when one may move;
//! - `lookup`: where a frame goes;
//! - `inject`: what other nodes have learned, from the agent;
//! - `learn_events`: what is new, to the agent;
//! - `quota`: what a segment may have of a table that all share.

mod inject;
pub mod learn;
mod learn_events;
pub mod lookup;
pub mod moves;
pub mod quota;
