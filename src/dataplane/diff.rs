//! From the tables as they are to the tables as they should be, make before break.
//!
//! The steps come in five stages: first what will be referred to, then the referrers, then referrers go, then (after every program that may
//! still hold them has ended: [`Op::Barrier`]) what was learned of them, then what they referred to. So at each moment a frame goes only where
//! the old or the new tables send it.

use std::collections::{BTreeMap, BTreeSet};

use sillon_abi::{
    Addr, Attachment, ClassKey, Exit, FloodKey, Label, NodeEntry, PortEntry, PortRecord, Segment,
    TunnelEntry, TunnelKey,
};

use super::tables::Tables;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Write the node's own entry.
    SetNode(NodeEntry),
    /// Write a name.
    SetLabel(u32, Label),
    /// Start to account for a segment's FDB entries.
    AddFdbUse(u32),
    /// Give a remote an id.
    SetRemote(u32, Addr),
    /// Write an attachment; its counters start at zero if it is new.
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
    /// Wait until no program runs that began before this.
    Barrier,
    /// Forget what was learned of all but these (segment uid, exit) pairs.
    PurgeFdb(BTreeSet<(u32, Exit)>),
    /// Free an attachment's id.
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
    let mut ops = Vec::new();
    add_referred(old, new, &mut ops);
    switch_referrers(old, new, &mut ops);
    let mut last = Vec::new();
    remove_referred(old, new, &mut last);
    let gone: Vec<_> = removed(&old.classes, &new.classes, Op::RemoveClass)
        .chain(removed(&old.tunnels, &new.tunnels, Op::RemoveTunnel))
        .chain(removed(&old.vnis, &new.vnis, Op::RemoveVni))
        .chain(removed(&old.ports, &new.ports, Op::RemovePort))
        .collect();
    let exits = new.exits();
    let purge = old.exits().difference(&exits).next().is_some();
    if !gone.is_empty() || !last.is_empty() || purge {
        ops.extend(gone);
        ops.push(Op::Barrier);
        if purge {
            ops.push(Op::PurgeFdb(exits));
        }
        ops.extend(last);
    }
    ops
}

fn add_referred(old: &Tables, new: &Tables, ops: &mut Vec<Op>) {
    if old.node != new.node {
        ops.push(Op::SetNode(new.node));
    }
    ops.extend(set(&old.labels, &new.labels, Op::SetLabel));
    ops.extend(
        new.segments.keys().filter(|uid| !old.segments.contains_key(uid)).map(|uid| Op::AddFdbUse(*uid)),
    );
    ops.extend(set(&old.remotes, &new.remotes, Op::SetRemote));
    ops.extend(set(&old.records, &new.records, Op::SetRecord));
    ops.extend(new.devices.difference(&old.devices).map(|ifindex| Op::AddDevice(*ifindex)));
    ops.extend(set(&old.attachments, &new.attachments, |id, attachment| {
        let freshness = if old.attachments.contains_key(&id) { Freshness::Changed } else { Freshness::New };
        Op::SetAttachment(id, attachment, freshness)
    }));
    ops.extend(set(&old.flood, &new.flood, Op::SetFlood));
}

fn switch_referrers(old: &Tables, new: &Tables, ops: &mut Vec<Op>) {
    ops.extend(set(&old.segments, &new.segments, Op::SetSegment));
    ops.extend(set(&old.ports, &new.ports, Op::SetPort));
    ops.extend(set(&old.tunnels, &new.tunnels, Op::SetTunnel));
    ops.extend(set(&old.vnis, &new.vnis, Op::SetVni));
    ops.extend(set(&old.classes, &new.classes, Op::SetClass));
}

fn remove_referred(old: &Tables, new: &Tables, ops: &mut Vec<Op>) {
    ops.extend(removed(&old.attachments, &new.attachments, Op::RemoveAttachment));
    ops.extend(removed(&old.flood, &new.flood, Op::RemoveFlood));
    ops.extend(removed(&old.segments, &new.segments, Op::RemoveSegment));
    ops.extend(removed(&old.remotes, &new.remotes, Op::RemoveRemote));
    ops.extend(old.devices.difference(&new.devices).map(|ifindex| Op::RemoveDevice(*ifindex)));
    ops.extend(removed(&old.records, &new.records, Op::RemoveRecord));
}
