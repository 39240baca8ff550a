//! What the operator of an attachment may send.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Control, Ethertype, MacAddr, OverLimit, Prefix, Trust};

/// The guards of an attachment. The default is what a rented server needs and no more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Guards {
    /// How many addresses it may have in the FDB, from 1.
    pub mac_limit: u32,
    /// What becomes of frames from one more.
    pub over_limit: OverLimit,
    /// The addresses that are its own and the only ones it has; none where it learns. No two
    /// attachments of a segment have one.
    pub macs: BTreeSet<MacAddr>,
    /// Whether what it learned stays there.
    pub sticky: bool,
    /// What it is trusted to be.
    pub trusted: BTreeSet<Trust>,
    /// What becomes of link-local control frames; [`Control::Tunnel`] only in a `line`,
    /// [`Control::Peer`] only without tags.
    pub control: Control,
    /// Its IP addresses; none where it may have any.
    pub prefixes: BTreeSet<Prefix>,
    /// What it may send; `None` where it may send anything.
    pub ethertypes: Option<BTreeSet<Ethertype>>,
}

impl Guards {
    /// The default of `mac_limit`.
    pub const DEFAULT_MAC_LIMIT: u32 = 64;
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            mac_limit: Self::DEFAULT_MAC_LIMIT,
            over_limit: OverLimit::Drop,
            macs: BTreeSet::new(),
            sticky: false,
            trusted: BTreeSet::new(),
            control: Control::Drop,
            prefixes: BTreeSet::new(),
            ethertypes: None,
        }
    }
}
