//! The forwarding model. A frame takes the steps of docs/explanation/pipeline.md, a file each:
//!
//! ```text
//! classify | tunnel → inner → guard → ecn → police → bridge (guard::mac) → suppress
//!
//! suppress ─┬─ known ────→ police → send
//!           ├─ for many ─→ storm → flood → police → send
//!           └─ answered ─→ police → back
//! ```
//!
//! A frame is dropped for the first reason that it meets on this way. Nothing is remembered but the
//! FDB and the bindings: that the programs cache decisions must change nothing. What the documents
//! leave open is left open here, too: which UDP source port and which of several paths a flow takes
//! ([`flow`]).

pub mod bridge;
pub mod classify;
pub mod counts;
pub mod ecn;
pub mod flow;
pub mod frame;
pub mod guard;
pub mod node;
pub mod outcome;
pub mod police;
pub mod send;
pub mod suppress;
#[cfg(test)]
mod tests;
pub mod tunnel;

pub use counts::{Address, Counts, Held, Traffic};
pub use node::{Device, Node, Way};
pub use outcome::{Copy, Flood, Place, Scope, Verdict};
