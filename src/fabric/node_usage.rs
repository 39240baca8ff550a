//! What every node has, counted as objects come and go: a rule that asks whether there is room must
//! not walk through all that is there.

use super::map::Map;

use super::{
    Key, Owned,
    object::{Attachment, Body, Object},
    quota::Lists,
    spec::PortSpec,
};
use crate::model::{Name, PortRole};

/// What a node has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeUsage {
    /// Attachments on its ports.
    pub attachments: u64,
    /// Segments that these are of.
    pub segments: u64,
    /// Addresses that these may learn.
    pub macs: u64,
    /// Other nodes that have one of these segments, too.
    pub remotes: u64,
    /// The remotes of each of its segments, counted for each of them.
    pub tunnels: u64,
    /// Ports that face the underlay.
    pub uplinks: u64,
    /// What its attachments list.
    pub lists: Lists,
}

/// The loads of all nodes, and what they are counted by. A copy shares all that is the same.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeUsages {
    /// By node, and by operator on a node. `None` is all of them together. Remotes and tunnels are
    /// counted only so.
    node_usages: Map<(Name, Option<Name>), NodeUsage>,
    /// How many leases and grants give an operator a right to a node. `None` is before all
    /// operators.
    rights: Map<(Name, Option<Name>), u64>,
    /// How many attachments of a segment are on a node. `None` is before all nodes.
    places: Map<(Owned, Option<Name>), u64>,
    /// How many segments two nodes share, from either side. `None` is before all others.
    shared: Map<(Name, Option<Name>), u64>,
    /// How many addresses a segment may learn.
    macs: Map<Owned, u64>,
}

impl NodeUsages {
    pub fn of(&self, node: &Name) -> NodeUsage {
        self.node_usages.get(&(node.clone(), None)).copied().unwrap_or_default()
    }

    /// What an operator has on a node.
    pub fn part(&self, node: &Name, operator: &Name) -> NodeUsage {
        self.node_usages.get(&(node.clone(), Some(operator.clone()))).copied().unwrap_or_default()
    }

    /// What each operator has there, of those who have anything there or a right to it.
    pub fn parts(&self, node: &Name) -> Vec<(&Name, NodeUsage)> {
        let from = || (node.clone(), None);
        let has = self.node_usages.range(from()..).take_while(|((of, _), _)| of == node);
        let may = self.rights.range(from()..).take_while(|((of, _), _)| of == node);
        let mut all: Vec<&Name> = has
            .map(|(key, _)| key)
            .chain(may.map(|(key, _)| key))
            .filter_map(|(_, operator)| operator.as_ref())
            .collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter().map(|operator| (operator, self.part(node, operator))).collect()
    }

    /// An operator has one right more to a node, or one less.
    pub fn entitle(&mut self, node: &Name, operator: &Name, add: bool) {
        let key = (node.clone(), Some(operator.clone()));
        let before = self.rights.get(&key).copied().unwrap_or(0);
        match if add { before + 1 } else { before.saturating_sub(1) } {
            0 => drop(self.rights.remove(&key)),
            count => drop(self.rights.insert(key, count)),
        }
    }

    /// The nodes on which a segment is.
    pub fn nodes_of(&self, segment: &Owned) -> impl Iterator<Item = &Name> {
        let from = (segment.clone(), None);
        let all = self.places.range(from..).take_while(move |((of, _), _)| of == segment);
        all.filter_map(|((_, node), _)| node.as_ref())
    }

    /// Whether a segment is on a node.
    pub fn is_on(&self, segment: &Owned, node: &Name) -> bool {
        self.places.get(&(segment.clone(), Some(node.clone()))).is_some()
    }

    /// The nodes that share a segment with this one.
    pub fn remotes_of(&self, node: &Name) -> impl Iterator<Item = &Name> {
        let from = (node.clone(), None);
        let all = self.shared.range(from..).take_while(move |((of, _), _)| of == node);
        all.filter_map(|((_, other), _)| other.as_ref())
    }

    pub fn add(&mut self, key: &Key, object: &Object) {
        match (key, &object.body) {
            (Key::Attachment(owned), Body::Attachment(attachment)) => {
                self.attach(owned, attachment)
            }
            (Key::Segment(owned), Body::Segment(segment)) => {
                self.learns(owned, segment.spec.mac_limit.into());
            }
            (Key::Port(port), Body::Port { spec }) => self.port(&port.node, spec, true),
            _ => {}
        }
    }

    pub fn remove(&mut self, key: &Key, object: &Object) {
        match (key, &object.body) {
            (Key::Attachment(owned), Body::Attachment(attachment)) => {
                self.detach(owned, attachment)
            }
            (Key::Segment(owned), Body::Segment(_)) => self.learns(owned, 0),
            (Key::Port(port), Body::Port { spec }) => self.port(&port.node, spec, false),
            _ => {}
        }
    }

    fn port(&mut self, node: &Name, spec: &PortSpec, add: bool) {
        spec.grants.keys().for_each(|operator| self.entitle(node, operator, add));
        if spec.role == PortRole::Uplink {
            self.change(node, None, |usage| {
                usage.uplinks =
                    if add { usage.uplinks + 1 } else { usage.uplinks.saturating_sub(1) };
            });
        }
    }

    fn attach(&mut self, owned: &Owned, attachment: &Attachment) {
        let (segment, node) = (owned.beside(&attachment.spec.segment), &attachment.spec.port.node);
        let (of, lists) = (Some(&owned.operator), attachment.spec.lists());
        self.change(node, of, |usage| {
            usage.attachments += 1;
            usage.lists.change(&lists, true);
        });
        let place = (segment, Some(node.clone()));
        let before = self.places.get(&place).copied().unwrap_or(0);
        if before == 0 {
            let macs = self.macs.get(&place.0).copied().unwrap_or(0);
            self.change(node, of, |usage| {
                (usage.segments, usage.macs) = (usage.segments + 1, usage.macs + macs)
            });
            for other in self.others(&place.0, node) {
                self.share(node, &other);
                self.share(&other, node);
            }
        }
        self.places.insert(place, before + 1);
    }

    fn detach(&mut self, owned: &Owned, attachment: &Attachment) {
        let (segment, node) = (owned.beside(&attachment.spec.segment), &attachment.spec.port.node);
        let (of, lists) = (Some(&owned.operator), attachment.spec.lists());
        self.change(node, of, |usage| {
            usage.attachments -= 1;
            usage.lists.change(&lists, false);
        });
        let place = (segment, Some(node.clone()));
        let before = self.places.get(&place).copied().unwrap_or(0);
        if before > 1 {
            self.places.insert(place, before - 1);
            return;
        }
        let macs = self.macs.get(&place.0).copied().unwrap_or(0);
        self.change(node, of, |usage| {
            (usage.segments, usage.macs) = (usage.segments - 1, usage.macs - macs)
        });
        for other in self.others(&place.0, node) {
            self.unshare(node, &other);
            self.unshare(&other, node);
        }
        self.places.remove(&place);
    }

    fn others(&self, segment: &Owned, node: &Name) -> Vec<Name> {
        self.nodes_of(segment).filter(|other| *other != node).cloned().collect()
    }

    /// A node shares one segment more with another.
    fn share(&mut self, node: &Name, other: &Name) {
        let pair = (node.clone(), Some(other.clone()));
        let before = self.shared.get(&pair).copied().unwrap_or(0);
        self.change(node, None, |usage| {
            usage.remotes += u64::from(before == 0);
            usage.tunnels += 1;
        });
        self.shared.insert(pair, before + 1);
    }

    fn unshare(&mut self, node: &Name, other: &Name) {
        let pair = (node.clone(), Some(other.clone()));
        let before = self.shared.get(&pair).copied().unwrap_or(0);
        if before > 1 {
            self.shared.insert(pair, before - 1);
        } else {
            self.shared.remove(&pair);
        }
        self.change(node, None, |usage| {
            usage.remotes -= u64::from(before <= 1);
            usage.tunnels -= 1;
        });
    }

    /// A segment may learn so many addresses, on each node that has it.
    fn learns(&mut self, segment: &Owned, macs: u64) {
        let before = self.macs.get(segment).copied().unwrap_or(0);
        if macs == 0 {
            self.macs.remove(segment);
        } else {
            self.macs.insert(segment.clone(), macs);
        }
        let nodes: Vec<Name> = self.nodes_of(segment).cloned().collect();
        for node in nodes {
            self.change(&node, Some(&segment.operator), |usage| {
                usage.macs = usage.macs + macs - before
            });
        }
    }

    /// Of a node, and of an operator's part of it.
    fn change(&mut self, node: &Name, operator: Option<&Name>, how: impl Fn(&mut NodeUsage)) {
        let part = operator.map(|operator| (node.clone(), Some(operator.clone())));
        for key in part.into_iter().chain([(node.clone(), None)]) {
            let mut usage = self.node_usages.get(&key).copied().unwrap_or_default();
            how(&mut usage);
            if usage == NodeUsage::default() {
                self.node_usages.remove(&key);
            } else {
                self.node_usages.insert(key, usage);
            }
        }
    }
}
