//! What is known of who has which address: what is configured, which nobody's word changes, and
//! else what was said last.
//!
//! A host is believed for its own MAC, and where the FDB has that. A segment knows as many
//! addresses as it may have MACs (`mac_limit`); one that is full knows no more, and forgets nobody.

use std::{collections::BTreeSet, net::IpAddr};

use sillon::model::{Attachment, Prefix};

use super::{How, Said};
use crate::forwarding::{
    Place,
    bridge::is_leaf,
    counts::Counts,
    frame::Mac,
    node::{Arrival, Node},
};

/// Who has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose it is.
    pub mac: Mac,
    /// Where that was said, or for which attachment it is configured.
    pub place: Place,
    /// Whether that was a leaf of a tree.
    pub is_leaf: bool,
    /// R of its advertisements.
    pub is_router: bool,
    /// O of its advertisements.
    pub overrides: bool,
}

/// What became of what was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heard {
    /// It was not known.
    First,
    /// It is another's now, or elsewhere, or otherwise.
    Changed,
    /// It was known.
    Again,
    /// There was no room for it.
    Refused,
    /// It is configured.
    Configured,
    /// It does not override what is known, or only hints at what is not.
    TooLittle,
    /// Its sender is not where the FDB has it.
    NotThere,
}

impl Heard {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "binding heard first",
            Self::Changed => "binding changed",
            Self::Again => "binding refreshed",
            Self::Refused => "binding refused",
            Self::Configured => "claim of a configured address",
            Self::TooLittle => "claim that makes nothing",
            Self::NotThere => "claim of one who is not learned",
        }
    }
}

/// What is configured of an address.
fn configured(node: &Node, segment: usize, address: IpAddr) -> Option<Claim> {
    (0..node.config.attachments.len()).filter(|at| node.segment_of(*at) == Some(segment)).find_map(
        |at| {
            let bindings = &node.config.attachments[at].bindings;
            let binding = bindings.iter().find(|binding| binding.address() == address)?;
            Some(Claim {
                mac: binding.mac().octets(),
                place: Place::Attachment(at),
                is_leaf: is_leaf(node, at),
                is_router: binding.is_router(),
                overrides: true,
            })
        },
    )
}

fn place(counts: &Counts, segment: usize, mac: Mac) -> Option<Place> {
    counts.fdb.get(&(segment, mac)).map(|address| address.place)
}

/// Takes notice of what the sender of a frame said.
pub(super) fn hear(node: &mut Node, arrival: &Arrival, src: Mac, said: Said) -> Option<Heard> {
    let (segment, key) = (arrival.segment, (arrival.segment, said.address));
    if configured(node, segment, said.address).is_some() {
        return Some(Heard::Configured);
    }
    if place(&node.counts, segment, src) != Some(arrival.from) {
        return Some(Heard::NotThere);
    }
    let known = node.counts.bindings.get(&key).copied();
    let (is_router, overrides) = match (said.how, known) {
        (How::Override { flag, is_router }, _) => (is_router, flag),
        (How::Offer { .. }, Some(known)) if known.mac != src => return Some(Heard::TooLittle),
        (How::Offer { is_router }, _) => (is_router, false),
        // What it says nothing of.
        (How::Hint, Some(known)) => (known.is_router, known.overrides),
        (How::Hint, None) => return Some(Heard::TooLittle),
    };
    let heard = match known {
        None if node.counts.bindings_of(segment)
            >= node.config.segments[segment].mac_limit as usize =>
        {
            *node.counts.bindings_refused.entry(segment).or_default() += 1;
            return Some(Heard::Refused);
        }
        None => Heard::First,
        Some(_) => Heard::Changed,
    };
    let claim =
        Claim { mac: src, place: arrival.from, is_leaf: arrival.leaf, is_router, overrides };
    let before = node.counts.bindings.insert(key, claim);
    Some(if before == Some(claim) { Heard::Again } else { heard })
}

/// Whom to name to the sender of a frame: who is at another place of the segment, by the FDB, and
/// no leaf if a leaf asks.
pub fn owner(node: &Node, arrival: &Arrival, address: IpAddr) -> Option<Claim> {
    let key = (arrival.segment, address);
    let heard = || node.counts.bindings.get(&key).copied();
    let claim = configured(node, arrival.segment, address).or_else(heard)?;
    let place = place(&node.counts, arrival.segment, claim.mac)?;
    let is_leafs = match place {
        Place::Attachment(at) => is_leaf(node, at),
        // The FDB does not say it of whom is behind a tunnel; who claimed the address was one, or
        // was none.
        Place::Remote(_) => claim.is_leaf,
    };
    (place != arrival.from && !(arrival.leaf && is_leafs)).then_some(claim)
}

/// What was said at an attachment is still believed if all prefixes that it had are among those
/// that it has: then its guard would let all of it be said again.
pub fn may_still_say(before: &Attachment, after: &Attachment) -> bool {
    let (before, after) = (prefixes(before), prefixes(after));
    after.is_empty() || !before.is_empty() && before.is_subset(&after)
}

/// The prefixes of an attachment; none if it may have any address. Who has some has link-local
/// addresses too, unless it lists which of them.
fn prefixes(attachment: &Attachment) -> BTreeSet<Prefix> {
    let mut prefixes = attachment.guards.prefixes.clone();
    if !prefixes.is_empty() && !prefixes.iter().any(|prefix| prefix.is_link_local()) {
        prefixes.insert(Prefix::LINK_LOCAL);
    }
    prefixes
}
