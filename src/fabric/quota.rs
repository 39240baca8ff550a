//! How much an operator may have, and how far it may decide: both are the owner's to say, on the
//! operator's object. What an operator has is counted here as well.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::bounds::{storm, within};
use crate::model::{BitRate, InvalidValue, Moves, Segment, StormControl};

/// How much an operator may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Segments.
    pub segments: u32,
    /// Attachments.
    pub attachments: u32,
    /// Addresses that its segments may learn together (`mac_limit`).
    pub macs: u64,
    /// Bandwidth profiles.
    pub profiles: u32,
    /// Prefixes of all attachments together.
    pub prefixes: u32,
    /// MACs that attachments list.
    pub listed_macs: u32,
    /// Ethertypes that attachments list.
    pub ethertypes: u32,
    /// Bindings of all attachments together.
    pub bindings: u32,
    /// VNIs and encapsulations that it gave up and nodes have yet to confirm. Beyond it nothing
    /// new is attached; to remove is always possible.
    pub tombstones: u32,
    /// Guaranteed bandwidth (CIR) of all attachments together, either way; where it is given, each
    /// attachment has profiles.
    pub bandwidth: Option<BitRate>,
    /// How much of it on one node.
    pub node: NodeQuota,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            segments: 100,
            attachments: 1000,
            macs: 100_000,
            profiles: 200,
            prefixes: 16_384,
            listed_macs: 8192,
            ethertypes: 16_384,
            bindings: 16_384,
            tombstones: 4096,
            bandwidth: None,
            node: NodeQuota::default(),
        }
    }
}

/// How much an operator may have on any one node. Profiles are not counted there: a node holds two
/// an attachment at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NodeQuota {
    /// Segments; as many as in the whole fabric if left out.
    pub segments: Option<u32>,
    /// Attachments; the same.
    pub attachments: Option<u32>,
    /// Addresses that its segments may learn; the same.
    pub macs: Option<u64>,
    /// Prefixes, and one for link-local addresses for each attachment that lists none of these.
    pub prefixes: u32,
    /// MACs that attachments list.
    pub listed_macs: u32,
    /// Ethertypes that attachments list.
    pub ethertypes: u32,
    /// Bindings.
    pub bindings: u32,
}

impl Default for NodeQuota {
    /// A sixteenth of what a node has room for if its limits are left out.
    fn default() -> Self {
        Self {
            segments: None,
            attachments: None,
            macs: None,
            prefixes: 2048,
            listed_macs: 1024,
            ethertypes: 2048,
            bindings: 2048,
        }
    }
}

/// How far an operator may decide what costs others: its default is what nobody but the operator
/// feels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ceiling {
    /// The largest MTU of its segments: whether the underlay carries more is the owner's to know.
    pub mtu: u16,
    /// The DSCPs that its tunnels may have besides 0: the underlay's queues are the owner's.
    pub dscp: BTreeSet<u8>,
    /// The most that storm control may let pass, for each attachment; null is no ceiling.
    pub storm: StormControl,
    /// How often in a minute an address may move for ever, as `moves` lets it: `limit` in the
    /// shorter of `window` and `freeze`. Null is as often as it likes, and `limit: 0`, which
    /// never freezes.
    pub moves: Option<u32>,
}

impl Default for Ceiling {
    fn default() -> Self {
        Self {
            mtu: Segment::DEFAULT_MTU,
            dscp: BTreeSet::new(),
            storm: StormControl::default(),
            moves: Some(100),
        }
    }
}

impl Ceiling {
    /// What is wrong with it by itself.
    pub(super) fn check(&self) -> Result<(), InvalidValue> {
        within("ceiling.mtu", self.mtu.into(), Segment::MTUS)?;
        for dscp in &self.dscp {
            within("ceiling.dscp", (*dscp).into(), Segment::DSCPS)?;
        }
        storm("ceiling.storm", &self.storm)
    }

    /// How often in a minute an address may move for ever; none where it is never frozen.
    pub(super) fn moves_a_minute(moves: &Moves) -> Option<u64> {
        let within = u64::from(moves.window).min(moves.freeze.into()).max(1);
        (moves.limit > 0).then(|| (u64::from(moves.limit) * 60).div_ceil(within))
    }
}

/// What attachments list, and nodes hold for them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lists {
    /// Prefixes.
    pub prefixes: u64,
    /// MACs.
    pub macs: u64,
    /// Ethertypes.
    pub ethertypes: u64,
    /// Bindings.
    pub bindings: u64,
}

impl Lists {
    /// Adds what others list, or takes it away.
    pub(super) fn change(&mut self, other: &Self, add: bool) {
        change(&mut self.prefixes, other.prefixes, add);
        change(&mut self.macs, other.macs, add);
        change(&mut self.ethertypes, other.ethertypes, add);
        change(&mut self.bindings, other.bindings, add);
    }
}

/// What an operator has, as quotas count it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Segments.
    pub segments: u64,
    /// Attachments.
    pub attachments: u64,
    /// Addresses that its segments may learn.
    pub macs: u64,
    /// Bandwidth profiles.
    pub profiles: u64,
    /// What its attachments list.
    pub lists: Lists,
    /// VNIs and encapsulations that it gave up, and nodes have yet to confirm.
    pub tombstones: u64,
    /// Bits a second that are guaranteed to what comes from its attachments.
    pub ingress: u64,
    /// The same for what goes to them.
    pub egress: u64,
}

impl Usage {
    /// Adds, or takes away.
    pub(super) fn change(&mut self, other: &Self, add: bool) {
        change(&mut self.segments, other.segments, add);
        change(&mut self.attachments, other.attachments, add);
        change(&mut self.macs, other.macs, add);
        change(&mut self.profiles, other.profiles, add);
        self.lists.change(&other.lists, add);
        change(&mut self.tombstones, other.tombstones, add);
        change(&mut self.ingress, other.ingress, add);
        change(&mut self.egress, other.egress, add);
    }
}

fn change(count: &mut u64, by: u64, add: bool) {
    *count = if add { count.saturating_add(by) } else { count.saturating_sub(by) };
}
