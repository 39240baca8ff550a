//! Why a transaction was refused.

use serde::Serialize;

use crate::fabric::Key;

/// Which rule does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The object is not what the change expects.
    Changed,
    /// The spec is wrong by itself.
    Spec,
    /// A name is too long or has a dot, so that two objects would be one on a node.
    Name,
    /// Something refers to what is not there.
    Dangling,
    /// A VNI is its operator's, and one segment's; one that was freed is nobody's until all nodes
    /// have confirmed.
    Vni,
    /// No frame of a port belongs to two attachments; an encapsulation that was freed is nobody's
    /// until its node has confirmed.
    Encap,
    /// An attachment needs an active lease of its operator on the server behind its port, or a
    /// grant on a handover port.
    Right,
    /// A server is under one lease.
    Lease,
    /// A port is one server's, and of the role that its use needs.
    Port,
    /// No two operators share VNIs or VIDs of a port.
    Pool,
    /// An operator has no more than its quota.
    Quota,
    /// Values of two objects have to agree.
    Agree,
    /// A node has room and a way for what is attached there.
    Room,
    /// What is on trial can be taken back, and each asker has one trial at a time.
    Trial,
    /// What is asked of a port or an uplink, its device can do, as far as its agent has said what
    /// that is.
    Device,
    /// What costs others is the owner's decision: an operator asks for no more than its and the
    /// port's ceilings let it.
    Ceiling,
}

/// A transaction that was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{message} ({help})")]
pub struct Refused {
    /// Which rule is against it.
    pub rule: Rule,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: String,
    /// The same for the owner, where an operator is told to ask the owner, or may not know how much
    /// a node has of what.
    #[serde(skip)]
    pub help_for_owner: Option<String>,
    /// The objects concerned. An operator may see them all if it may change the first.
    pub objects: Vec<Key>,
}

/// What would be right, told to whoever asks.
pub(super) struct Help {
    to_operator: String,
    to_owner: Option<String>,
}

impl Help {
    /// Tells the owner something else than operators: nobody is told to ask themselves.
    pub(super) fn by_role(to_operator: impl Into<String>, to_owner: impl Into<String>) -> Self {
        Self { to_operator: to_operator.into(), to_owner: Some(to_owner.into()) }
    }
}

impl<T: Into<String>> From<T> for Help {
    fn from(to_all: T) -> Self {
        Self { to_operator: to_all.into(), to_owner: None }
    }
}

pub(super) fn refuse<'k, T>(
    rule: Rule,
    message: impl Into<String>,
    help: impl Into<Help>,
    objects: impl IntoIterator<Item = &'k Key>,
) -> Result<T, Refused> {
    let Help { to_operator: help, to_owner: help_for_owner } = help.into();
    let objects = objects.into_iter().cloned().collect();
    Err(Refused { rule, message: message.into(), help, help_for_owner, objects })
}
