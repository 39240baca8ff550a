//! How large the maps are, from a node's limits.

use std::fmt;

use sillon_abi::map;

use crate::model::Limits;

/// The most ports of a node; there can hardly be more devices.
const PORTS: u32 = 4096;

/// A node's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Attachments.
    pub attachments: u32,
    /// Segments.
    pub segments: u32,
    /// Remote VTEPs.
    pub remotes: u32,
    /// FDB entries of all segments together.
    pub fdb: u32,
}

impl From<Limits> for Sizes {
    fn from(limits: Limits) -> Self {
        let Limits { attachments, fdb, remotes, segments } = limits;
        Self { attachments, segments, remotes, fdb }
    }
}

/// In the words of a node's file.
impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attachments, segments, remotes, fdb } = self;
        write!(
            f,
            "max_attachments = {attachments}, max_segments = {segments}, max_remotes = {remotes}, \
             max_fdb = {fdb}"
        )
    }
}

impl Sizes {
    /// Remotes of all segments together: each is one accepted tunnel source and one place in a
    /// flood list.
    pub const fn tunnels(&self) -> u32 {
        self.limits().tunnels()
    }

    /// Next hops of all remotes together, with as many again for a change before the old ones go.
    pub const fn paths(&self) -> u32 {
        self.remotes.saturating_mul(4).saturating_add(64)
    }

    /// MACs that are configured for attachments.
    pub const fn macs(&self) -> u32 {
        self.limits().listed_macs()
    }

    /// Prefixes of all attachments together, and as many ethertypes and configured bindings.
    pub const fn guard_entries(&self) -> u32 {
        self.limits().guard_entries()
    }

    /// The limits that they were made of, which the fabric's rules know, too.
    pub const fn limits(self) -> Limits {
        Limits {
            attachments: self.attachments,
            fdb: self.fdb,
            remotes: self.remotes,
            segments: self.segments,
        }
    }

    /// Entries of a map; none where the object itself says.
    pub fn of(&self, name: &str) -> Option<u32> {
        // Ids begin with 1, so an array has one place more.
        let entries = match name {
            map::CLASSES => self.attachments,
            map::ATTACHMENTS
            | map::ATTACHMENT_COUNTERS
            | map::RATES
            | map::METERS
            | map::COLOURS
            | map::MAC_USE
            | map::MAC_REMOVED
            | map::ANSWERS => self.attachments.saturating_add(1),
            map::SEGMENTS
            | map::LABELS
            | map::VNIS
            | map::FDB_USE
            | map::FDB_REMOVED
            | map::BINDING_USE
            | map::BINDING_REMOVED => self.segments,
            map::TUNNELS => self.tunnels(),
            map::REMOTES | map::REMOTE_COUNTERS => self.remotes.saturating_add(1),
            map::PATHS => self.paths(),
            map::FDB => self.fdb.saturating_add(self.macs()),
            map::MACS => self.macs(),
            map::BINDINGS => self.fdb,
            // Those of before and after a change stand side by side.
            map::PREFIXES | map::ETHERTYPES | map::FIXED_BINDINGS => {
                self.guard_entries().saturating_mul(2)
            }
            // Old and new list of a segment stand side by side during a change.
            map::FLOOD => self.attachments.saturating_add(self.tunnels()).saturating_mul(2),
            map::DROPS => self.attachments.saturating_add(self.segments).saturating_add(PORTS),
            _ => return None,
        };
        Some(entries.max(1))
    }
}
