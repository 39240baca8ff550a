//! What was freed stays nobody's until the nodes that had it have confirmed that it is gone.

use std::collections::BTreeSet;

use super::Tx;
use crate::fabric::object::{Body, Tombstone};
use crate::fabric::{Freed, Key, Owned, PortKey};
use crate::model::Name;

impl Tx<'_> {
    /// Buries what the transaction has freed.
    pub(super) fn bury(&mut self) {
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
        let mut segments: Vec<Owned> = now.map(|now| owned.beside(&now.spec.segment)).into_iter().collect();
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
        let now = if keeps { self.next.nodes_of(owned) } else { BTreeSet::new() };
        for node in self.before.nodes_of(owned).difference(&now) {
            self.tombstone(node.clone(), Freed::Vni(was.vni), owned);
        }
    }

    /// Every node of the segment shall forget the server behind `port`.
    pub(super) fn purge(&mut self, segment: &Owned, port: &PortKey) {
        for node in self.before.nodes_of(segment) {
            self.tombstone(node, Freed::Learned(segment.clone(), port.clone()), segment);
        }
    }

    fn tombstone(&mut self, node: Name, freed: Freed, segment: &Owned) {
        let (operator, segment) = (segment.operator.clone(), segment.name.clone());
        let body = Body::Tombstone(Tombstone { operator, segment, freed: self.next.revision });
        self.set(&Key::Tombstone(node, freed), body);
    }
}
