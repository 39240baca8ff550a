//! From the tables as they are to the tables as they should be: first down to what they have in
//! common, then up to the new ones.
//!
//! Whoever leaves a segment must not reach who joins it, nor the other way round. So all that goes
//! is gone (the referrers first, then, after every program that may still hold them has ended
//! ([`Op::Barrier`]), what was learned of them, then what they referred to) before the first that
//! is new comes. What stays is not touched meanwhile: each moment's tables send its frames where
//! the old or the new ones do.

mod table;

use std::{borrow::Cow, collections::BTreeSet};

use sillon_abi::{
    Addr, Attachment, Binding, BindingKey, ClassKey, Endpoint, EthertypeKey, FdbKey, FloodKey,
    Label, Mac, NodeEntry, PortEntry, PortRecord, PrefixKey, Rates, Segment, TunnelEntry,
    TunnelKey,
};

use self::table::{FloodLists, Stage, TableDiff};
use super::tables::{Lists, Tables};

/// One step. What is large in it has a place of its own: a change may be some hundred thousand
/// small steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Write the node's own entry.
    SetNode(NodeEntry),
    /// Write a name.
    SetLabel(u32, Box<Label>),
    /// Start to account for a segment's FDB entries and bindings.
    AddFdbUse(u32),
    /// Give a remote an id.
    SetRemote(u32, Addr),
    /// Write what an attachment may send and be sent.
    SetRates(u32, Box<Rates>),
    /// Write an attachment; its counters start at zero and its buckets full if it is new.
    SetAttachment(u32, Attachment, Freshness),
    /// Write a place of a flood list.
    SetFlood(FloodKey, Endpoint),
    /// Let XDP redirect to a device.
    AddDevice(u32),
    /// Let TC redirect to a device.
    AddTcDevice(u32),
    /// Remember a port.
    SetRecord(u32, PortRecord),
    /// Write a segment.
    SetSegment(u32, Segment),
    /// Write a port.
    SetPort(u32, PortEntry),
    /// Let a class name an attachment.
    SetClass(ClassKey, u32),
    /// Accept a tunnel source.
    SetTunnel(TunnelEntry),
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
    /// Void all cached decisions, for programs that begin after this.
    Forget,
    /// Wait until no program runs that began before this.
    Barrier,
    /// Forget what was learned of all but these (segment uid, endpoint) pairs, and what was decided
    /// by it.
    PurgeFdb(BTreeSet<(u32, Endpoint)>),
    /// Forget who was heard to have which address, but for what was heard at these.
    PurgeBindings(BTreeSet<(u32, Endpoint)>),
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
    /// The same of TC.
    RemoveTcDevice(u32),
    /// Forget a port's record.
    RemoveRecord(u32),
    /// Configure an address for an attachment; what was learned of it goes.
    SetMac(FdbKey, Endpoint),
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

/// The steps of a change, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Down to what both have: what goes is gone after them.
    pub down: Vec<Op>,
    /// What will be referred to. Not to be taken unless every frame that began before `down` has
    /// ended.
    pub refer: Vec<Op>,
    /// What refers to it: from here on, what is new carries frames.
    pub switch: Vec<Op>,
    /// What was decided and heard before is void.
    pub last: Vec<Op>,
}

impl Steps {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.down.len() + self.refer.len() + self.switch.len() + self.last.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The steps from `old` to `new`; none where they are equal.
pub fn diff(old: &Tables, new: &Tables) -> Vec<Op> {
    let Steps { mut down, refer, switch, last } = steps(old, new);
    down.extend(refer.into_iter().chain(switch).chain(last));
    down
}

/// As [`diff`], with what removes apart from what adds.
pub fn steps(old: &Tables, new: &Tables) -> Steps {
    let ways = Ways::new(old, new);
    let points = ways.points(old);
    let mut steps = Steps { down: ways.narrow(old, &points), ..Steps::default() };
    if ways.node != new.node {
        steps.refer.push(Op::SetNode(new.node));
    }
    ways.add_referred(&mut steps.refer);
    ways.widen(&mut steps.switch);
    if !steps.is_empty() {
        steps.last.push(Op::Forget);
    }
    let claimants = points.claimants();
    if !claimants.is_empty() {
        let believed = believed(old, new);
        if !claimants.is_subset(&believed) {
            // A frame whose decision is cached is heard as before, until that is void.
            steps.last.extend([Op::Barrier, Op::PurgeBindings(believed)]);
        }
    }
    steps
}

/// Whoever was heard before, and would be heard to say the same now.
fn believed(old: &Tables, new: &Tables) -> BTreeSet<(u32, Endpoint)> {
    let (before, after) = (Lists::of(old).prefixes, Lists::of(new).prefixes);
    let is_as_free = |id: u32| match (before.get(&id), after.get(&id)) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(before), Some(after)) => before.iter().all(|prefix| after.contains(prefix)),
    };
    let claimants = new.claimants().into_iter();
    claimants.filter(|(_, endpoint)| endpoint.is_remote() || is_as_free(endpoint.id())).collect()
}

/// What becomes of all tables.
struct Ways {
    /// In between.
    node: NodeEntry,
    ports: TableDiff<u32, PortEntry>,
    records: TableDiff<u32, PortRecord>,
    classes: TableDiff<ClassKey, u32>,
    attachments: TableDiff<u32, Attachment>,
    rates: TableDiff<u32, Rates>,
    segments: TableDiff<u32, Segment>,
    labels: TableDiff<u32, Label>,
    tunnels: TableDiff<TunnelKey, TunnelEntry>,
    vnis: TableDiff<u32, u32>,
    remotes: TableDiff<u32, Addr>,
    flood: TableDiff<FloodKey, Endpoint>,
    devices: TableDiff<u32, ()>,
    tc_devices: TableDiff<u32, ()>,
    macs: TableDiff<FdbKey, Endpoint>,
    own_macs: TableDiff<Mac, ()>,
    prefixes: TableDiff<(u32, PrefixKey), ()>,
    ethertypes: TableDiff<EthertypeKey, ()>,
    bindings: TableDiff<BindingKey, Binding>,
}

impl Ways {
    /// In between, what both have is as it is in `old`; of the ids, those that are free in both
    /// are.
    fn new(old: &Tables, new: &Tables) -> Self {
        let stays = |id: u32| new.attachments.contains_key(&id);
        let mut lists = FloodLists::default();
        Self {
            node: NodeEntry {
                next_uid: new.node.next_uid,
                next_list: new.node.next_list,
                ..old.node
            },
            ports: TableDiff::between(&old.ports, &new.ports, |_, old, new| {
                let new = new.filter(|new| new.role == old.role)?;
                Some(PortEntry {
                    whole: if new.whole == old.whole { old.whole } else { 0 },
                    ..*old
                })
            }),
            records: TableDiff::kept(&old.records, &new.records, |_, _| true),
            classes: TableDiff::kept(&old.classes, &new.classes, u32::eq),
            // Whoever is a leaf before or after is one in between: a frame of a root that is to be
            // a leaf must not find a leaf that joins.
            attachments: TableDiff::between(&old.attachments, &new.attachments, |_, old, new| {
                Some(Attachment { leaf: old.leaf | new?.leaf, ..*old })
            }),
            rates: TableDiff::kept(&old.rates, &new.rates, |_, _| true),
            segments: TableDiff::between(&old.segments, &new.segments, |_, before, after| {
                Some(lists.between((old, before), (new, after?)))
            }),
            labels: TableDiff::kept(&old.labels, &new.labels, |_, _| true),
            tunnels: TableDiff::kept(&old.tunnels, &new.tunnels, |old, new| {
                (old.segment, old.remote) == (new.segment, new.remote)
            }),
            vnis: TableDiff::kept(&old.vnis, &new.vnis, u32::eq),
            remotes: TableDiff::kept(&old.remotes, &new.remotes, Addr::eq),
            flood: lists.diff(&old.flood, &new.flood),
            devices: TableDiff::of_sets(&old.devices, &new.devices, |_, is_wanted| is_wanted),
            tc_devices: TableDiff::of_sets(&old.tc_devices, &new.tc_devices, |_, is_wanted| {
                is_wanted
            }),
            // As long as the guards ask for them: an attachment that stays loses no frame while its
            // lists change.
            macs: TableDiff::between(&old.macs, &new.macs, |_, endpoint, _| {
                stays(endpoint.id()).then_some(*endpoint)
            }),
            own_macs: TableDiff::of_sets(&old.own_macs, &new.own_macs, |_, _| true),
            prefixes: TableDiff::of_sets(&old.prefixes, &new.prefixes, |(_, key), _| {
                stays(key.attachment())
            }),
            ethertypes: TableDiff::of_sets(&old.ethertypes, &new.ethertypes, |key, _| {
                stays(key.attachment)
            }),
            bindings: TableDiff::kept(&old.bindings, &new.bindings, Binding::eq),
        }
    }

    fn loses_points(&self) -> bool {
        !(self.attachments.gone.is_empty() && self.tunnels.gone.is_empty())
    }

    /// The attachments and tunnels in between; where none goes, they are those that there are.
    fn points<'a>(&self, old: &'a Tables) -> Cow<'a, Tables> {
        if !self.loses_points() {
            return Cow::Borrowed(old);
        }
        let (mut attachments, mut tunnels) = (old.attachments.clone(), old.tunnels.clone());
        for id in self.attachments.removed(Stage::Down) {
            attachments.remove(&id);
        }
        for key in self.tunnels.removed(Stage::Down) {
            tunnels.remove(&key);
        }
        Cow::Owned(Tables { attachments, tunnels, ..Tables::default() })
    }

    /// From `old` to what is in between; `points` are the attachments and tunnels there.
    fn narrow(&self, old: &Tables, points: &Tables) -> Vec<Op> {
        let mut ops = Vec::new();
        if old.node != self.node {
            ops.push(Op::SetNode(self.node));
        }
        let attachments = self.attachments.narrowed();
        ops.extend(attachments.map(|(id, it)| Op::SetAttachment(id, it, Freshness::Changed)));
        ops.extend(self.flood.narrowed().map(|(key, endpoint)| Op::SetFlood(key, endpoint)));
        ops.extend(self.segments.narrowed().map(|(uid, segment)| Op::SetSegment(uid, segment)));
        ops.extend(self.ports.narrowed().map(|(ifindex, port)| Op::SetPort(ifindex, port)));
        ops.extend(self.classes.removed(Stage::Down).map(Op::RemoveClass));
        ops.extend(self.tunnels.removed(Stage::Down).map(Op::RemoveTunnel));
        ops.extend(self.vnis.removed(Stage::Down).map(Op::RemoveVni));
        ops.extend(self.ports.removed(Stage::Down).map(Op::RemovePort));
        let last = self.free(old, points);
        if ops.iter().any(|op| !matches!(op, Op::SetNode(_))) || !last.is_empty() {
            ops.push(Op::Barrier);
        }
        ops.extend(last);
        ops
    }

    /// What nothing refers to any more, and what was learned of it.
    fn free(&self, old: &Tables, points: &Tables) -> Vec<Op> {
        let mut ops = Vec::new();
        self.remove_listed(Stage::Down, &mut ops);
        if self.loses_points() {
            ops.push(Op::PurgeFdb(points.endpoints()));
            let claimants = points.claimants();
            if !old.claimants().is_subset(&claimants) {
                // Frames whose decision is cached are heard, too; `PurgeFdb` voids those decisions,
                // for programs that begin after it.
                ops.extend([Op::Barrier, Op::PurgeBindings(claimants)]);
            }
        }
        ops.extend(self.attachments.removed(Stage::Down).map(Op::RemoveAttachment));
        ops.extend(self.flood.removed(Stage::Down).map(Op::RemoveFlood));
        ops.extend(self.segments.removed(Stage::Down).map(Op::RemoveSegment));
        ops.extend(self.remotes.removed(Stage::Down).map(Op::RemoveRemote));
        ops.extend(self.devices.removed(Stage::Down).map(Op::RemoveDevice));
        ops.extend(self.tc_devices.removed(Stage::Down).map(Op::RemoveTcDevice));
        ops.extend(self.records.removed(Stage::Down).map(Op::RemoveRecord));
        ops
    }

    /// From what is in between to what is wanted, once there is all that is referred to.
    fn widen(&self, ops: &mut Vec<Op>) {
        ops.extend(self.segments.set().map(|(uid, segment)| Op::SetSegment(uid, segment)));
        ops.extend(self.ports.set().map(|(ifindex, port)| Op::SetPort(ifindex, port)));
        ops.extend(self.tunnels.set().map(|(_, tunnel)| Op::SetTunnel(tunnel)));
        ops.extend(self.vnis.set().map(|(vni, uid)| Op::SetVni(vni, uid)));
        ops.extend(self.classes.set().map(|(class, id)| Op::SetClass(class, id)));
        let mut interim: Vec<Op> = self.flood.removed(Stage::Up).map(Op::RemoveFlood).collect();
        self.remove_listed(Stage::Up, &mut interim);
        if !interim.is_empty() {
            ops.push(Op::Barrier);
            ops.extend(interim);
        }
    }

    /// What guards list no longer.
    fn remove_listed(&self, stage: Stage, ops: &mut Vec<Op>) {
        ops.extend(self.own_macs.removed(stage).map(Op::RemoveOwnMac));
        ops.extend(self.macs.removed(stage).map(Op::RemoveMac));
        ops.extend(self.prefixes.removed(stage).map(|(length, key)| Op::RemovePrefix(length, key)));
        ops.extend(self.ethertypes.removed(stage).map(Op::RemoveEthertype));
        ops.extend(self.bindings.removed(stage).map(Op::RemoveBinding));
    }

    /// What they list from now on.
    fn add_listed(&self, ops: &mut Vec<Op>) {
        ops.extend(self.own_macs.set().map(|(mac, ())| Op::AddOwnMac(mac)));
        ops.extend(self.prefixes.set().map(|((length, key), ())| Op::AddPrefix(length, key)));
        ops.extend(self.ethertypes.set().map(|(key, ())| Op::AddEthertype(key)));
        ops.extend(self.macs.set().map(|(key, endpoint)| Op::SetMac(key, endpoint)));
        ops.extend(self.bindings.set().map(|(key, binding)| Op::SetBinding(key, binding)));
    }

    fn add_referred(&self, ops: &mut Vec<Op>) {
        ops.extend(self.labels.set().map(|(uid, label)| Op::SetLabel(uid, Box::new(label))));
        ops.extend(self.segments.fresh.iter().map(|(uid, _)| Op::AddFdbUse(*uid)));
        ops.extend(self.remotes.set().map(|(id, addr)| Op::SetRemote(id, addr)));
        ops.extend(self.records.set().map(|(ifindex, record)| Op::SetRecord(ifindex, record)));
        ops.extend(self.devices.set().map(|(ifindex, ())| Op::AddDevice(ifindex)));
        ops.extend(self.tc_devices.set().map(|(ifindex, ())| Op::AddTcDevice(ifindex)));
        ops.extend(self.rates.set().map(|(id, rates)| Op::SetRates(id, Box::new(rates))));
        // A list refers to its attachment, and an attachment that stays to its list.
        let set =
            |freshness| move |(id, it): &(u32, Attachment)| Op::SetAttachment(*id, *it, freshness);
        ops.extend(self.attachments.fresh.iter().map(set(Freshness::New)));
        self.add_listed(ops);
        ops.extend(self.attachments.widened.iter().map(set(Freshness::Changed)));
        ops.extend(self.flood.set().map(|(key, endpoint)| Op::SetFlood(key, endpoint)));
    }
}
