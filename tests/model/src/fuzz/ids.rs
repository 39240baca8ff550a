//! From the ids of the maps to the words of the model.

use std::{collections::HashMap, net::IpAddr};

use anyhow::Context;
use sillon::{
    dataplane::{
        maps::Maps,
        names::{encap, ip},
        tables::{Tables, unpadded},
    },
    model::NodeConfig,
};
use sillon_abi::{Endpoint, FdbEntry, ScopeKind};

use crate::forwarding::{
    Address, Counts, Held, Place, Scope, Traffic,
    police::{Colour, Direction},
    suppress::{Claim, Question},
};

/// What the ids of a configuration mean.
#[derive(Debug, Default)]
pub struct Ids {
    devices: HashMap<u32, usize>,
    attachments: HashMap<u32, usize>,
    segments: HashMap<u32, usize>,
    remotes: HashMap<u32, IpAddr>,
}

impl Ids {
    /// Those of the tables that were made for `config`; `ifindexes` are the devices'.
    pub fn new(config: &NodeConfig, tables: &Tables, ifindexes: &[u32], names: &[&str]) -> Self {
        let devices: HashMap<u32, usize> = ifindexes.iter().copied().zip(0..).collect();
        let attachment = |(id, entry): (&u32, &sillon_abi::Attachment)| {
            let port = names[*devices.get(&entry.class.ifindex)?];
            let is_it = |one: &sillon::model::Attachment| {
                one.port.as_str() == port && one.encap.to_string() == encap(entry.class)
            };
            Some((*id, config.attachments.iter().position(is_it)?))
        };
        let segment = |(uid, label): (&u32, &sillon_abi::Label)| {
            let name = unpadded(&label.segment);
            Some((*uid, config.segments.iter().position(|segment| segment.name.as_str() == name)?))
        };
        Self {
            attachments: tables.attachments.iter().filter_map(attachment).collect(),
            segments: tables.labels.iter().filter_map(segment).collect(),
            remotes: tables.remotes.iter().map(|(id, addr)| (*id, ip(*addr))).collect(),
            devices,
        }
    }

    /// A segment, by uid.
    pub fn segment(&self, uid: u32) -> Option<usize> {
        self.segments.get(&uid).copied()
    }

    /// Where a frame came in or goes out.
    pub fn place(&self, endpoint: Endpoint) -> Option<Place> {
        if endpoint.is_remote() {
            Some(Place::Remote(*self.remotes.get(&endpoint.id())?))
        } else {
            Some(Place::Attachment(*self.attachments.get(&endpoint.id())?))
        }
    }

    fn scope(&self, kind: u32, id: u32) -> Option<Scope> {
        match kind {
            kind if kind == ScopeKind::Port as u32 => Some(Scope::Port(*self.devices.get(&id)?)),
            kind if kind == ScopeKind::Attachment as u32 => {
                Some(Scope::Attachment(*self.attachments.get(&id)?))
            }
            _ => Some(Scope::Segment(self.segment(id)?)),
        }
    }

    /// All that the maps count and know now.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn counts(&self, maps: &Maps) -> anyhow::Result<Counts> {
        let mut counts = Counts::default();
        for (id, attachment) in &self.attachments {
            counts
                .traffic
                .insert(Place::Attachment(*attachment), traffic(maps.attachment_counters(*id)?));
        }
        for (id, remote) in &self.remotes {
            counts.traffic.insert(Place::Remote(*remote), traffic(maps.remote_counters(*id)?));
        }
        for (key, reason, frames) in maps.drops()? {
            match self.scope(key.scope, key.id) {
                Some(scope) => {
                    counts.drops.insert((scope, reason), frames);
                }
                None => {
                    counts.strange.insert(format!("a drop for {key:?}"));
                }
            }
        }
        for (uid, segment) in &self.segments {
            let (used, removed) =
                maps.fdb_use(*uid)?.context("a segment without an account of its addresses")?;
            counts.refused.insert(Scope::Segment(*segment), used.refused);
            counts.accounts.insert(Scope::Segment(*segment), used.learned.wrapping_sub(removed));
        }
        for (id, attachment) in &self.attachments {
            let (used, removed) = maps.mac_use(*id)?;
            counts.refused.insert(Scope::Attachment(*attachment), used.refused);
            counts.accounts.insert(Scope::Attachment(*attachment), used.held.wrapping_sub(removed));
        }
        counts.accounts.retain(|_, count| *count != 0);
        for (key, entry) in maps.fdb()? {
            match self.segment(key.segment).zip(self.place(entry.endpoint)) {
                Some((segment, place)) => {
                    counts
                        .fdb
                        .insert((segment, key.mac.octets()), Address { place, held: held(&entry) });
                }
                None => {
                    counts.strange.insert(format!("an FDB entry {key:?} {entry:?}"));
                }
            }
        }
        self.bindings(maps, &mut counts)?;
        for attachment in self.attachments.values() {
            self.colours(maps, *attachment, &mut counts)?;
        }
        Ok(counts)
    }

    /// The id of an attachment.
    fn id_of(&self, attachment: usize) -> Option<u32> {
        self.attachments.iter().find_map(|(id, place)| (*place == attachment).then_some(*id))
    }

    /// What the profiles of an attachment made of its frames, into `counts`.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn colours(
        &self,
        maps: &Maps,
        attachment: usize,
        counts: &mut Counts,
    ) -> anyhow::Result<()> {
        let Some(id) = self.id_of(attachment) else { return Ok(()) };
        let colours = maps.colours(id)?;
        for (direction, tallies) in
            [(Direction::In, colours.ingress), (Direction::Out, colours.egress)]
        {
            for (colour, tally) in
                [Colour::Green, Colour::Yellow, Colour::Red].into_iter().zip(tallies)
            {
                counts.colours.insert((attachment, direction, colour), (tally.frames, tally.bytes));
            }
        }
        Ok(())
    }

    /// How many frames came in at an attachment.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn received(&self, maps: &Maps, attachment: usize) -> anyhow::Result<u64> {
        match self.id_of(attachment) {
            Some(id) => Ok(maps.attachment_counters(id)?.in_frames),
            None => Ok(0),
        }
    }

    /// What suppression counts and knows.
    fn bindings(&self, maps: &Maps, counts: &mut Counts) -> anyhow::Result<()> {
        for (id, attachment) in &self.attachments {
            let answers = maps.answers(*id)?;
            counts.answered.insert((*attachment, Question::Arp), answers.arp);
            counts.answered.insert((*attachment, Question::Neighbour), answers.nd);
        }
        for (uid, segment) in &self.segments {
            let (used, removed) =
                maps.binding_use(*uid)?.context("a segment without an account of its bindings")?;
            counts.bindings_refused.insert(*segment, used.refused);
            counts.binding_accounts.insert(*segment, used.learned.wrapping_sub(removed));
        }
        counts.binding_accounts.retain(|_, count| *count != 0);
        for (key, binding) in maps.bindings()? {
            let is_whole = key.segment == binding.segment;
            match self.segment(key.segment).zip(self.place(binding.endpoint)).filter(|_| is_whole) {
                Some((segment, place)) => {
                    counts.bindings.insert((segment, ip(key.addr)), claim(binding.claim, place));
                }
                None => {
                    counts.strange.insert(format!("a binding {key:?} {binding:?}"));
                }
            }
        }
        Ok(())
    }
}

fn claim(claim: sillon_abi::Claim, place: Place) -> Claim {
    let has = |flag| claim.flags & flag != 0;
    Claim {
        mac: claim.mac.octets(),
        place,
        is_leaf: has(sillon_abi::Claim::LEAF),
        is_router: has(sillon_abi::Claim::ROUTER),
        overrides: has(sillon_abi::Claim::OVERRIDE),
    }
}

fn held(entry: &FdbEntry) -> Held {
    if entry.is_configured() {
        return Held::Configured;
    }
    Held::Learned { moves: entry.moves, is_frozen: entry.flags & FdbEntry::FROZEN != 0 }
}

fn traffic(counters: sillon_abi::Counters) -> Traffic {
    let sillon_abi::Counters { in_frames, in_bytes, out_frames, out_bytes } = counters;
    Traffic { in_frames, in_bytes, out_frames, out_bytes }
}
