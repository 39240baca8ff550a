//! Where addresses are, as the nodes that learned them say: in memory only, since a new leader is
//! told anew. Pure.
//!
//! - A node speaks for its own attachments: an address is taken only for a segment and a port of
//!   the node where there is one, at the revision that is the newest. Who says otherwise is
//!   refused. What was said before the node had given up an attachment does not count for what is
//!   attached there later.
//! - Beside MACs there are IP addresses, and whose they are (of segments that suppress): the same
//!   holds for both.
//! - The last one who says that it has an address has it. The others of the segment are told where;
//!   the one that had it, too.
//! - Each node's news wait as addresses and not as messages, by operator: a node that is slow is
//!   told the newest of each, and of one operator's flood only so much at a time.
//! - A node that is not heard of any more is believed for a grace.
#![forbid(unsafe_code)]

mod table;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use self::table::{Claim, Limits, Table};
use crate::{
    fabric::{self, Body, Event, Key, Owned, PortKey, Revision, State},
    model::{InterfaceName, MacAddr, Name},
};

/// For how long a node that is not heard of is believed: as long as addresses age, if nobody says
/// otherwise.
const GRACE: Duration = Duration::from_secs(300);
/// So many addresses a node is told at once, and of one operator.
const AT_ONCE: (usize, usize) = (1024, 64);

/// So many IP addresses an attachment may claim, for each MAC that it may have: hosts have several
/// of IPv6.
const BINDINGS_A_MAC: u64 = 8;

/// What is somewhere. MACs are told first: of an IP address nothing follows before its MAC is
/// known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    Mac(MacAddr),
    Ip(IpAddr),
}

/// Whose an IP address is, as it was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    pub mac: MacAddr,
    pub router: bool,
    pub replaces: bool,
    pub leaf: bool,
}

/// What a node says of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalAddress {
    pub segment: Owned,
    pub address: Address,
    /// Behind which of its ports; it has it no more, if none.
    pub port: Option<InterfaceName>,
    /// Whose it is, if it is an IP address.
    pub holder: Option<Holder>,
}

/// What a node is told of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteAddress {
    pub segment: Owned,
    pub address: Address,
    /// Behind which remote; none, if it is there no more.
    pub remote: Option<IpAddr>,
    /// Whose it is, if it is an IP address.
    pub holder: Option<Holder>,
}

/// What was not taken of what a node said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rejected {
    /// Of segments or ports that are not its own.
    pub foreign: u64,
    /// Of segments, or attachments, that have as many as they may.
    pub full: u64,
}

/// A node that has had a stream.
#[derive(Debug, Default)]
struct Node {
    wake: Arc<Notify>,
    /// The newest of its streams.
    stream: u64,
    /// Since when there is none.
    cut: Option<Instant>,
    /// What it has yet to be told, by operator.
    pending: BTreeMap<Name, BTreeSet<(Name, Address)>>,
    /// The operator whose turn was last.
    last: Option<Name>,
}

/// Who has which address.
#[derive(Debug, Default)]
pub struct Registry {
    segments: BTreeMap<Owned, Table>,
    nodes: BTreeMap<Name, Node>,
    /// The revisions that took a segment from a port, until the node has applied them.
    floors: BTreeMap<(PortKey, Owned), Revision>,
    streams: u64,
}

impl Registry {
    /// Registers a node's new stream, which is the one that counts from now on.
    pub fn connect(&mut self, node: &Name) -> (u64, Arc<Notify>) {
        self.streams += 1;
        let entry = self.nodes.entry(node.clone()).or_default();
        entry.wake.notify_waiters();
        *entry = Node { stream: self.streams, ..Node::default() };
        (entry.stream, Arc::clone(&entry.wake))
    }

    pub fn disconnect(&mut self, node: &Name, stream: u64, now: Instant) {
        if let Some(entry) = self.nodes.get_mut(node).filter(|entry| entry.stream == stream) {
            entry.cut = Some(now);
            entry.pending.clear();
        }
    }

    /// Returns whether this is its node's newest stream.
    pub fn is_newest(&self, node: &Name, stream: u64) -> bool {
        self.nodes.get(node).is_some_and(|entry| entry.stream == stream)
    }

    /// Records where a node that has applied this revision says that addresses are.
    pub fn record(
        &mut self,
        (node, stream): (&Name, u64),
        (state, applied): (&State, Revision),
        said: Vec<LocalAddress>,
    ) -> Rejected {
        let mut rejected = Rejected::default();
        let mut attached = Attached::default();
        for LocalAddress { segment, address, port, holder } in said {
            let Some(port) = port else {
                self.withdraw(state, &segment, address, node);
                continue;
            };
            let port = PortKey { node: node.clone(), port };
            let floor = self.floors.get(&(port.clone(), segment.clone()));
            let is_late = floor.is_some_and(|floor| applied < *floor);
            let Some(limits) = attached.limits(state, &segment, &port) else {
                rejected.foreign += u64::from(!is_late);
                continue;
            };
            if is_late {
                continue;
            }
            let table = self.segments.entry(segment.clone()).or_default();
            let Ok(before) = table.claim(address, Claim { port, stream, holder }, limits) else {
                rejected.full += 1;
                continue;
            };
            let is_same = |before: &Claim| before.port.node == *node && before.holder == holder;
            if !before.as_ref().is_some_and(is_same) {
                // One that had it nowhere, or has it still, is told nothing of it.
                let was_elsewhere = before.is_some_and(|before| before.port.node != *node);
                self.mark(state, &segment, address, (!was_elsewhere).then_some(node));
            }
        }
        let is_here = |port: &PortKey, floor: &Revision| port.node == *node && *floor <= applied;
        self.floors.retain(|(port, _), floor| !is_here(port, floor));
        rejected
    }

    /// Removes what a node said on earlier streams and not again on this one, once it has said
    /// there all that it has.
    pub fn complete(&mut self, state: &State, node: &Name, stream: u64) {
        self.retain(state, |_, claim| claim.port.node != *node || claim.stream == stream);
    }

    /// Queues all of a segment for a node, if the node has the segment.
    pub fn request(&mut self, state: &State, node: &Name, segment: &Owned) {
        if !state.is_on(segment, node) {
            return;
        }
        let Some(entry) = self.nodes.get_mut(node) else { return };
        let others = self.segments.get(segment).into_iter().flat_map(Table::iter);
        let others = others.filter(|(_, claim)| claim.port.node != *node);
        let pending = entry.pending.entry(segment.operator.clone()).or_default();
        pending.extend(others.map(|(address, _)| (segment.name.clone(), *address)));
        entry.wake.notify_one();
    }

    /// Returns whether a node has yet to be told something.
    pub fn has_pending(&self, node: &Name) -> bool {
        self.nodes.get(node).is_some_and(|entry| entry.pending.values().any(|all| !all.is_empty()))
    }

    /// Takes what a node is told next, by the newest state: some of each operator's, in turns.
    pub fn next_batch(&mut self, state: &State, node: &Name) -> Vec<RemoteAddress> {
        let mut told = Vec::new();
        let Some(entry) = self.nodes.get_mut(node) else { return told };
        let mut attached = Attached::default();
        entry.pending.retain(|_, all| !all.is_empty());
        let after = entry.last.take();
        let (first, rest): (Vec<&Name>, Vec<&Name>) = entry
            .pending
            .keys()
            .partition(|operator| after.as_ref().is_none_or(|last| *operator > last));
        let turns: Vec<Name> = first.into_iter().chain(rest).cloned().collect();
        for operator in turns {
            if told.len() >= AT_ONCE.0 {
                break;
            }
            let Some(all) = entry.pending.get_mut(&operator) else { continue };
            for _ in 0..AT_ONCE.1 {
                let Some((name, address)) = all.pop_first() else { break };
                let segment = Owned { operator: operator.clone(), name };
                let claim = self.segments.get(&segment).and_then(|table| table.get(&address));
                let claim = claim.filter(|claim| claim.port.node != *node);
                let claim =
                    claim.filter(|claim| attached.limits(state, &segment, &claim.port).is_some());
                let remote =
                    claim.and_then(|claim| fabric::remote(state, node, &claim.port.node).ok());
                let holder = claim.and_then(|claim| claim.holder);
                told.push(RemoteAddress { segment, address, remote, holder });
            }
            entry.last = Some(operator);
        }
        told
    }

    /// What was attached and is no more takes its addresses along; `state` has these events behind
    /// it.
    pub fn follow(&mut self, state: &State, revision: Revision, events: &[Event]) {
        for event in events {
            match (&event.key, event.before.as_deref().map(|object| &object.body)) {
                (Key::Attachment(owned), Some(Body::Attachment(was))) => {
                    let segment = Owned { name: was.spec.segment.clone(), ..owned.clone() };
                    if fabric::is_attached(state, &segment, &was.spec.port) {
                        continue;
                    }
                    let port = &was.spec.port;
                    if self.nodes.contains_key(&port.node) {
                        self.floors.insert((port.clone(), segment.clone()), revision);
                    }
                    self.retain(state, |of, claim| *of != segment || claim.port != *port);
                }
                (Key::Node(name), _) if state.node(name).is_none_or(|node| node.gone) => {
                    self.retain(state, |_, claim| claim.port.node != *name);
                }
                _ => {}
            }
        }
    }

    /// As [`Self::follow`], of events that are not known.
    pub fn renew(&mut self, state: &State) {
        let mut attached = Attached::default();
        self.retain(state, |segment, claim| attached.limits(state, segment, &claim.port).is_some());
    }

    /// Removes what nodes said that have not been heard of for longer than the grace.
    pub fn expire(&mut self, state: &State, now: Instant) {
        let is_over = |cut: &Instant| now.saturating_duration_since(*cut) >= GRACE;
        let over = self.nodes.iter().filter(|(_, entry)| entry.cut.as_ref().is_some_and(is_over));
        let over: BTreeSet<Name> = over.map(|(name, _)| name.clone()).collect();
        if over.is_empty() {
            return;
        }
        self.nodes.retain(|name, _| !over.contains(name));
        self.floors.retain(|(port, _), _| !over.contains(&port.node));
        self.retain(state, |_, claim| !over.contains(&claim.port.node));
    }

    fn withdraw(&mut self, state: &State, segment: &Owned, address: Address, node: &Name) {
        let Some(table) = self.segments.get_mut(segment) else { return };
        if table.get(&address).is_some_and(|claim| claim.port.node == *node) {
            table.remove(&address);
            self.mark(state, segment, address, Some(node));
        }
    }

    fn retain(&mut self, state: &State, mut keep: impl FnMut(&Owned, &Claim) -> bool) {
        let mut gone = Vec::new();
        self.segments.retain(|segment, table| {
            let addresses = table.retain(|claim| keep(segment, claim));
            gone.extend(addresses.into_iter().map(|address| (segment.clone(), address)));
            !table.is_empty()
        });
        gone.into_iter().for_each(|(segment, address)| self.mark(state, &segment, address, None));
    }

    /// Queues an address for the nodes of a segment, but for one.
    fn mark(&mut self, state: &State, segment: &Owned, address: Address, but: Option<&Name>) {
        for node in state.nodes_of(segment).filter(|node| Some(*node) != but) {
            if let Some(entry) = self.nodes.get_mut(node).filter(|entry| entry.cut.is_none()) {
                let pending = entry.pending.entry(segment.operator.clone()).or_default();
                pending.insert((segment.name.clone(), address));
                entry.wake.notify_one();
            }
        }
    }
}

/// Remembers what was asked of one state.
#[derive(Default)]
struct Attached(HashMap<(Owned, PortKey), Option<Limits>>);

impl Attached {
    /// What a segment's attachments on a port may claim; none, if there are none.
    fn limits(&mut self, state: &State, segment: &Owned, port: &PortKey) -> Option<Limits> {
        let asked = (segment.clone(), port.clone());
        *self.0.entry(asked).or_insert_with_key(|(segment, port)| {
            let spec = &state.segment(segment)?.spec;
            let macs = fabric::macs_at(state, segment, port)?;
            let bindings = macs.saturating_mul(BINDINGS_A_MAC);
            Some(Limits {
                of_segment: usize::try_from(spec.mac_limit).unwrap_or(usize::MAX),
                bindings_of_port: usize::try_from(bindings).unwrap_or(usize::MAX),
            })
        })
    }
}

#[cfg(test)]
mod tests;
