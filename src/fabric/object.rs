//! Objects as they are kept: what was asked for, and what became of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use litemap::LiteMap;
use serde::{Deserialize, Serialize};

use super::{
    Key, Kind,
    spec::{
        AttachmentSpec, LeaseSpec, NodeSpec, OperatorSpec, PortSpec, ProfileSpec, SegmentSpec,
        ServerSpec, Spec,
    },
};
use crate::model::{Encap, InterfaceName, Limits, Name, Vni};

/// Counts the transactions, from 1; 0 is the empty fabric.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// The revision of the transaction that last changed what is asked of it. What agents report
    /// does not change it, so that it does not get in the way of who edits it.
    pub revision: Revision,
    /// What is known of it, by kind: two or three, for each of which a tree would have room for
    /// eleven.
    pub conditions: LiteMap<ConditionKind, Condition>,
    /// The rest.
    #[serde(flatten)]
    pub body: Body,
}

/// Spec and status of each kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Body {
    Operator { spec: OperatorSpec },
    Node(Node),
    Port { spec: PortSpec },
    Server { spec: ServerSpec },
    Lease(Lease),
    Profile { spec: ProfileSpec },
    Segment(Segment),
    Attachment(Attachment),
    Tombstone(Tombstone),
    Trial(Trial),
}

impl Body {
    /// The kind of object that it is of.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Operator { .. } => Kind::Operator,
            Self::Node(_) => Kind::Node,
            Self::Port { .. } => Kind::Port,
            Self::Server { .. } => Kind::Server,
            Self::Lease(_) => Kind::Lease,
            Self::Profile { .. } => Kind::Profile,
            Self::Segment(_) => Kind::Segment,
            Self::Attachment(_) => Kind::Attachment,
            Self::Tombstone(_) => Kind::Tombstone,
            Self::Trial(_) => Kind::Trial,
        }
    }

    /// What was asked for; nobody asks for a tombstone, and a trial comes with what is asked for.
    pub fn spec(&self) -> Option<Spec> {
        Some(match self {
            Self::Operator { spec } => Spec::Operator(spec.clone()),
            Self::Node(node) => Spec::Node(node.spec.clone()),
            Self::Port { spec } => Spec::Port(spec.clone()),
            Self::Server { spec } => Spec::Server(spec.clone()),
            Self::Lease(lease) => Spec::Lease(lease.spec.clone()),
            Self::Profile { spec } => Spec::Profile(spec.clone()),
            Self::Segment(segment) => Spec::Segment(segment.spec.clone()),
            Self::Attachment(attachment) => Spec::Attachment(Box::new(attachment.spec.clone())),
            Self::Tombstone(_) | Self::Trial(_) => return None,
        })
    }
}

/// What can be said of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConditionKind {
    /// It keeps every rule. It always does, or it would not be there.
    Accepted,
    /// Every node concerned has said that it applied it.
    Programmed,
    /// The node has read its maps back, and they hold what they should.
    Verified,
    /// The node has trouble with it; or, of a trial, a rule is against taking it back.
    Degraded,
}

/// Whether it is so, since when, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Whether it is so.
    pub is: bool,
    pub since: Timestamp,
    /// Why, in a sentence.
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub spec: NodeSpec,
    /// The last revision that its agent said it had applied.
    pub applied: Revision,
    /// Whether the owner has said that the machine is gone. Nothing is attached to such a node,
    /// and nobody waits for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// What its agent said last of the devices of its ports. Nothing is known of others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub devices: BTreeMap<InterfaceName, Device>,
    /// What its maps were made for, as its agent said last. They keep their size for as long as
    /// the node is up, whatever is asked of it since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_for: Option<Limits>,
}

impl Node {
    /// One whose agent has said nothing.
    pub(super) const fn new(spec: NodeSpec) -> Self {
        Self { spec, applied: Revision(0), gone: false, devices: BTreeMap::new(), made_for: None }
    }

    /// How much it holds: what is asked of it, and no more than its maps were made for.
    pub fn limits(&self) -> Limits {
        self.made_for.map_or(self.spec.limits, |made| made.min(self.spec.limits))
    }

    /// The least MTU of its uplinks, as far as it is known.
    pub fn uplink_mtu(&self) -> Option<u32> {
        let uplinks = self.devices.values().filter(|device| device.is_uplink);
        uplinks.map(|device| device.mtu).filter(|mtu| *mtu > 0).min()
    }
}

/// What a port's device is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its MTU, bytes of layer 3; 0 where there is no such device.
    pub mtu: u32,
    /// Its kind, as `ip -d link` shows it; empty for hardware.
    #[serde(default)]
    pub kind: String,
    /// Where its frames are seen to, `xdp` or `tc`; empty where they are not.
    #[serde(default)]
    pub hook: String,
    /// Whether its port faces the underlay.
    #[serde(default)]
    pub is_uplink: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    pub spec: LeaseSpec,
    /// How far it is.
    pub state: LeaseState,
    pub since: Timestamp,
    /// Whether the operator has accepted the offer.
    pub accepted: bool,
    /// While it drains: when what is still attached is detached.
    pub deadline: Option<Timestamp>,
    /// Whether the owner has confirmed that the quarantine may end.
    pub confirmed: bool,
}

/// How far a lease is; it only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaseState {
    /// The owner offers it. It becomes active when the operator has accepted, its time has come,
    /// and the server is nobody's.
    Offered,
    /// The operator may attach segments to the server's ports.
    Active,
    /// What is attached may stay until the deadline; nothing more may be attached.
    Draining,
    /// Nothing is attached. It lasts until every node has confirmed, and the owner has, or enough
    /// time has passed.
    Quarantined,
    /// It is over.
    Released,
}

impl LeaseState {
    /// Whether the server is this lease's and nobody else's.
    pub const fn holds_server(self) -> bool {
        matches!(self, Self::Active | Self::Draining | Self::Quarantined)
    }

    /// Whether segments may stay attached.
    pub const fn carries(self) -> bool {
        matches!(self, Self::Active | Self::Draining)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    pub spec: SegmentSpec,
    /// Its VNI: the one asked for, or one that was drawn.
    pub vni: Vni,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    pub spec: AttachmentSpec,
    /// Its encapsulation: the one asked for, or one with a VID that was drawn.
    pub encap: Encap,
}

impl Attachment {
    /// Whether the same frames belong to the same segment as before: nothing is freed.
    pub(super) fn stays(&self, was: &Self) -> bool {
        self.spec.port == was.spec.port
            && self.encap == was.encap
            && self.spec.segment == was.spec.segment
    }
}

/// What a node has yet to confirm that it gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// Whose it was.
    pub operator: Name,
    /// The segment that it was of.
    pub segment: Name,
    /// The revision that freed it, which the node has to apply.
    pub freed: Revision,
}

/// What a transaction changed, which is taken back if nobody confirms it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    pub deadline: Timestamp,
    /// The objects, and what they were.
    pub restores: BTreeMap<Key, Restore>,
}

impl Trial {
    /// How many seconds it may last.
    pub const LONGEST: u32 = 24 * 60 * 60;
}

/// What an object is taken back to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restore {
    /// What it was, if it was there.
    pub before: Option<Body>,
    /// Whether the transaction left it there.
    pub there: bool,
}
