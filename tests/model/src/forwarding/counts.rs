//! What is counted and learned, in the words of the configuration: the model's and the node's are
//! compared as they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use sillon_abi::DropReason;

use super::{
    Place, Scope,
    frame::Mac,
    police::{Colour, Direction},
    suppress::{Claim, Question},
};

/// Frames and bytes, in and out: of the frame as it is on the port, or of the inner frame in a
/// tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames received.
    pub in_frames: u64,
    /// Bytes received.
    pub in_bytes: u64,
    /// Frames sent.
    pub out_frames: u64,
    /// Bytes sent.
    pub out_bytes: u64,
}

/// How the FDB came to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It is configured.
    Configured,
    /// It was seen.
    Learned {
        /// How often it has moved.
        moves: u16,
        /// Whether that was too often.
        is_frozen: bool,
    },
}

/// Where an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The place.
    pub place: Place,
    /// Why there.
    pub held: Held,
}

/// All that a node counts and learns. What is zero is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By attachment or remote.
    pub traffic: BTreeMap<Place, Traffic>,
    /// Frames and bytes of each colour, by attachment.
    pub colours: BTreeMap<(usize, Direction, Colour), (u64, u64)>,
    /// Dropped frames.
    pub drops: BTreeMap<(Scope, DropReason), u64>,
    /// Frames whose source was not learned since a segment or an attachment had its share.
    pub refused: BTreeMap<Scope, u64>,
    /// Where each address of each segment is.
    pub fdb: BTreeMap<(usize, Mac), Address>,
    /// How many addresses each segment and attachment is said to have learned, by the accounts
    /// that a node keeps. A model counts: see [`Self::shares`].
    pub accounts: BTreeMap<Scope, u64>,
    /// Who said to have which address of each segment.
    pub bindings: BTreeMap<(usize, IpAddr), Claim>,
    /// How many addresses of each segment are said to be known, by the account that a node keeps.
    /// A model counts: see [`Self::bindings_of`].
    pub binding_accounts: BTreeMap<usize, u64>,
    /// Claims that a segment had no room for.
    pub bindings_refused: BTreeMap<usize, u64>,
    /// Questions of each attachment that were answered.
    pub answered: BTreeMap<(usize, Question), u64>,
    /// What a node counts or knows of something that is not in its configuration. A model has
    /// none.
    pub strange: BTreeSet<String>,
}

impl Counts {
    /// A frame of this length came in.
    pub fn received(&mut self, from: Place, len: usize) {
        let traffic = self.traffic.entry(from).or_default();
        traffic.in_frames += 1;
        traffic.in_bytes += len as u64;
    }

    /// A frame of this length left.
    pub fn sent(&mut self, to: Place, len: usize) {
        let traffic = self.traffic.entry(to).or_default();
        traffic.out_frames += 1;
        traffic.out_bytes += len as u64;
    }

    /// A frame got a colour, and was charged so many bytes.
    pub fn coloured(
        &mut self,
        attachment: usize,
        direction: Direction,
        colour: Colour,
        bytes: u64,
    ) {
        let tally = self.colours.entry((attachment, direction, colour)).or_default();
        *tally = (tally.0 + 1, tally.1 + bytes);
    }

    /// How many frames have a colour.
    pub fn judged(&self, attachment: usize, direction: Direction) -> u64 {
        let of =
            self.colours.iter().filter(|((at, to, _), _)| (*at, *to) == (attachment, direction));
        of.map(|(_, (frames, _))| frames).sum()
    }

    /// A frame was dropped.
    pub fn dropped(&mut self, scope: Scope, reason: DropReason) {
        *self.drops.entry((scope, reason)).or_default() += 1;
    }

    /// How many frames were dropped, wherever that is counted.
    pub fn all_dropped(&self) -> u64 {
        self.drops.values().sum()
    }

    /// Takes over what a node counted of frames that came in and were dropped, where that is no
    /// less.
    pub fn adopt_drops(&mut self, node: &Self) {
        for (key, frames) in &node.drops {
            let here = self.drops.entry(*key).or_default();
            *here = (*here).max(*frames);
        }
        for (place, traffic) in &node.traffic {
            let here = self.traffic.entry(*place).or_default();
            here.in_frames = here.in_frames.max(traffic.in_frames);
            here.in_bytes = here.in_bytes.max(traffic.in_bytes);
        }
    }

    /// A frame's source was not learned.
    pub fn refused(&mut self, scope: Scope) {
        *self.refused.entry(scope).or_default() += 1;
    }

    /// How many addresses of a segment are known.
    pub fn bindings_of(&self, segment: usize) -> usize {
        self.bindings.keys().filter(|(of, _)| *of == segment).count()
    }

    /// The same of all segments that know any.
    fn binding_shares(&self) -> BTreeMap<usize, u64> {
        let segments: BTreeSet<usize> = self.bindings.keys().map(|(segment, _)| *segment).collect();
        segments.into_iter().map(|segment| (segment, self.bindings_of(segment) as u64)).collect()
    }

    /// What was learned: segments and places.
    fn all_learned(&self) -> impl Iterator<Item = (usize, Place)> {
        let is_learned = |address: &Address| address.held != Held::Configured;
        self.fdb
            .iter()
            .filter(move |(_, address)| is_learned(address))
            .map(|((segment, _), address)| (*segment, address.place))
    }

    /// How many addresses a segment has learned.
    pub fn learned(&self, segment: usize) -> usize {
        self.all_learned().filter(|(of, _)| *of == segment).count()
    }

    /// How many addresses were learned at a place.
    pub fn learned_at(&self, place: Place) -> usize {
        self.all_learned().filter(|(_, at)| *at == place).count()
    }

    /// How many addresses each segment and attachment has learned.
    pub fn shares(&self) -> BTreeMap<Scope, u64> {
        let mut shares = BTreeMap::new();
        for (segment, place) in self.all_learned() {
            *shares.entry(Scope::Segment(segment)).or_default() += 1;
            if let Place::Attachment(attachment) = place {
                *shares.entry(Scope::Attachment(attachment)).or_default() += 1;
            }
        }
        shares
    }

    /// What differs, a line each; empty where nothing does.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        compare("traffic", &self.traffic, &other.traffic, &mut lines);
        compare("colours", &self.colours, &other.colours, &mut lines);
        compare("drops", &self.drops, &other.drops, &mut lines);
        compare("refused", &self.refused, &other.refused, &mut lines);
        compare("fdb", &self.fdb, &other.fdb, &mut lines);
        compare("account", &self.shares(), &other.accounts, &mut lines);
        compare("binding", &self.bindings, &other.bindings, &mut lines);
        compare("account of bindings", &self.binding_shares(), &other.binding_accounts, &mut lines);
        compare("refused bindings", &self.bindings_refused, &other.bindings_refused, &mut lines);
        compare("answered", &self.answered, &other.answered, &mut lines);
        lines.extend(
            other
                .strange
                .difference(&self.strange)
                .map(|what| format!("{what}, which is not configured")),
        );
        lines
    }
}

fn compare<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    what: &str,
    model: &BTreeMap<K, V>,
    node: &BTreeMap<K, V>,
    lines: &mut Vec<String>,
) {
    let only_node = node.keys().filter(|key| !model.contains_key(key));
    for key in model.keys().chain(only_node) {
        let (wanted, is) = (model.get(key), node.get(key));
        if wanted != is {
            lines.push(format!("{what} {key:?}: the model has {wanted:?}, the node {is:?}"));
        }
    }
}

impl std::ops::Sub for Traffic {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            in_frames: self.in_frames - before.in_frames,
            in_bytes: self.in_bytes - before.in_bytes,
            out_frames: self.out_frames - before.out_frames,
            out_bytes: self.out_bytes - before.out_bytes,
        }
    }
}

impl Counts {
    /// What was counted since `before`, and what is learned now.
    #[must_use]
    pub fn since(mut self, before: &Self) -> Self {
        for (place, traffic) in &mut self.traffic {
            *traffic = *traffic - before.traffic.get(place).copied().unwrap_or_default();
        }
        for (key, (frames, bytes)) in &mut self.colours {
            let (had, had_bytes) = before.colours.get(key).copied().unwrap_or_default();
            (*frames, *bytes) = (*frames - had, *bytes - had_bytes);
        }
        for (key, frames) in &mut self.drops {
            *frames -= before.drops.get(key).copied().unwrap_or_default();
        }
        for (scope, frames) in &mut self.refused {
            *frames -= before.refused.get(scope).copied().unwrap_or_default();
        }
        for (segment, claims) in &mut self.bindings_refused {
            *claims -= before.bindings_refused.get(segment).copied().unwrap_or_default();
        }
        for (key, questions) in &mut self.answered {
            *questions -= before.answered.get(key).copied().unwrap_or_default();
        }
        self.traffic.retain(|_, traffic| *traffic != Traffic::default());
        self.colours.retain(|_, tally| *tally != (0, 0));
        self.drops.retain(|_, frames| *frames != 0);
        self.refused.retain(|_, frames| *frames != 0);
        self.bindings_refused.retain(|_, claims| *claims != 0);
        self.answered.retain(|_, questions| *questions != 0);
        self
    }
}
