//! The whole fabric as values: who rents what, which segments are where, and what every node shall
//! do.
//!
//! A [`State`] keeps every rule at every revision. [`transact`] is the only way from one to the
//! next: it gives the next state, or says which rule is against it, and knows neither clock, chance
//! nor store; these come with the [`Transaction`]. [`desired`] is what one node's file would
//! say. Copies of a state are cheap: they share what is the same.
#![forbid(unsafe_code)]

mod affected;
mod bounds;
mod key;
mod map;
mod node_usage;
mod object;
mod pending_index;
mod pool;
mod project;
mod quota;
mod spec;
mod state;
#[cfg(test)]
mod tests;
mod transact;

pub use affected::{Affected, affected_nodes};
pub use key::{Freed, Key, Kind, Learned, Owned, PortKey};
pub use node_usage::NodeUsage;
pub use object::{
    Attachment, Body, Condition, ConditionKind, Device, Lease, LeaseState, Node, Object, Restore,
    Revision, Segment, Tombstone, Trial,
};
pub use pool::Ranges;
pub use project::{FileTables, ProjectError, Purge, desired, desired_tables, joined, purges};
pub(crate) use project::{attachment_at, is_attached, macs_at, remote};
pub use quota::{Ceiling, Lists, NodeQuota, Quota, Usage};
pub use spec::{
    AttachmentSpec, EncapWish, Grant, LeaseSpec, NodeSpec, OperatorSpec, PortSpec, ProfileSpec,
    SegmentSpec, ServerSpec, Spec,
};
pub use state::State;
pub use transact::{
    Actor, Change, Event, Expect, LeaseStep, LeftOut, Outcome, Refused, Report, Rule, Seen,
    Transaction, restore_checked, transact,
};
