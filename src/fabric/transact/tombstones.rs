//! What was freed stays nobody's until the nodes that had it have confirmed that it is gone.
//!
//! A node whose machine is gone will never confirm. Nobody but the owner can know that, so only the
//! owner's word ends the wait: a node that is only cut off still forwards what it last had, and a
//! VNI that another got meanwhile would be two segments'. So nothing may be attached to a node that
//! is gone, its agent is not heard any more (and its certificate has to be revoked, so that it
//! knows), and only a node that was deleted and made anew takes its place.

use std::collections::BTreeSet;

use super::{Refused, Rule, Tx, refused::refuse};
use crate::{
    fabric::{
        Freed, Key, Learned, Owned, PortKey,
        object::{Body, Node, Tombstone},
    },
    model::Name,
};

impl Tx<'_> {
    /// Buries what the transaction has freed.
    pub(super) fn add_tombstones(&mut self) {
        let touched: Vec<Key> = self.touched.iter().cloned().collect();
        let mut segments = BTreeSet::new();
        for key in &touched {
            match key {
                Key::Segment(owned) => {
                    segments.insert(owned.clone());
                }
                Key::Attachment(owned) => segments.extend(self.bury_encap(owned)),
                _ => {}
            }
        }
        for owned in &segments {
            self.bury_vni(owned);
        }
    }

    /// Gives the segments that the attachment was and is of.
    fn bury_encap(&mut self, owned: &Owned) -> Vec<Owned> {
        let now = self.next.attachment(owned);
        let mut segments: Vec<Owned> =
            now.map(|now| owned.beside(&now.spec.segment)).into_iter().collect();
        let Some(was) = self.before.attachment(owned) else { return segments };
        segments.push(owned.beside(&was.spec.segment));
        if !now.is_some_and(|now| now.stays(was)) {
            let PortKey { node, port } = was.spec.port.clone();
            self.tombstone(node, Freed::Encap(port, was.encap), &owned.beside(&was.spec.segment));
        }
        segments
    }

    fn bury_vni(&mut self, owned: &Owned) {
        let Some(was) = self.before.segment(owned) else { return };
        let keeps = self.next.segment(owned).is_some_and(|now| now.vni == was.vni);
        let before = self.before;
        for node in before.nodes_of(owned) {
            if !(keeps && self.next.is_on(owned, node)) {
                self.tombstone(node.clone(), Freed::Vni(was.vni), owned);
            }
        }
    }

    /// Every node of the segment shall forget the server behind `port`.
    pub(super) fn purge(&mut self, segment: &Owned, port: &PortKey) {
        let before = self.before;
        for node in before.nodes_of(segment) {
            let learned = Learned { segment: segment.clone(), port: port.clone() };
            self.tombstone(node.clone(), Freed::Learned(Box::new(learned)), segment);
        }
    }

    /// Nobody waits for a node any more.
    pub(super) fn forget(&mut self, name: &Name) -> Result<(), Refused> {
        let key = Key::Node(name.clone());
        let Some(node) = self.next.node(name).cloned() else {
            return refuse(
                Rule::Dangling,
                format!("there is no {key}"),
                "look at the nodes that there are",
                [&key],
            );
        };
        self.set(&key, Body::Node(Node { gone: true, ..node }));
        let here = self.next.referrers(&key).filter(|key| matches!(key, Key::Tombstone(..)));
        for tombstone in here.cloned().collect::<Vec<_>>() {
            self.next.set(tombstone.clone(), None);
            self.touched.insert(tombstone);
        }
        Ok(())
    }

    fn tombstone(&mut self, node: Name, freed: Freed, segment: &Owned) {
        if self.next.node(&node).is_some_and(|node| node.gone) {
            return;
        }
        let (operator, segment) = (segment.operator.clone(), segment.name.clone());
        let body = Body::Tombstone(Tombstone { operator, segment, freed: self.next.revision });
        self.set(&Key::Tombstone(node, freed), body);
    }
}
