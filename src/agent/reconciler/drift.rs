//! What is judged by what is read back from the maps, and not by what was written: drift, and what a controller wants forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use sillon_abi::Exit;

use super::{ApplyError, Reconciler};
use crate::dataplane::diff::Op;
use crate::dataplane::names::ip;
use crate::dataplane::tables::unpadded;
use crate::dataplane::{DataplaneError, diff, links};
use crate::net::links::Link;

/// Where a server was that is to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Behind one of the node's own ports.
    Port(String),
    /// Behind another node.
    Remote(IpAddr),
}

impl Reconciler {
    /// The programs that are not on their ports any more, if any: another hand has taken them off, or put others in their place. Applying the same
    /// configuration again puts them back.
    ///
    /// # Errors
    /// What is left of their links can't be removed.
    pub fn lost_programs(&mut self) -> Result<Option<String>, ApplyError> {
        let mut lost = Vec::new();
        for (ifindex, port) in self.attached.clone() {
            let kinds = links::lost(&self.pins, &mut self.programs, ifindex, port);
            if kinds.is_empty() {
                continue;
            }
            // A link that was detached takes no program any more.
            links::unpin(&self.pins, ifindex, &kinds)?;
            self.attached.remove(&ifindex);
            lost.push(format!("{} of ifindex {ifindex}", kinds.join(" and ")));
        }
        let told = || format!("programs were taken off their ports by another hand: {}", lost.join(", "));
        Ok((!lost.is_empty()).then(told))
    }

    /// What the maps have that they should not, if anything: another hand has written to them. `links` are those that they were made for.
    /// Applying the same configuration again puts it right.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn drift(&self, links: &BTreeMap<String, Link>) -> Result<Option<String>, ApplyError> {
        let change = self.change(&self.config, self.tables()?, links)?;
        let ops = diff::diff(&change.previous, &change.wanted);
        let is_change = |op: &&Op| {
            !matches!(op, Op::Barrier | Op::Forget | Op::PurgeFdb(_) | Op::PurgeBindings(_) | Op::SetNode(_))
        };
        let mut changes = ops.iter().filter(is_change);
        let first = changes.next();
        Ok(first.map(|first| {
            let more = changes.count();
            format!(
                "the maps were changed by another hand; what has to be put right: {first:?}, and {more} more"
            )
        }))
    }

    /// Forgets what was learned of a segment at a place, whatever is there now. Nothing, if the segment or the place is not there.
    ///
    /// # Errors
    /// A map can't be read or written.
    pub fn forget(&mut self, segment: &str, place: &Place) -> Result<u64, DataplaneError> {
        let tables = self.tables()?;
        let uid = tables.labels.iter().find(|(_, label)| unpadded(&label.segment) == segment);
        let Some((uid, _)) = uid else { return Ok(0) };
        let exits: BTreeSet<Exit> = match place {
            Place::Remote(addr) => {
                let remotes = tables.remotes.iter().filter(|(_, remote)| ip(**remote) == *addr);
                remotes.map(|(id, _)| Exit::remote(*id)).collect()
            }
            Place::Port(name) => {
                let is_port = |ifindex| {
                    tables.records.get(&ifindex).is_some_and(|record| unpadded(&record.name) == *name)
                };
                let here = tables.attachments.iter().filter(|(_, attachment)| {
                    attachment.segment == *uid && is_port(attachment.class.ifindex)
                });
                here.map(|(id, _)| Exit::attachment(*id)).collect()
            }
        };
        if exits.is_empty() { Ok(0) } else { self.maps.forget_exits(*uid, &exits) }
    }
}
