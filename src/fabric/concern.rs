//! Whom a change concerns: the nodes whose part of the fabric may be another one after it.

use std::collections::BTreeSet;

use super::object::Body;
use super::state::State;
use super::{Event, Freed, Key, Owned};
use crate::model::Name;

/// The nodes that have to be told of these events, and maybe others; `state` has them all behind it, and maybe more. What agents report
/// concerns nobody, unless somebody waits for it.
pub fn concerned(state: &State, events: &[Event]) -> BTreeSet<Name> {
    let mut nodes = BTreeSet::new();
    for event in events {
        add(state, event, &mut nodes);
    }
    nodes
}

fn add(state: &State, event: &Event, nodes: &mut BTreeSet<Name>) {
    let (before, after) = (event.before.as_deref(), event.after.as_deref());
    let is_asked = before.map(|object| object.revision) != after.map(|object| object.revision);
    match &event.key {
        Key::Node(name) if is_asked => {
            nodes.insert(name.clone());
            for segment in segments_on(state, name) {
                nodes.extend(state.nodes_of(&segment));
            }
        }
        // It has confirmed something.
        Key::Node(name) => nodes.extend(waiting_for(state, name)),
        _ if !is_asked => {}
        Key::Port(port) => {
            nodes.insert(port.node.clone());
        }
        Key::Profile(_) => {
            let users = state.attachments_of(&event.key);
            nodes.extend(users.map(|(_, attachment)| attachment.spec.port.node.clone()));
        }
        Key::Segment(owned) => nodes.extend(state.nodes_of(owned)),
        Key::Attachment(owned) => {
            for object in [before, after].into_iter().flatten() {
                if let Body::Attachment(attachment) = &object.body {
                    nodes.insert(attachment.spec.port.node.clone());
                    nodes.extend(state.nodes_of(&owned.beside(&attachment.spec.segment)));
                }
            }
        }
        Key::Tombstone(node, _) if after.is_some() => {
            nodes.insert(node.clone());
        }
        Key::Tombstone(..) | Key::Trial(_) | Key::Operator(_) | Key::Server(_) | Key::Lease(_) => {}
    }
}

fn segments_on(state: &State, node: &Name) -> BTreeSet<Owned> {
    let ports = state.referrers(&Key::Node(node.clone())).filter(|key| matches!(key, Key::Port(_)));
    let attached = ports.flat_map(|port| state.attachments_of(port));
    attached.map(|(owned, attachment)| owned.beside(&attachment.spec.segment)).collect()
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
