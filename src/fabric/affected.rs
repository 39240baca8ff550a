//! Which nodes a commit affects, and which tables of their files it may have changed.

use std::collections::BTreeMap;

use super::{
    Event, Freed, Key, Owned,
    object::{Attachment, Body},
    project::{FileTables, tables_of},
    state::State,
};
use crate::model::Name;

/// What of a node's file may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Affected {
    /// Anything.
    All,
    /// These at most. What the node has to forget is no part of its file, and may be another thing
    /// in any case.
    Tables(FileTables),
}

impl Default for Affected {
    fn default() -> Self {
        Self::Tables(FileTables::default())
    }
}

impl Affected {
    pub fn merge(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Tables(own), Self::Tables(other)) => {
                own.ports.extend(other.ports);
                own.segments.extend(other.segments);
                own.profiles.extend(other.profiles);
            }
            _ => *self = Self::All,
        }
    }
}

/// Returns the nodes that have to look at their files after these events, and maybe others. `state`
/// is at least as new as the events. Reports of agents affect nobody, unless somebody waits for
/// them.
pub fn affected_nodes(state: &State, events: &[Event]) -> BTreeMap<Name, Affected> {
    let mut nodes = Nodes(BTreeMap::new());
    for event in events {
        nodes.add(state, event);
    }
    nodes.0
}

struct Nodes(BTreeMap<Name, Affected>);

impl Nodes {
    fn add(&mut self, state: &State, event: &Event) {
        let (before, after) = (event.before.as_deref(), event.after.as_deref());
        let is_asked = before.map(|object| object.revision) != after.map(|object| object.revision);
        match &event.key {
            Key::Node(name) if is_asked => {
                self.0.insert(name.clone(), Affected::All);
                tables_of(state, name)
                    .segments
                    .iter()
                    .for_each(|segment| self.segment(state, segment));
                // What others have to forget of its servers names its VTEP.
                pending_on(state, name).into_iter().for_each(|other| self.wake(other));
            }
            // It has confirmed something.
            Key::Node(name) => {
                pending_on(state, name).into_iter().for_each(|other| self.wake(other))
            }
            _ if !is_asked => {}
            Key::Port(port) => {
                if let Some(affected) = self.tables(&port.node) {
                    affected.ports.insert(port.port.clone());
                }
            }
            Key::Profile(owned) => {
                for (_, user) in state.attachments_of(&event.key) {
                    if let Some(affected) = self.tables(&user.spec.port.node) {
                        affected.profiles.insert(owned.clone());
                    }
                }
            }
            Key::Segment(owned) => self.segment(state, owned),
            Key::Attachment(owned) => {
                for object in [before, after].into_iter().flatten() {
                    if let Body::Attachment(attachment) = &object.body {
                        self.attachment(state, owned, attachment);
                    }
                }
            }
            Key::Tombstone(node, _) if after.is_some() => self.wake(node.clone()),
            Key::Tombstone(..)
            | Key::Trial(_)
            | Key::Operator(_)
            | Key::Server(_)
            | Key::Lease(_) => {}
        }
    }

    fn wake(&mut self, node: Name) {
        self.0.entry(node).or_default();
    }

    /// Of a node of which not all is affected already.
    fn tables(&mut self, node: &Name) -> Option<&mut FileTables> {
        match self.0.entry(node.clone()).or_default() {
            Affected::All => None,
            Affected::Tables(tables) => Some(tables),
        }
    }

    /// On all nodes where it is.
    fn segment(&mut self, state: &State, owned: &Owned) {
        for node in state.nodes_of(owned) {
            if let Some(affected) = self.tables(node) {
                affected.segments.insert(owned.clone());
            }
        }
    }

    fn attachment(&mut self, state: &State, owned: &Owned, attachment: &Attachment) {
        let (spec, segment) = (&attachment.spec, owned.beside(&attachment.spec.segment));
        self.segment(state, &segment);
        if let Some(affected) = self.tables(&spec.port.node) {
            affected.profiles.extend(spec.profiles_of(owned));
            affected.segments.insert(segment);
            affected.ports.insert(spec.port.port.clone());
        }
    }
}

/// The nodes that shall forget a server of this one, which they may only once it has given that up.
fn pending_on(state: &State, node: &Name) -> Vec<Name> {
    let ports = state.referrers(&Key::Node(node.clone())).filter(|key| matches!(key, Key::Port(_)));
    let tombstones = ports.flat_map(|port| state.referrers(port));
    let waiting = tombstones.filter_map(|key| match key {
        Key::Tombstone(other, Freed::Learned(..)) if other != node => Some(other.clone()),
        _ => None,
    });
    waiting.collect()
}
