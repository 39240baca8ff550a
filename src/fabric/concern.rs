//! Whom a change concerns, and with what: the nodes whose part of the fabric may be another one
//! after it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Event, Freed, Key, Owned,
    object::{Attachment, Body},
    project::tables_of,
    state::State,
};
use crate::model::{InterfaceName, Name};

/// Tables of a node's file. Of a port, those of its attachments, too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    /// Of the node.
    pub ports: BTreeSet<InterfaceName>,
    /// That are on the node, or were.
    pub segments: BTreeSet<Owned>,
    /// That are in use on the node, or were.
    pub profiles: BTreeSet<Owned>,
}

/// What of a node's file may not be so any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stale {
    /// Anything.
    All,
    /// These at most. What the node has to forget is no part of its file, and may be another thing
    /// in any case.
    Tables(Tables),
}

impl Default for Stale {
    fn default() -> Self {
        Self::Tables(Tables::default())
    }
}

impl Stale {
    /// Both.
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

/// The nodes that have to be told of these events, and maybe others; `state` has them all behind
/// it, and maybe more. What agents report concerns nobody, unless somebody waits for it.
pub fn concerned(state: &State, events: &[Event]) -> BTreeMap<Name, Stale> {
    let mut nodes = Nodes(BTreeMap::new());
    for event in events {
        nodes.add(state, event);
    }
    nodes.0
}

struct Nodes(BTreeMap<Name, Stale>);

impl Nodes {
    fn add(&mut self, state: &State, event: &Event) {
        let (before, after) = (event.before.as_deref(), event.after.as_deref());
        let is_asked = before.map(|object| object.revision) != after.map(|object| object.revision);
        match &event.key {
            Key::Node(name) if is_asked => {
                self.0.insert(name.clone(), Stale::All);
                tables_of(state, name)
                    .segments
                    .iter()
                    .for_each(|segment| self.segment(state, segment));
            }
            // It has confirmed something.
            Key::Node(name) => {
                waiting_for(state, name).into_iter().for_each(|other| self.wake(other))
            }
            _ if !is_asked => {}
            Key::Port(port) => {
                if let Some(stale) = self.tables(&port.node) {
                    stale.ports.insert(port.port.clone());
                }
            }
            Key::Profile(owned) => {
                for (_, user) in state.attachments_of(&event.key) {
                    if let Some(stale) = self.tables(&user.spec.port.node) {
                        stale.profiles.insert(owned.clone());
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

    /// Of a node of which not all is stale already.
    fn tables(&mut self, node: &Name) -> Option<&mut Tables> {
        match self.0.entry(node.clone()).or_default() {
            Stale::All => None,
            Stale::Tables(tables) => Some(tables),
        }
    }

    /// On all nodes where it is.
    fn segment(&mut self, state: &State, owned: &Owned) {
        for node in state.nodes_of(owned) {
            if let Some(stale) = self.tables(node) {
                stale.segments.insert(owned.clone());
            }
        }
    }

    fn attachment(&mut self, state: &State, owned: &Owned, attachment: &Attachment) {
        let (spec, segment) = (&attachment.spec, owned.beside(&attachment.spec.segment));
        self.segment(state, &segment);
        if let Some(stale) = self.tables(&spec.port.node) {
            stale.profiles.extend(spec.profiles_of(owned));
            stale.segments.insert(segment);
            stale.ports.insert(spec.port.port.clone());
        }
    }
}

/// The nodes that shall forget a server of this one, which they may only once it has given that up.
fn waiting_for(state: &State, node: &Name) -> Vec<Name> {
    let ports = state.referrers(&Key::Node(node.clone())).filter(|key| matches!(key, Key::Port(_)));
    let graves = ports.flat_map(|port| state.referrers(port));
    let waiting = graves.filter_map(|key| match key {
        Key::Tombstone(other, Freed::Learned(..)) if other != node => Some(other.clone()),
        _ => None,
    });
    waiting.collect()
}
