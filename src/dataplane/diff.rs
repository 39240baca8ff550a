//! From the tables as they are to the tables as they should be: first down to what they have in common, then up to the new ones.
//!
//! Whoever leaves a segment must not reach who joins it, nor the other way round. So all that goes is gone (the referrers first, then,
//! after every program that may still hold them has ended ([`Op::Barrier`]), what was learned of them, then what they referred to)
//! before the first that is new comes. What stays is not touched meanwhile: each moment's tables send its frames where the old or the new
//! ones do.

use std::collections::{BTreeMap, BTreeSet};

use sillon_abi::{
    Addr, Attachment, Binding, BindingKey, ClassKey, EthertypeKey, Exit, FdbKey, FloodKey, Label, Mac,
    NodeEntry, PortEntry, PortRecord, PrefixKey, Rates, Segment, TunnelEntry, TunnelKey,
};

use super::tables::{Lists, Tables, interim_list};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Write the node's own entry.
    SetNode(NodeEntry),
    /// Write a name.
    SetLabel(u32, Label),
    /// Start to account for a segment's FDB entries and bindings.
    AddFdbUse(u32),
    /// Give a remote an id.
    SetRemote(u32, Addr),
    /// Write what an attachment may send and be sent.
    SetRates(u32, Rates),
    /// Write an attachment; its counters start at zero and its buckets full if it is new.
    SetAttachment(u32, Attachment, Freshness),
    /// Write a place of a flood list.
    SetFlood(FloodKey, Exit),
    /// Let XDP redirect to a device.
    AddDevice(u32),
    /// Remember a port.
    SetRecord(u32, PortRecord),
    /// Write a segment.
    SetSegment(u32, Segment),
    /// Write a port.
    SetPort(u32, PortEntry),
    /// Let a class name an attachment.
    SetClass(ClassKey, u32),
    /// Accept a tunnel source.
    SetTunnel(TunnelKey, TunnelEntry),
    /// Serve a VNI.
    SetVni(u32, u32),
    /// Drop a class.
    RemoveClass(ClassKey),
    /// No longer accept a tunnel source.
    RemoveTunnel(TunnelKey),
    /// No longer serve a VNI.
    RemoveVni(u32),
    /// Forget a port.
    RemovePort(u32),
    /// Let programs that begin after this recall nothing that was decided before it.
    Forget,
    /// Wait until no program runs that began before this.
    Barrier,
    /// Forget what was learned of all but these (segment uid, exit) pairs, and what was decided by it.
    PurgeFdb(BTreeSet<(u32, Exit)>),
    /// Forget who was heard to have which address, but for what was heard at these.
    PurgeBindings(BTreeSet<(u32, Exit)>),
    /// Free an attachment's id; its limits and buckets go with it.
    RemoveAttachment(u32),
    /// Forget a segment, and its counts.
    RemoveSegment(u32),
    /// Free a place of a flood list.
    RemoveFlood(FloodKey),
    /// Free a remote's id.
    RemoveRemote(u32),
    /// No longer redirect to a device.
    RemoveDevice(u32),
    /// Forget a port's record.
    RemoveRecord(u32),
    /// Configure an address for an attachment; what was learned of it goes.
    SetMac(FdbKey, Exit),
    /// No longer configure it.
    RemoveMac(FdbKey),
    /// Nobody may send from this address.
    AddOwnMac(Mac),
    /// It is no longer the node's.
    RemoveOwnMac(Mac),
    /// Allow a prefix.
    AddPrefix(u32, PrefixKey),
    /// No longer allow it.
    RemovePrefix(u32, PrefixKey),
    /// Allow an ethertype.
    AddEthertype(EthertypeKey),
    /// No longer allow it.
    RemoveEthertype(EthertypeKey),
    /// Configure whose an address is.
    SetBinding(BindingKey, Binding),
    /// No longer configure it.
    RemoveBinding(BindingKey),
}

/// Whether an attachment's id is in use already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The id was free.
    New,
    /// The same attachment, changed.
    Changed,
}

/// Entries that are new or changed.
fn set<'a, K: Ord + Copy, V: PartialEq + Copy>(
    old: &'a BTreeMap<K, V>,
    new: &'a BTreeMap<K, V>,
    op: impl Fn(K, V) -> Op + 'a,
) -> impl Iterator<Item = Op> + 'a {
    new.iter().filter(|(key, value)| old.get(key) != Some(value)).map(move |(key, value)| op(*key, *value))
}

/// Entries that go.
fn removed<'a, K: Ord + Copy, V>(
    old: &'a BTreeMap<K, V>,
    new: &'a BTreeMap<K, V>,
    op: impl Fn(K) -> Op + 'a,
) -> impl Iterator<Item = Op> + 'a {
    old.keys().filter(|key| !new.contains_key(key)).map(move |key| op(*key))
}

/// The steps from `old` to `new`; none where they are equal.
pub fn diff(old: &Tables, new: &Tables) -> Vec<Op> {
    let common = common(old, new);
    let mut ops = narrow(old, &common);
    ops.extend(widen(&common, new));
    if !ops.is_empty() {
        ops.push(Op::Forget);
    }
    let believed = believed(old, new);
    if !common.claimants().is_subset(&believed) {
        // What recalls a decision listens as it did before, until that is forgotten.
        ops.extend([Op::Barrier, Op::PurgeBindings(believed)]);
    }
    ops
}

/// Whoever was heard before, and would be heard to say the same now.
fn believed(old: &Tables, new: &Tables) -> BTreeSet<(u32, Exit)> {
    let (before, after) = (Lists::of(old).prefixes, Lists::of(new).prefixes);
    let is_as_free = |id: u32| match (before.get(&id), after.get(&id)) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(before), Some(after)) => before.iter().all(|prefix| after.contains(prefix)),
    };
    let claimants = new.claimants().into_iter();
    claimants.filter(|(_, exit)| exit.is_remote() || is_as_free(exit.id())).collect()
}

/// What both have, as it is in `old`. Of the ids, those that are free in both.
fn common(old: &Tables, new: &Tables) -> Tables {
    let mut common = Tables {
        node: NodeEntry { next_uid: new.node.next_uid, next_list: new.node.next_list, ..old.node },
        ports: in_both(&old.ports, &new.ports, |old, new| old.role == new.role),
        records: in_both(&old.records, &new.records, |_, _| true),
        classes: in_both(&old.classes, &new.classes, u32::eq),
        attachments: in_both(&old.attachments, &new.attachments, |_, _| true),
        rates: in_both(&old.rates, &new.rates, |_, _| true),
        segments: in_both(&old.segments, &new.segments, |_, _| true),
        labels: in_both(&old.labels, &new.labels, |_, _| true),
        tunnels: in_both(&old.tunnels, &new.tunnels, |old, new| {
            (old.segment, old.remote) == (new.segment, new.remote)
        }),
        vnis: in_both(&old.vnis, &new.vnis, u32::eq),
        remotes: in_both(&old.remotes, &new.remotes, Addr::eq),
        flood: BTreeMap::new(),
        devices: &old.devices & &new.devices,
        own_macs: old.own_macs.clone(),
        // As long as the guards ask for them: an attachment that stays loses no frame while its lists change.
        macs: old.macs.clone(),
        prefixes: old.prefixes.clone(),
        ethertypes: old.ethertypes.clone(),
        bindings: in_both(&old.bindings, &new.bindings, Binding::eq),
    };
    let stays = |id: u32| new.attachments.contains_key(&id);
    common.macs.retain(|_, exit| stays(exit.id()));
    common.prefixes.retain(|(_, key)| stays(key.attachment()));
    common.ethertypes.retain(|key| stays(key.attachment));
    common.bindings.retain(|_, binding| stays(binding.exit.id()));
    // Whoever is a leaf before or after is one in between: a frame of a root that is to be a leaf must not find a leaf that joins.
    for (id, attachment) in &mut common.attachments {
        attachment.leaf |= new.attachments.get(id).map_or(0, |new| new.leaf);
    }
    for (ifindex, port) in &mut common.ports {
        if new.ports.get(ifindex).is_some_and(|new| new.whole != port.whole) {
            port.whole = 0;
        }
    }
    for (uid, segment) in &mut common.segments {
        let Some(after) = new.segments.get(uid) else { continue };
        let (before, after_members) = (old.members(segment), new.members(after));
        let members: Vec<Exit> = before.iter().copied().filter(|exit| after_members.contains(exit)).collect();
        if members == after_members {
            segment.list = after.list;
        } else if members != before {
            segment.list = interim_list(after.list);
        }
        segment.members = u32::try_from(members.len()).unwrap_or(u32::MAX);
        let list = segment.list;
        common.flood.extend((0..).zip(members).map(|(index, exit)| (FloodKey { list, index }, exit)));
    }
    common
}

fn in_both<K: Ord + Copy, V: Copy>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
    is_same: impl Fn(&V, &V) -> bool,
) -> BTreeMap<K, V> {
    let both = old.iter().filter(|(key, value)| new.get(key).is_some_and(|new| is_same(value, new)));
    both.map(|(key, value)| (*key, *value)).collect()
}

/// From `old` to a part of it.
fn narrow(old: &Tables, part: &Tables) -> Vec<Op> {
    let mut ops = Vec::new();
    if old.node != part.node {
        ops.push(Op::SetNode(part.node));
    }
    ops.extend(set(&old.attachments, &part.attachments, |id, attachment| {
        Op::SetAttachment(id, attachment, Freshness::Changed)
    }));
    ops.extend(set(&old.flood, &part.flood, Op::SetFlood));
    ops.extend(set(&old.segments, &part.segments, Op::SetSegment));
    ops.extend(set(&old.ports, &part.ports, Op::SetPort));
    ops.extend(removed(&old.classes, &part.classes, Op::RemoveClass));
    ops.extend(removed(&old.tunnels, &part.tunnels, Op::RemoveTunnel));
    ops.extend(removed(&old.vnis, &part.vnis, Op::RemoveVni));
    ops.extend(removed(&old.ports, &part.ports, Op::RemovePort));
    let mut last = Vec::new();
    remove_lists(old, part, &mut last);
    let exits = part.exits();
    if !old.exits().is_subset(&exits) {
        last.push(Op::PurgeFdb(exits));
    }
    let claimants = part.claimants();
    if !old.claimants().is_subset(&claimants) {
        // Claims are heard also of who recalls a decision, which the last step voids for those that begin after it.
        last.extend([Op::Barrier, Op::PurgeBindings(claimants)]);
    }
    last.extend(removed(&old.attachments, &part.attachments, Op::RemoveAttachment));
    last.extend(removed(&old.flood, &part.flood, Op::RemoveFlood));
    last.extend(removed(&old.segments, &part.segments, Op::RemoveSegment));
    last.extend(removed(&old.remotes, &part.remotes, Op::RemoveRemote));
    last.extend(old.devices.difference(&part.devices).map(|ifindex| Op::RemoveDevice(*ifindex)));
    last.extend(removed(&old.records, &part.records, Op::RemoveRecord));
    if ops.iter().any(|op| !matches!(op, Op::SetNode(_))) || !last.is_empty() {
        ops.push(Op::Barrier);
    }
    ops.extend(last);
    ops
}

/// From a part of `new` to it.
fn widen(part: &Tables, new: &Tables) -> Vec<Op> {
    let mut ops = Vec::new();
    if part.node != new.node {
        ops.push(Op::SetNode(new.node));
    }
    add_referred(part, new, &mut ops);
    ops.extend(set(&part.segments, &new.segments, Op::SetSegment));
    ops.extend(set(&part.ports, &new.ports, Op::SetPort));
    ops.extend(set(&part.tunnels, &new.tunnels, Op::SetTunnel));
    ops.extend(set(&part.vnis, &new.vnis, Op::SetVni));
    ops.extend(set(&part.classes, &new.classes, Op::SetClass));
    let mut interim: Vec<Op> = removed(&part.flood, &new.flood, Op::RemoveFlood).collect();
    remove_lists(part, new, &mut interim);
    if !interim.is_empty() {
        ops.push(Op::Barrier);
        ops.extend(interim);
    }
    ops
}

/// What one tables' guards list and the others' don't.
fn remove_lists(from: &Tables, to: &Tables, ops: &mut Vec<Op>) {
    ops.extend(from.own_macs.difference(&to.own_macs).map(|mac| Op::RemoveOwnMac(*mac)));
    ops.extend(removed(&from.macs, &to.macs, Op::RemoveMac));
    ops.extend(from.prefixes.difference(&to.prefixes).map(|(length, key)| Op::RemovePrefix(*length, *key)));
    ops.extend(from.ethertypes.difference(&to.ethertypes).map(|key| Op::RemoveEthertype(*key)));
    ops.extend(removed(&from.bindings, &to.bindings, Op::RemoveBinding));
}

/// The other way round.
fn add_lists(part: &Tables, new: &Tables, ops: &mut Vec<Op>) {
    ops.extend(new.own_macs.difference(&part.own_macs).map(|mac| Op::AddOwnMac(*mac)));
    ops.extend(new.prefixes.difference(&part.prefixes).map(|(length, key)| Op::AddPrefix(*length, *key)));
    ops.extend(new.ethertypes.difference(&part.ethertypes).map(|key| Op::AddEthertype(*key)));
    ops.extend(set(&part.macs, &new.macs, Op::SetMac));
    ops.extend(set(&part.bindings, &new.bindings, Op::SetBinding));
}

fn add_referred(part: &Tables, new: &Tables, ops: &mut Vec<Op>) {
    ops.extend(set(&part.labels, &new.labels, Op::SetLabel));
    ops.extend(
        new.segments.keys().filter(|uid| !part.segments.contains_key(uid)).map(|uid| Op::AddFdbUse(*uid)),
    );
    ops.extend(set(&part.remotes, &new.remotes, Op::SetRemote));
    ops.extend(set(&part.records, &new.records, Op::SetRecord));
    ops.extend(new.devices.difference(&part.devices).map(|ifindex| Op::AddDevice(*ifindex)));
    ops.extend(set(&part.rates, &new.rates, Op::SetRates));
    let is_new = |id: &u32| !part.attachments.contains_key(id);
    let (fresh, changed): (Vec<Op>, Vec<Op>) = set(&part.attachments, &new.attachments, |id, attachment| {
        let freshness = if is_new(&id) { Freshness::New } else { Freshness::Changed };
        Op::SetAttachment(id, attachment, freshness)
    })
    .partition(|op| matches!(op, Op::SetAttachment(_, _, Freshness::New)));
    // A list refers to its attachment, and an attachment that stays to its list.
    ops.extend(fresh);
    add_lists(part, new, ops);
    ops.extend(changed);
    ops.extend(set(&part.flood, &new.flood, Op::SetFlood));
}
