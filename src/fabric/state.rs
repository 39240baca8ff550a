//! All objects at one revision, and the indexes by which rules find what they concern. A copy
//! shares all that is the same.

use std::{collections::BTreeSet, ops::Bound, sync::Arc};

use super::map::Map;

use super::{
    Freed, Key, Kind, Owned, PortKey,
    key::Before,
    node_usage::{NodeUsage, NodeUsages},
    object::{Attachment, Body, Lease, LeaseState, Node, Object, Revision, Segment},
    pending_index::{PendingIndex, is_pending},
    quota::Usage,
    spec::{OperatorSpec, PortSpec, ProfileSpec, ServerSpec},
};
use crate::model::{Encap, Name, Vni};

/// What an object has to do with, so that it is found from there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Object(Key),
    Vni(Vni),
    /// Frames of a port.
    Frames(PortKey, Encap),
}

/// The fabric at one revision.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub(super) revision: Revision,
    objects: Map<Key, Arc<Object>>,
    /// `None` is before all keys of a target.
    index: Map<(Target, Option<Key>), ()>,
    usage: Map<Name, Usage>,
    node_usages: NodeUsages,
    pending_index: PendingIndex,
}

impl State {
    /// How many transactions made it.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The objects, in the order of their keys.
    pub fn objects(&self) -> impl Iterator<Item = (&Key, &Arc<Object>)> {
        self.objects.iter()
    }

    /// The objects of a kind, in the order of their keys.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Key> {
        let all = self.objects.range(Before(kind)..).map(|(key, _)| key);
        all.take_while(move |key| key.kind() == kind)
    }

    /// Those of them that come after a key.
    pub fn of_kind_after<'s>(
        &'s self,
        kind: Kind,
        after: &Key,
    ) -> impl Iterator<Item = &'s Key> + use<'s> {
        let all = self
            .objects
            .range::<_, Key>((Bound::Excluded(after), Bound::Unbounded))
            .map(|(key, _)| key);
        all.take_while(move |key| key.kind() == kind)
    }

    pub fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    /// What an operator has.
    pub fn usage(&self, operator: &Name) -> Usage {
        self.usage.get(operator).copied().unwrap_or_default()
    }

    /// What a node has.
    pub fn node_usage(&self, node: &Name) -> NodeUsage {
        self.node_usages.of(node)
    }

    /// What an operator has on a node.
    pub fn part(&self, node: &Name, operator: &Name) -> NodeUsage {
        self.node_usages.part(node, operator)
    }

    /// What each operator has on a node, of those who have anything there or a right to it.
    pub(super) fn parts(&self, node: &Name) -> Vec<(&Name, NodeUsage)> {
        self.node_usages.parts(node)
    }

    /// The state that these objects are, at this revision. They come from a state, by way of a
    /// store.
    pub fn restore(revision: Revision, objects: impl IntoIterator<Item = (Key, Object)>) -> Self {
        let mut state = Self { revision, ..Self::default() };
        for (key, object) in objects {
            state.set(key, Some(Arc::new(object)));
        }
        state
    }

    /// The next state, of what a transaction elsewhere has made of this one.
    pub fn followed(
        &self,
        revision: Revision,
        writes: impl IntoIterator<Item = (Key, Option<Object>)>,
    ) -> Self {
        let mut next = Self { revision, ..self.clone() };
        for (key, object) in writes {
            next.set(key, object.map(Arc::new));
        }
        next
    }

    /// The objects that have to do with `target`.
    pub(super) fn at(&self, target: Target) -> impl Iterator<Item = &Key> {
        let from = (target.clone(), None);
        self.index
            .range(from..)
            .take_while(move |((of, _), ())| *of == target)
            .filter_map(|((_, key), ())| key.as_ref())
    }

    /// The objects that refer to one.
    pub(crate) fn referrers<'s>(&'s self, key: &Key) -> impl Iterator<Item = &'s Key> + use<'s> {
        self.at(Target::Object(key.clone()))
    }

    /// What has frames of a port that this encapsulation would have, too, or had them until its
    /// node confirms: attachments and tombstones.
    pub(super) fn overlapping<'s>(
        &'s self,
        port: &'s PortKey,
        encap: Encap,
    ) -> impl Iterator<Item = &'s Key> + use<'s> {
        encap.overlapping().into_iter().flat_map(move |some| {
            let (first, last) = some.into_inner();
            let (from, end) =
                (Target::Frames(port.clone(), first), Target::Frames(port.clone(), last));
            let all = self.index.range((from, None)..).take_while(move |((of, _), ())| *of <= end);
            all.filter_map(|((_, key), ())| key.as_ref())
        })
    }

    /// Sets or removes an object, and keeps the indexes and counts.
    pub(super) fn set(&mut self, key: Key, object: Option<Arc<Object>>) {
        let old = self.objects.get(&key).cloned();
        if let (Some(old), Some(object)) = (&old, &object)
            && old.body == object.body
        {
            // What is known of it is in no index, but for what it waits for.
            let waits = is_pending(old) != is_pending(object);
            self.objects.insert(key.clone(), Arc::clone(object));
            if waits {
                self.wait(&key, Some(object), Some(object));
            }
            return;
        }
        self.count(&key, false);
        let targets_of = |object: &Option<Arc<Object>>| {
            object.as_ref().map(|object| targets(&key, &object.body)).unwrap_or_default()
        };
        let (before, after) = (targets_of(&old), targets_of(&object));
        for target in before.difference(&after) {
            self.index.remove(&(target.clone(), Some(key.clone())));
        }
        for target in after.difference(&before) {
            self.index.insert((target.clone(), Some(key.clone())), ());
        }
        if let Some(old) = &old {
            self.node_usages.remove(&key, old);
        }
        match &object {
            Some(object) => {
                self.node_usages.add(&key, object);
                self.objects.insert(key.clone(), Arc::clone(object));
            }
            None => {
                self.objects.remove(&key);
            }
        }
        self.wait(&key, old.as_deref(), object.as_deref());
        self.count(&key, true);
    }

    /// Keeps what waits for which node, once an object is there, or is not. A segment waits for all
    /// nodes that it is on.
    fn wait(&mut self, key: &Key, old: Option<&Object>, new: Option<&Object>) {
        match key {
            Key::Attachment(owned) => {
                if let Some(Body::Attachment(old)) = old.map(|old| &old.body) {
                    let (node, segment) = (&old.spec.port.node, owned.beside(&old.spec.segment));
                    self.pending_index.set(node, key, false);
                    if !self.node_usages.is_on(&segment, node) {
                        self.pending_index.set(node, &Key::Segment(segment), false);
                    }
                }
                if let Some(object) = new
                    && let Body::Attachment(new) = &object.body
                {
                    let segment = Key::Segment(owned.beside(&new.spec.segment));
                    let waits =
                        self.objects.get(&segment).is_none_or(|segment| is_pending(segment));
                    self.pending_index.set(&new.spec.port.node, key, is_pending(object));
                    self.pending_index.set(&new.spec.port.node, &segment, waits);
                }
            }
            Key::Segment(owned) => {
                let waits = new.is_some_and(is_pending);
                for node in self.node_usages.nodes_of(owned) {
                    self.pending_index.set(node, key, waits);
                }
            }
            _ => {}
        }
    }

    /// What a node has yet to apply before it is programmed.
    pub(super) fn pending_on(&self, node: &Name) -> impl Iterator<Item = &Key> {
        self.pending_index.at(node)
    }

    /// Adds what an object counts, or takes it away. A profile counts for all that use it, a server
    /// for all who lease it.
    fn count(&mut self, key: &Key, add: bool) {
        let Some((operator, sum)) = self.counts(key, add) else { return };
        let mut usage = self.usage(&operator);
        usage.change(&sum, add);
        if usage == Usage::default() {
            self.usage.remove(&operator);
        } else {
            self.usage.insert(operator, usage);
        }
    }

    /// What an object that is there counts, and for whom.
    fn counts(&mut self, key: &Key, add: bool) -> Option<(Name, Usage)> {
        let none = Usage::default();
        match key {
            Key::Segment(owned) => {
                let macs = self.segment(owned)?.spec.mac_limit.into();
                Some((owned.operator.clone(), Usage { segments: 1, macs, ..none }))
            }
            Key::Attachment(owned) => {
                let attachment = self.attachment(owned)?;
                let cir = |name: &Option<Name>| {
                    name.as_ref().map_or(0, |name| self.cir(&owned.beside(name)))
                };
                let (ingress, egress) =
                    (cir(&attachment.spec.ingress), cir(&attachment.spec.egress));
                let lists = attachment.spec.lists();
                Some((
                    owned.operator.clone(),
                    Usage { attachments: 1, lists, ingress, egress, ..none },
                ))
            }
            Key::Profile(owned) => {
                let cir = self.profile(owned)?.cir.get();
                let mut sum = Usage { profiles: 1, ..none };
                for (_, user) in self.attachments_of(key) {
                    let uses = |name: &Option<Name>| {
                        if name.as_ref() == Some(&owned.name) { cir } else { 0 }
                    };
                    sum.ingress += uses(&user.spec.ingress);
                    sum.egress += uses(&user.spec.egress);
                }
                Some((owned.operator.clone(), sum))
            }
            // What is to be forgotten of a server is bounded by where it was, and gone within
            // seconds where nodes answer.
            Key::Tombstone(_, Freed::Vni(_) | Freed::Encap(..)) => match &self.get(key)?.body {
                Body::Tombstone(tombstone) => {
                    Some((tombstone.operator.clone(), Usage { tombstones: 1, ..none }))
                }
                _ => None,
            },
            Key::Lease(owned) => {
                let server = match self.lease(owned)? {
                    lease if lease.state == LeaseState::Released => return None,
                    lease => lease.spec.server.clone(),
                };
                self.entitle(&owned.operator.clone(), &server, add);
                None
            }
            Key::Server(name) => {
                let leases =
                    self.referrers(key).filter_map(Key::operator).cloned().collect::<Vec<_>>();
                leases.iter().for_each(|operator| self.entitle(operator, name, add));
                None
            }
            _ => None,
        }
    }

    /// An operator has a right to a server, and so to room on its nodes; or has it no more.
    fn entitle(&mut self, operator: &Name, server: &Name, add: bool) {
        let nodes: Vec<Name> = self.ports_of(server).map(|port| port.node.clone()).collect();
        nodes.iter().for_each(|node| self.node_usages.entitle(node, operator, add));
    }

    fn cir(&self, profile: &Owned) -> u64 {
        self.profile(profile).map_or(0, |profile| profile.cir.get())
    }

    pub(super) fn operator(&self, name: &Name) -> Option<&OperatorSpec> {
        match &self.get(&Key::Operator(name.clone()))?.body {
            Body::Operator { spec } => Some(spec),
            _ => None,
        }
    }

    pub(crate) fn node(&self, name: &Name) -> Option<&Node> {
        match &self.get(&Key::Node(name.clone()))?.body {
            Body::Node(node) => Some(node),
            _ => None,
        }
    }

    pub(crate) fn port(&self, key: &PortKey) -> Option<&PortSpec> {
        match &self.get(&Key::Port(key.clone()))?.body {
            Body::Port { spec } => Some(spec),
            _ => None,
        }
    }

    pub(super) fn server(&self, name: &Name) -> Option<&ServerSpec> {
        match &self.get(&Key::Server(name.clone()))?.body {
            Body::Server { spec } => Some(spec),
            _ => None,
        }
    }

    pub(crate) fn lease(&self, key: &Owned) -> Option<&Lease> {
        match &self.get(&Key::Lease(key.clone()))?.body {
            Body::Lease(lease) => Some(lease),
            _ => None,
        }
    }

    pub(super) fn profile(&self, key: &Owned) -> Option<&ProfileSpec> {
        match &self.get(&Key::Profile(key.clone()))?.body {
            Body::Profile { spec } => Some(spec),
            _ => None,
        }
    }

    pub(crate) fn segment(&self, key: &Owned) -> Option<&Segment> {
        match &self.get(&Key::Segment(key.clone()))?.body {
            Body::Segment(segment) => Some(segment),
            _ => None,
        }
    }

    pub(super) fn attachment(&self, key: &Owned) -> Option<&Attachment> {
        match &self.get(&Key::Attachment(key.clone()))?.body {
            Body::Attachment(attachment) => Some(attachment),
            _ => None,
        }
    }

    /// The attachments that refer to an object, with their names.
    pub(super) fn attachments_of<'s>(
        &'s self,
        key: &Key,
    ) -> impl Iterator<Item = (&'s Owned, &'s Attachment)> + use<'s> {
        self.referrers(key).filter_map(|user| match user {
            Key::Attachment(owned) => Some((owned, self.attachment(owned)?)),
            _ => None,
        })
    }

    /// The nodes on which a segment is.
    pub(crate) fn nodes_of(&self, segment: &Owned) -> impl Iterator<Item = &Name> {
        self.node_usages.nodes_of(segment)
    }

    /// Whether a segment is on a node.
    pub(crate) fn is_on(&self, segment: &Owned, node: &Name) -> bool {
        self.node_usages.is_on(segment, node)
    }

    /// The nodes that share a segment with this one.
    pub(super) fn remotes_of(&self, node: &Name) -> BTreeSet<Name> {
        self.node_usages.remotes_of(node).cloned().collect()
    }

    /// The ports that face a server; none if it is not there.
    pub(crate) fn ports_of(&self, server: &Name) -> impl Iterator<Item = &PortKey> {
        self.server(server).into_iter().flat_map(|server| &server.ports)
    }

    /// The server that a port faces.
    pub(crate) fn server_at(&self, port: &PortKey) -> Option<&Name> {
        self.referrers(&Key::Port(port.clone())).find_map(|user| match user {
            Key::Server(name) => Some(name),
            _ => None,
        })
    }

    /// The lease that a server is under.
    pub(super) fn holder(&self, server: &Name) -> Option<(&Owned, &Lease)> {
        self.referrers(&Key::Server(server.clone())).find_map(|user| match user {
            Key::Lease(owned) => {
                Some((owned, self.lease(owned).filter(|lease| lease.state.holds_server())?))
            }
            _ => None,
        })
    }
}

/// What an object has to do with.
pub(super) fn targets(key: &Key, body: &Body) -> BTreeSet<Target> {
    let object = Target::Object;
    let operator = |name: &Name| object(Key::Operator(name.clone()));
    let mut all = BTreeSet::new();
    if let Some(name) = key.operator().filter(|_| key.kind() != Kind::Operator) {
        all.insert(operator(name));
    }
    match (key, body) {
        (Key::Port(port), Body::Port { spec }) => {
            all.insert(object(Key::Node(port.node.clone())));
            all.extend(spec.grants.keys().map(operator));
        }
        (_, Body::Server { spec }) => {
            all.extend(spec.ports.iter().cloned().map(Key::Port).map(object))
        }
        (_, Body::Lease(lease)) if lease.state != LeaseState::Released => {
            all.insert(object(Key::Server(lease.spec.server.clone())));
        }
        (_, Body::Segment(segment)) => {
            all.insert(Target::Vni(segment.vni));
        }
        (Key::Attachment(owned), Body::Attachment(Attachment { spec, encap, .. })) => {
            all.insert(object(Key::Segment(owned.beside(&spec.segment))));
            all.insert(object(Key::Port(spec.port.clone())));
            all.insert(Target::Frames(spec.port.clone(), *encap));
            all.extend(spec.profiles_of(owned).map(Key::Profile).map(object));
        }
        (Key::Tombstone(node, freed), Body::Tombstone(tombstone)) => {
            all.extend([object(Key::Node(node.clone())), operator(&tombstone.operator)]);
            match freed {
                Freed::Vni(vni) => all.extend([Target::Vni(*vni)]),
                Freed::Encap(port, encap) => {
                    let port = PortKey { node: node.clone(), port: port.clone() };
                    all.extend([Target::Frames(port.clone(), *encap), object(Key::Port(port))]);
                }
                Freed::Learned(learned) => all.extend([object(Key::Port(learned.port.clone()))]),
            }
        }
        _ => {}
    }
    all
}
