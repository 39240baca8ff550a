//! Properties of `compile` and `diff` together, on a model of the maps and of the programs' use of
//! them.
//!
//! The model forwards as `ebpf/` does, step for step: what a frame is classified as may come from
//! an earlier state of the maps than what it is delivered by, as long as no barrier lies between.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use proptest::{collection::vec, prelude::*};
use sillon_abi::{
    Addr, Attachment, Binding, BindingKey, ClassKey, DropKey, Endpoint, FdbEntry, FdbKey, FloodKey,
    Guards, RemoteEntry, Segment, Service, TunnelKey,
};

use super::{
    compile::{Device, compile},
    diff::{Op, diff},
    left_out::{Item, LeftOut},
    room,
    sizes::Sizes,
    tables::Tables,
    testing,
    verify::{Live, Violation, verify},
};
use crate::model::{LeafRole, NodeConfig, StormControl, testing::node_config};

/// A frame as it comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Frame {
    /// On a port, with an outer and an inner tag; the first says whether the outer one is an S-tag.
    Tagged(u32, Option<(bool, u16)>, Option<u16>),
    /// Out of a tunnel.
    Tunnelled(TunnelKey),
}

/// Where a copy of it goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Egress {
    Port(ClassKey),
    Tunnel(Addr, u32),
}

/// What the programs know of a frame once they know whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Origin {
    ingress: Endpoint,
    segment: u32,
    vni: u32,
    cross: Endpoint,
    service: u8,
    leaf: bool,
    guards: u16,
}

fn classify(tables: &Tables, frame: Frame) -> Option<Origin> {
    match frame {
        Frame::Tunnelled(key) => {
            let tunnel = tables.tunnels.get(&key)?;
            let ingress = Endpoint::remote(tunnel.remote);
            let (segment, cross, service) = (tunnel.segment, tunnel.cross, tunnel.service);
            let (vni, guards) = (key.vni, tunnel.guards);
            Some(Origin { ingress, segment, vni, cross, service, leaf: false, guards })
        }
        Frame::Tagged(ifindex, outer, inner) => {
            let (id, class) = class(tables, ifindex, outer, inner)?;
            let entry = tables.attachments.get(&id).filter(|entry| entry.class == class)?;
            let Attachment { segment, vni, cross, service, leaf, guards, .. } = *entry;
            let (ingress, leaf) = (Endpoint::attachment(id), leaf != 0);
            Some(Origin { ingress, segment, vni, cross, service, leaf, guards })
        }
    }
}

fn class(
    tables: &Tables,
    ifindex: u32,
    outer: Option<(bool, u16)>,
    inner: Option<u16>,
) -> Option<(u32, ClassKey)> {
    let port = tables.ports.get(&ifindex)?;
    if port.whole != 0 {
        return Some((port.whole, ClassKey::whole(ifindex)));
    }
    let find = |class| tables.classes.get(&class).map(|id| (*id, class));
    match (outer, inner) {
        (None, _) => find(ClassKey::untagged(ifindex)),
        (Some((false, vid)), _) => find(ClassKey::dot1q(ifindex, vid)),
        (Some((true, vid)), inner) => inner
            .and_then(|inner| find(ClassKey::qinq(ifindex, vid, inner)))
            .or_else(|| find(ClassKey::qinq(ifindex, vid, ClassKey::ANY))),
    }
}

/// The maps, and what the programs may have learned so far.
struct State {
    tables: Tables,
    learned: BTreeSet<(u32, Endpoint)>,
    /// Where something was heard that the programs may answer from.
    heard: BTreeSet<(u32, Endpoint)>,
}

impl State {
    fn settled(tables: &Tables) -> Self {
        Self { learned: tables.endpoints(), heard: tables.claimants(), tables: tables.clone() }
    }

    /// Where a frame that was classified in an earlier state may go by this one, be its destination
    /// known or not.
    fn deliver(&self, origin: Origin) -> BTreeSet<Egress> {
        let mut egress = BTreeSet::new();
        if origin.service == Service::Line as u8 {
            egress.extend(self.egress_of(origin, origin.cross, origin.vni));
            return egress;
        }
        let known = self.learned.iter().filter(|(segment, _)| *segment == origin.segment);
        egress.extend(
            known.filter_map(|(_, endpoint)| self.egress_of(origin, *endpoint, origin.vni)),
        );
        if let Some(segment) = self.tables.segments.get(&origin.segment) {
            let members = self.tables.members(segment);
            egress.extend(
                members
                    .iter()
                    .filter_map(|endpoint| self.egress_of(origin, *endpoint, segment.vni)),
            );
        }
        egress
    }

    fn egress_of(&self, origin: Origin, endpoint: Endpoint, vni: u32) -> Option<Egress> {
        if endpoint.is_none()
            || endpoint == origin.ingress
            || endpoint.is_remote() && origin.ingress.is_remote()
        {
            return None;
        }
        if endpoint.is_remote() {
            return self.tables.remotes.get(&endpoint.id()).map(|addr| Egress::Tunnel(*addr, vni));
        }
        let attachment = self.tables.attachments.get(&endpoint.id())?;
        let allowed =
            attachment.segment == origin.segment && !(origin.leaf && attachment.leaf != 0);
        allowed.then_some(Egress::Port(attachment.class))
    }

    fn learn(&mut self, origins: &Origins) {
        let learning = origins.keys().filter(|origin| origin.service != Service::Line as u8);
        self.learned.extend(learning.map(|origin| (origin.segment, origin.ingress)));
    }

    /// Frames under way, and those whose decision is cached, are heard. Of a segment that is gone
    /// there is no account.
    fn hear(&mut self, memory: &Memory) {
        let recalled =
            memory.remembered.iter().chain(&memory.recalled).map(|(origin, _, _)| origin);
        let speakers = memory.under_way.keys().chain(recalled);
        let heard = speakers.filter(|origin| origin.guards & Guards::SUPPRESS != 0);
        let heard = heard.filter(|origin| self.tables.segments.contains_key(&origin.segment));
        self.heard.extend(heard.map(|origin| (origin.segment, origin.ingress)));
    }

    fn take(&mut self, op: &Op) {
        match op {
            // What is under way and what is remembered is `Memory`'s.
            Op::PurgeBindings(endpoints) => self.heard.retain(|heard| endpoints.contains(heard)),
            Op::PurgeFdb(endpoints) => self.learned.retain(|learned| endpoints.contains(learned)),
            op => testing::take(&mut self.tables, op),
        }
    }
}

type Origins = BTreeMap<Origin, BTreeSet<Frame>>;

/// Adds what each frame is classified as by these tables.
fn classify_all(tables: &Tables, frames: &BTreeSet<Frame>, origins: &mut Origins) {
    for frame in frames {
        if let Some(origin) = classify(tables, *frame) {
            origins.entry(origin).or_default().insert(*frame);
        }
    }
}

/// Where every frame may go that was classified so.
fn reach(origins: &Origins, state: &State) -> BTreeSet<(Frame, Egress)> {
    let mut reach = BTreeSet::new();
    for (origin, frames) in origins {
        for egress in state.deliver(*origin) {
            reach.extend(frames.iter().map(|frame| (*frame, egress)));
        }
    }
    reach
}

/// What the programs may still go by besides the tables: what they were told before.
#[derive(Default)]
struct Memory {
    /// What frames under way were classified as.
    under_way: Origins,
    /// Those of them that began after the last [`Op::Forget`], whose decisions will be remembered.
    begun_since: Origins,
    /// Cached decisions that a frame which begins now may use.
    remembered: BTreeSet<(Origin, Endpoint, Frame)>,
    /// Cached decisions that a frame under way may have read.
    recalled: BTreeSet<(Origin, Endpoint, Frame)>,
}

impl Memory {
    fn take(&mut self, op: &Op) {
        if matches!(op, Op::Forget | Op::PurgeFdb(_)) {
            self.recalled.append(&mut self.remembered);
            self.begun_since.clear();
        }
        if *op == Op::Barrier {
            self.under_way.clear();
            self.begun_since.clear();
            self.recalled.clear();
        }
    }

    /// Frames begin, and decide.
    fn go_on(&mut self, state: &State, frames: &BTreeSet<Frame>) {
        classify_all(&state.tables, frames, &mut self.under_way);
        classify_all(&state.tables, frames, &mut self.begun_since);
        for (origin, frames) in &self.begun_since {
            for (_, endpoint) in
                state.learned.iter().filter(|(segment, _)| *segment == origin.segment)
            {
                if origin.service != Service::Line as u8
                    && state.egress_of(*origin, *endpoint, origin.vni).is_some()
                {
                    self.remembered.extend(frames.iter().map(|frame| (*origin, *endpoint, *frame)));
                }
            }
        }
    }

    /// Where frames go whose decision is cached.
    fn reach(&self, state: &State) -> BTreeSet<(Frame, Egress)> {
        let decisions = self.remembered.iter().chain(&self.recalled);
        decisions
            .filter_map(|(origin, endpoint, frame)| {
                Some((*frame, state.egress_of(*origin, *endpoint, origin.vni)?))
            })
            .collect()
    }
}

/// Where every frame may go when nothing changes.
fn settled_reach(tables: &Tables, frames: &BTreeSet<Frame>) -> BTreeSet<(Frame, Egress)> {
    let mut origins = Origins::new();
    classify_all(tables, frames, &mut origins);
    reach(&origins, &State::settled(tables))
}

/// Every kind of frame that one of the tables tells from the others.
fn frames(all: &[&Tables]) -> BTreeSet<Frame> {
    let mut frames = BTreeSet::new();
    for ifindex in all.iter().flat_map(|tables| tables.ports.keys()) {
        frames.insert(Frame::Tagged(*ifindex, None, None));
        for (s_tag, vid) in
            [false, true].into_iter().flat_map(|s_tag| (1..=5).map(move |vid| (s_tag, vid)))
        {
            let inner = [None, Some(1), Some(2), Some(3), Some(4), Some(5)];
            frames.extend(inner.map(|inner| Frame::Tagged(*ifindex, Some((s_tag, vid)), inner)));
        }
    }
    frames.extend(
        all.iter().flat_map(|tables| tables.tunnels.keys()).map(|key| Frame::Tunnelled(*key)),
    );
    frames
}

/// A configuration that differs from `config` here and there, as `dice` say: things are gone, moved
/// and renumbered.
fn changed(config: &NodeConfig, dice: &[u8]) -> NodeConfig {
    let mut dice = dice.iter().copied().cycle();
    let mut one_in = |n: u8| dice.next().is_some_and(|die| die % n == 0);
    let mut config = config.clone();
    for segment in &mut config.segments {
        segment.remotes.retain(|_| !one_in(4));
        if one_in(6) {
            segment.mac_limit += 1;
        }
        if one_in(6) {
            segment.moves.limit += 1;
        }
        if one_in(5) && segment.service != crate::model::Service::Line {
            segment.suppress = !segment.suppress;
        }
    }
    if let [first, second, ..] = config.segments.as_mut_slice()
        && one_in(4)
    {
        std::mem::swap(&mut first.vni, &mut second.vni);
    }
    let moved_to =
        config.segments.iter().find(|segment| segment.service == crate::model::Service::Lan);
    for attachment in &mut config.attachments {
        if one_in(5) {
            std::mem::swap(&mut attachment.ingress, &mut attachment.egress);
        }
        if one_in(5) {
            attachment.storm = StormControl::OFF;
        }
        let is_tree = config.segments.iter().any(|segment| {
            segment.name == attachment.segment && segment.service == crate::model::Service::Tree
        });
        if let Some(segment) = moved_to.filter(|_| one_in(5)) {
            attachment.segment = segment.name.clone();
            attachment.role = LeafRole::Root;
            // They may be another's there.
            attachment.guards.macs.clear();
            attachment.bindings.clear();
        } else if is_tree && one_in(4) {
            attachment.role =
                if attachment.role == LeafRole::Leaf { LeafRole::Root } else { LeafRole::Leaf };
        }
    }
    for attachment in &mut config.attachments {
        if one_in(4) {
            attachment.guards.macs.pop_first();
        }
        if one_in(4) {
            attachment.bindings.pop_first();
        }
        if one_in(4) {
            attachment.guards.prefixes.clear();
        }
        if one_in(4) {
            attachment.guards.ethertypes = None;
        }
    }
    config.attachments.retain(|_| !one_in(5));
    config.segments.retain(|_| !one_in(7));
    let names: BTreeSet<_> = config.segments.iter().map(|segment| segment.name.clone()).collect();
    config.attachments.retain(|attachment| names.contains(&attachment.segment));
    let suppresses = |name: &crate::model::Name| {
        config.segments.iter().any(|segment| segment.name == *name && segment.suppress)
    };
    for attachment in config.attachments.iter_mut().filter(|one| !suppresses(&one.segment)) {
        attachment.bindings.clear();
    }
    config
}

/// Devices of the ports; some are missing, some were made anew with another ifindex.
fn devices(config: &NodeConfig, dice: &[u8]) -> BTreeMap<String, Device> {
    let device = |(index, die): (u32, &u8)| match die % 8 {
        0 => None,
        1 => Some(20 + index),
        _ => Some(10 + index),
    };
    let ports = config.ports.iter().zip((0..).zip(dice));
    let devices = ports.filter_map(|(port, dice)| Some((port.name.to_string(), device(dice)?)));
    devices
        .map(|(name, ifindex)| {
            let mac = [2, 0, 0, 0, 0, ifindex as u8];
            (
                name,
                Device {
                    ifindex,
                    mac,
                    at_tc: ifindex % 2 == 0,
                    has_far_end: ifindex % 4 == 0,
                    is_veth: ifindex % 3 == 0,
                },
            )
        })
        .collect()
}

/// A history of a node: configurations that follow one another, with the tables of each.
fn history() -> impl Strategy<Value = Vec<Tables>> {
    (node_config(), vec((vec(any::<u8>(), 61), vec(any::<u8>(), 8)), 1..=4)).prop_map(
        |(config, changes)| {
            let mut history = vec![Tables::default()];
            for (dice, ports) in changes {
                let config = changed(&config, &dice);
                let tables =
                    compiled(&config, &devices(&config, &ports), &history[history.len() - 1]);
                history.push(tables);
            }
            history
        },
    )
}

fn compiled(config: &NodeConfig, devices: &BTreeMap<String, Device>, previous: &Tables) -> Tables {
    compile(config, devices, previous, &Sizes::from(config.node.limits)).unwrap()
}

/// Whatever an entry refers to is there.
fn assert_no_dangling_reference(tables: &Tables) {
    let is_there = |endpoint: &Endpoint| match endpoint.is_remote() {
        true => tables.remotes.contains_key(&endpoint.id()),
        false => tables.attachments.contains_key(&endpoint.id()),
    };
    for (class, id) in &tables.classes {
        assert_eq!(tables.attachments[id].class, *class);
    }
    for (id, attachment) in &tables.attachments {
        let segment: &Segment = &tables.segments[&attachment.segment];
        assert_eq!((attachment.vni, attachment.service), (segment.vni, segment.service));
        let ifindex = attachment.class.ifindex;
        // XDP sends to all ports but those at TC.
        let is_at_tc = tables.ports[&ifindex].is_at_tc();
        assert_ne!(tables.devices.contains(&ifindex), is_at_tc, "{id}");
        assert!(attachment.cross.is_none() || is_there(&attachment.cross));
    }
    for (uid, segment) in &tables.segments {
        assert!(*uid < tables.node.next_uid && tables.labels.contains_key(uid));
        assert_eq!(tables.vnis[&segment.vni], *uid);
        let members = tables.members(segment);
        assert_eq!(members.len(), segment.members as usize);
        assert!(members.iter().all(is_there));
    }
    for (key, tunnel) in &tables.tunnels {
        assert_eq!((tunnel.key, tables.vnis[&key.vni]), (*key, tunnel.segment));
        assert_eq!(tables.remotes[&tunnel.remote], key.source);
        assert!(tunnel.cross.is_none() || is_there(&tunnel.cross));
    }
    for (key, endpoint) in &tables.macs {
        assert_eq!(tables.attachments[&endpoint.id()].segment, key.segment);
    }
    for (key, binding) in &tables.bindings {
        let attachment = &tables.attachments[&binding.endpoint.id()];
        assert_eq!((attachment.segment, binding.segment), (key.segment, key.segment));
        assert!(attachment.guards & Guards::SUPPRESS != 0);
        assert_eq!(binding.claim.flags & sillon_abi::Claim::LEAF != 0, attachment.leaf != 0);
    }
    assert!(
        tables.prefixes.iter().all(|(_, key)| tables.attachments.contains_key(&key.attachment()))
    );
    assert!(tables.ethertypes.iter().all(|key| tables.attachments.contains_key(&key.attachment)));
    let lists: BTreeSet<u32> = tables.segments.values().map(|segment| segment.list).collect();
    let of_nobody = |key: &&FloodKey| !lists.contains(&key.list);
    assert_eq!(tables.flood.keys().find(of_nobody), None);
}

/// A node that holds these tables, has learned an address at each endpoint, and reaches no remote.
fn live(tables: &Tables) -> Live {
    let mac = |number: usize| sillon_abi::Mac::new([2, 1, 0, 0, (number >> 8) as u8, number as u8]);
    let fdb = tables.endpoints().into_iter().enumerate();
    let entry = |endpoint| FdbEntry::learned(endpoint, 0);
    let address = |number: usize| Addr([0xfd, 0, 0, 0, 0, 0, 0, number as u16]);
    let heard = tables.claimants().into_iter().filter(|(_, endpoint)| {
        endpoint.is_remote() || tables.attachments[&endpoint.id()].guards & Guards::PREFIXES == 0
    });
    let claim = sillon_abi::Claim { mac: mac(1), flags: 0 };
    let heard = heard.enumerate().map(|(n, (segment, endpoint))| {
        (BindingKey::new(segment, address(n)), Binding { claim, endpoint, segment, seen: 0 })
    });
    let ifindexes: Vec<u32> = tables.records.keys().copied().collect();
    let attachments: Vec<u32> = tables.attachments.keys().copied().collect();
    let segments: Vec<u32> = tables.segments.keys().copied().collect();
    Live {
        bindings: heard.collect(),
        fdb: fdb
            .map(|(n, (uid, endpoint))| (FdbKey::new(uid, mac(n)), entry(endpoint)))
            .chain(
                tables.macs.iter().map(|(key, endpoint)| (*key, FdbEntry::configured(*endpoint))),
            )
            .collect(),
        remotes: tables
            .remotes
            .iter()
            .map(|(id, addr)| (*id, RemoteEntry { addr: *addr, ..RemoteEntry::default() }))
            .collect(),
        paths: BTreeMap::new(),
        attached: tables.ports.keys().copied().collect(),
        drops: [(1, &ifindexes), (2, &attachments), (3, &segments)]
            .into_iter()
            .flat_map(|(scope, ids)| ids.iter().map(move |id| DropKey { scope, id: *id }))
            .collect(),
        tables: tables.clone(),
        ..Live::default()
    }
}

/// What of a file there is room for, and its tables.
fn fitted(
    config: &NodeConfig,
    devices: &BTreeMap<String, Device>,
    previous: &Tables,
    sizes: &Sizes,
) -> (NodeConfig, Vec<LeftOut>, Tables) {
    let mut fit = Cow::Borrowed(config);
    let left_out = room::fit(&mut fit, devices, previous, sizes);
    let tables = compile(&fit, devices, previous, sizes).unwrap();
    (fit.into_owned(), left_out, tables)
}

proptest! {
    /// Whatever is asked for, and however little room there is: some of it fits, and all else is
    /// told of.
    #[test]
    fn what_there_is_no_room_for_is_left_out_and_who_was_there_keeps_its_place(
        config in node_config(),
        (attachments, segments, remotes) in (1_u32..8, 1_u32..5, 1_u32..4),
        (few, dice) in (vec(any::<bool>(), 16), vec(1_u8..=255, 8)),
    ) {
        let sizes = Sizes { attachments, segments, remotes, fdb: 64 };
        let devices = devices(&config, &dice);
        let mut first = config.clone();
        let mut keeps = few.iter().cycle();
        first.attachments.retain(|_| keeps.next().is_some_and(|keeps| *keeps));
        let (_, _, before) = fitted(&first, &devices, &Tables::default(), &sizes);
        let (fit, left_out, after) = fitted(&config, &devices, &before, &sizes);
        prop_assert_eq!(fit.attachments.len() + left_out.len(), {
            let alone = |it: &&LeftOut| matches!(it.what, Item::Segment { .. });
            config.attachments.len() + left_out.iter().filter(alone).count()
        });
        let there = |tables: &Tables| -> BTreeSet<(u32, ClassKey)> {
            tables.attachments.values().map(|entry| (entry.segment, entry.class)).collect()
        };
        prop_assert!(there(&before).is_subset(&there(&after)), "{left_out:?}");
        // And again: nothing changes.
        let (_, again, twice) = fitted(&config, &devices, &after, &sizes);
        let items = |all: Vec<LeftOut>| all.into_iter().map(|it| it.what).collect::<BTreeSet<_>>();
        prop_assert_eq!(items(left_out), items(again));
        prop_assert_eq!(after, twice);
    }

    #[test]
    fn what_is_compiled_is_in_order(history in history()) {
        for tables in &history {
            let violations = verify(&live(tables)).violations;
            let about_numbers = |violation: &&Violation| !violation.what.contains("more than its");
            prop_assert_eq!(violations.iter().find(about_numbers), None);
        }
    }

    #[test]
    fn what_is_compiled_twice_stays_as_it_is(config in node_config(), dice in vec(any::<u8>(), 8)) {
        let devices = devices(&config, &dice);
        let once = compiled(&config, &devices, &Tables::default());
        let twice = compiled(&config, &devices, &once);
        prop_assert_eq!(diff(&once, &twice), []);
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn tables_refer_only_to_what_is_there(history in history()) {
        history.iter().for_each(assert_no_dangling_reference);
    }

    #[test]
    fn a_uid_means_one_segment_for_ever(history in history()) {
        let mut meant = BTreeMap::new();
        for tables in &history {
            for (uid, segment) in &tables.segments {
                let label = &tables.labels[uid];
                let means = (label.segment, label.operator, segment.vni, segment.service);
                prop_assert_eq!(*meant.entry(*uid).or_insert(means), means);
            }
        }
    }

    #[test]
    fn what_stays_keeps_its_id(history in history()) {
        for pair in history.windows(2) {
            let ids = |tables: &Tables| -> BTreeMap<(u32, ClassKey), u32> {
                let all = tables.attachments.iter();
                all.map(|(id, entry)| ((entry.segment, entry.class), *id)).collect()
            };
            let (old, new) = (ids(&pair[0]), ids(&pair[1]));
            for (what, id) in &new {
                prop_assert!(old.get(what).is_none_or(|before| before == id));
                // Whoever still holds the id of something that goes must find nothing.
                prop_assert!(old.contains_key(what) || !pair[0].attachments.contains_key(id));
            }
        }
    }

    #[test]
    fn the_steps_lead_from_the_old_tables_to_the_new(history in history()) {
        for pair in history.windows(2) {
            let mut state = State::settled(&pair[0]);
            diff(&pair[0], &pair[1]).iter().for_each(|op| state.take(op));
            prop_assert_eq!(&state.tables, &pair[1]);
            prop_assert!(state.learned.is_subset(&pair[1].endpoints()), "something is learned of \
                what is gone");
        }
    }

    #[test]
    fn at_no_step_does_a_frame_go_where_neither_old_nor_new_would_send_it(history in history()) {
        for pair in history.windows(2) {
            let frames = frames(&[&pair[0], &pair[1]]);
            let allowed = &settled_reach(&pair[0], &frames) | &settled_reach(&pair[1], &frames);
            let mut state = State::settled(&pair[0]);
            let mut memory = Memory::default();
            memory.go_on(&state, &frames);
            for op in diff(&pair[0], &pair[1]) {
                if let Op::SetFlood(key, _) = op {
                    let is_read = |segment: &Segment| {
                        segment.list == key.list && key.index < segment.members
                    };
                    prop_assert!(!state.tables.segments.values().any(is_read), "a list that is \
                        read is written");
                }
                memory.take(&op);
                state.take(&op);
                memory.go_on(&state, &frames);
                state.learn(&memory.under_way);
                state.hear(&memory);
                let reach = &reach(&memory.under_way, &state) | &memory.reach(&state);
                if let Some(wrong) = reach.difference(&allowed).next() {
                    prop_assert!(false, "after {op:?}: {wrong:?}");
                }
            }
            memory.take(&Op::Barrier);
            let left = &memory.reach(&state) - &settled_reach(&pair[1], &frames);
            prop_assert!(left.is_empty(), "remembered for longer: {left:?}");
            let left = &state.heard - &pair[1].claimants();
            prop_assert!(left.is_empty(), "answered from what is gone: {left:?}");
        }
    }
}
