//! What of a node's file its maps have room for. Pure. Nearly always that is all of it; where it is
//! not, who was there keeps its place, and of the others those that want least come first: so
//! whoever wants too much is left out, and stops nobody else.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use super::{
    compile::{self, Device, addr},
    left_out::{Item, LeftOut},
    sizes::Sizes,
    tables::{Lists, Tables},
};
use crate::model::{self, Attachment, NodeConfig};

const KINDS: usize = 9;

/// What there can be too much of, and how whoever wants it is told.
const WHAT: [&str; KINDS] = [
    "another attachment",
    "another segment",
    "the segment's remotes",
    "the segment's remotes",
    "its configured MACs",
    "its prefixes",
    "its ethertypes",
    "its bindings",
    "another segment: every number that one can have was given out once",
];
const ATTACHMENTS: usize = 0;
const SEGMENTS: usize = 1;
const REMOTES: usize = 2;
const TUNNELS: usize = 3;
const MACS: usize = 4;
const PREFIXES: usize = 5;
const ETHERTYPES: usize = 6;
const BINDINGS: usize = 7;
const UIDS: usize = 8;

/// So much of each.
type Counts = [usize; KINDS];

fn room(sizes: &Sizes, previous: &Tables) -> Counts {
    let mut room = [0; KINDS];
    let uids = u32::MAX - previous.node.next_uid.max(1);
    let lists = sizes.guard_entries();
    for (what, most) in [
        (ATTACHMENTS, sizes.attachments),
        (SEGMENTS, sizes.segments),
        (REMOTES, sizes.remotes),
        (TUNNELS, sizes.tunnels()),
        (MACS, sizes.macs()),
        (PREFIXES, lists),
        (ETHERTYPES, lists),
        (BINDINGS, lists),
        (UIDS, uids),
    ] {
        room[what] = most as usize;
    }
    room
}

/// What an attachment takes by itself.
fn lists_of(attachment: &Attachment) -> Counts {
    let guards = &attachment.guards;
    let link_local =
        !guards.prefixes.is_empty() && !guards.prefixes.iter().any(|prefix| prefix.is_link_local());
    let mut counts = [0; KINDS];
    counts[ATTACHMENTS] = 1;
    counts[MACS] = guards.macs.len();
    counts[PREFIXES] = guards.prefixes.len() + usize::from(link_local);
    counts[ETHERTYPES] = guards.ethertypes.as_ref().map_or(0, BTreeSet::len);
    counts[BINDINGS] = attachment.bindings.len();
    counts
}

/// The first of which there is not enough.
fn lacks(taken: &Counts, more: &Counts, room: &Counts) -> Option<usize> {
    (0..KINDS).find(|what| more[*what] > 0 && taken[*what] + more[*what] > room[*what])
}

fn add(taken: &mut Counts, more: &Counts) {
    taken.iter_mut().zip(more).for_each(|(taken, more)| *taken += more);
}

/// Takes out of a file what there is no room for.
pub fn fit(
    config: &mut Cow<'_, NodeConfig>,
    devices: &BTreeMap<String, Device>,
    previous: &Tables,
    sizes: &Sizes,
) -> Vec<LeftOut> {
    let room = room(sizes, previous);
    let mut all = Taking::new(config, previous, room);
    for attachment in &config.attachments {
        all.take(lists_of(attachment), None);
    }
    for segment in &config.segments {
        all.take([0; KINDS], Some(segment));
    }
    if lacks(&[0; KINDS], &all.taken, &room).is_none() {
        return Vec::new();
    }
    let mut taking = Taking::new(config, previous, room);
    let left_out = taking.choose(config, devices, previous);
    let taken = std::mem::take(&mut taking.segments);
    let gone: BTreeSet<&Item> = left_out.iter().map(|left_out| &left_out.what).collect();
    let config = config.to_mut();
    config.attachments.retain(|attachment| !gone.contains(&item(attachment)));
    config.segments.retain(|segment| taken.contains(segment.name.as_str()));
    left_out
}

/// An attachment, as it is told of.
pub fn item(attachment: &Attachment) -> Item {
    let Attachment { segment, port, encap, .. } = attachment;
    Item::Attachment {
        segment: segment.to_string(),
        port: port.to_string(),
        encap: encap.to_string(),
    }
}

/// What is taken already.
struct Taking {
    room: Counts,
    taken: Counts,
    /// Segments that have their place.
    segments: BTreeSet<String>,
    remotes: BTreeSet<sillon_abi::Addr>,
    /// Segments that have had a number before.
    numbered: BTreeSet<String>,
}

impl Taking {
    fn new(config: &NodeConfig, previous: &Tables, room: Counts) -> Self {
        let uids = compile::uids(previous);
        let numbered =
            config.segments.iter().filter(|it| uids.contains_key(&compile::identity(it)));
        let numbered = numbered.map(|segment| segment.name.to_string()).collect();
        let (taken, segments, remotes) = ([0; KINDS], BTreeSet::new(), BTreeSet::new());
        Self { room, taken, segments, remotes, numbered }
    }

    /// What a segment would take that has no place yet.
    fn wants(&self, segment: &model::Segment) -> Counts {
        let mut counts = [0; KINDS];
        if self.segments.contains(segment.name.as_str()) {
            return counts;
        }
        counts[SEGMENTS] = 1;
        counts[TUNNELS] = segment.remotes.len();
        counts[REMOTES] =
            segment.remotes.iter().filter(|ip| !self.remotes.contains(&addr(**ip))).count();
        counts[UIDS] = usize::from(!self.numbered.contains(segment.name.as_str()));
        counts
    }

    fn take(&mut self, mut counts: Counts, segment: Option<&model::Segment>) {
        if let Some(segment) = segment {
            add(&mut counts, &self.wants(segment));
            self.segments.insert(segment.name.to_string());
            self.remotes.extend(segment.remotes.iter().map(|ip| addr(*ip)));
        }
        add(&mut self.taken, &counts);
    }

    /// Takes it if there is room; else says what there is not enough of.
    fn offer(&mut self, counts: Counts, segment: Option<&model::Segment>) -> Result<(), usize> {
        let mut wanted = counts;
        if let Some(segment) = segment {
            add(&mut wanted, &self.wants(segment));
        }
        match lacks(&self.taken, &wanted, &self.room) {
            Some(what) => Err(what),
            None => {
                self.take(counts, segment);
                Ok(())
            }
        }
    }

    /// Gives everything its place, who was there before first; says what has none.
    fn choose(
        &mut self,
        config: &NodeConfig,
        devices: &BTreeMap<String, Device>,
        previous: &Tables,
    ) -> Vec<LeftOut> {
        let segments: HashMap<&str, &model::Segment> =
            config.segments.iter().map(|segment| (segment.name.as_str(), segment)).collect();
        let before = Before::of(previous);
        let mut all: Vec<(bool, usize, &Attachment, Counts)> = Vec::new();
        for attachment in &config.attachments {
            let counts = lists_of(attachment);
            let is_new = match (
                segments.get(attachment.segment.as_str()),
                devices.get(attachment.port.as_str()),
            ) {
                (Some(segment), Some(device)) => {
                    !before.has_had(segment, *device, attachment, &counts)
                }
                _ => true,
            };
            all.push((is_new, counts.iter().sum(), attachment, counts));
        }
        all.sort_by_key(|(is_new, size, attachment, _)| {
            (*is_new, *size, &attachment.port, attachment.encap)
        });
        let mut left_out = Vec::new();
        for (_, _, attachment, counts) in all {
            let segment = segments.get(attachment.segment.as_str()).copied();
            if let Err(what) = self.offer(counts, segment) {
                left_out.push(no_room(item(attachment), what));
            }
        }
        // Those that nothing is attached to here.
        let attached: BTreeSet<&str> =
            config.attachments.iter().map(|it| it.segment.as_str()).collect();
        for segment in config.segments.iter().filter(|it| !attached.contains(it.name.as_str())) {
            if let Err(what) = self.offer([0; KINDS], Some(segment)) {
                left_out.push(no_room(Item::Segment { segment: segment.name.to_string() }, what));
            }
        }
        left_out
    }
}

fn no_room(what: Item, of: usize) -> LeftOut {
    LeftOut {
        what,
        why: format!("the node has no room for {}", WHAT[of]),
        help: "raise the limits under [node], and flush the node".to_owned(),
        stays: false,
    }
}

/// What attachments had.
struct Before {
    uids: BTreeMap<compile::Identity, u32>,
    ids: HashMap<(u32, sillon_abi::ClassKey), u32>,
    lists: Lists,
    bindings: HashMap<u32, usize>,
}

impl Before {
    fn of(previous: &Tables) -> Self {
        let ids =
            previous.attachments.iter().map(|(id, entry)| ((entry.segment, entry.class), *id));
        let mut bindings = HashMap::new();
        for binding in previous.bindings.values() {
            *bindings.entry(binding.endpoint.id()).or_default() += 1;
        }
        Self {
            uids: compile::uids(previous),
            ids: ids.collect(),
            lists: Lists::of(previous),
            bindings,
        }
    }

    /// Whether an attachment was there, with lists as long.
    fn has_had(
        &self,
        segment: &model::Segment,
        device: Device,
        attachment: &Attachment,
        wants: &Counts,
    ) -> bool {
        let class = compile::class(device.ifindex, attachment.encap);
        let uid = self.uids.get(&compile::identity(segment));
        let Some(id) = uid.and_then(|uid| self.ids.get(&(*uid, class))) else { return false };
        let macs = self.lists.macs.get(id).map_or(0, Vec::len);
        let prefixes = self.lists.prefixes.get(id).map_or(0, Vec::len);
        let ethertypes = self.lists.ethertypes.get(id).map_or(0, Vec::len);
        let bindings = self.bindings.get(id).copied().unwrap_or(0);
        wants[MACS] <= macs
            && wants[PREFIXES] <= prefixes
            && wants[ETHERTYPES] <= ethertypes
            && wants[BINDINGS] <= bindings
    }
}
