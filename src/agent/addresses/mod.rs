//! Which addresses are where: what this node's attachments have learned, for others, and what
//! others have learned, for this node. Pure.
//!
//! MACs, and in segments that suppress also IP addresses with whose they are: two accounts with the
//! same rules.
#![forbid(unsafe_code)]

mod local_table;
mod remote_table;
mod wire;

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Instant};

use sillon_abi::{BindingKey, FdbKey, MacLocation};

use self::{local_table::LocalTable, remote_table::RemoteTable};
use super::{node_index::NodeIndex, subject::Bound};
use crate::protocol::pb;

/// So many names of segments are in one message.
const NAMES: usize = 1000;

/// What is to be done to the FDB and to the bindings.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ToDo {
    /// What is to be learned.
    pub learn: Vec<MacLocation>,
    /// What is there no more.
    pub remove: Vec<MacLocation>,
    /// Whose IP addresses are now.
    pub bind: Vec<Bound>,
    /// Whose they are no more.
    pub unbind: Vec<Bound>,
}

/// What is known of addresses.
#[derive(Debug, Default)]
pub struct Addresses {
    index: Arc<NodeIndex>,
    local_macs: LocalTable<FdbKey>,
    remote_macs: RemoteTable<FdbKey>,
    local_bindings: LocalTable<BindingKey>,
    remote_bindings: RemoteTable<BindingKey>,
    /// Segments of which this node has to be told everything.
    want: BTreeSet<String>,
    /// Whether all that was there when the stream began has yet to be said.
    is_new: bool,
    /// Whether the FDB was looked through since the agent began: until then it is not known what
    /// is there.
    has_looked: bool,
}

impl Addresses {
    /// The node is another one. Gives what can be learned now and could not before.
    pub fn follow(&mut self, index: Arc<NodeIndex>) -> ToDo {
        if Arc::ptr_eq(&index, &self.index) {
            return ToDo::default();
        }
        // One that begins to suppress was told nothing of IP addresses.
        let is_new = |uid: &u32| {
            !self.index.segments.contains_key(uid)
                || index.suppresses(*uid) && !self.index.suppresses(*uid)
        };
        let new = index.segments.iter().filter(|(uid, _)| is_new(uid));
        self.want.extend(new.map(|(_, segment)| segment.name.clone()));
        let is_same = index.has_same_remotes(&self.index);
        self.index = index;
        let index = &self.index;
        self.local_macs.follow(index, &index.configured);
        self.local_bindings.follow(index, &index.bound);
        if is_same {
            return ToDo::default();
        }
        let learn = self.remote_macs.follow(index, |uid| index.segments.contains_key(&uid));
        let bind = self.remote_bindings.follow(index, |uid| index.suppresses(uid));
        ToDo { learn: learn.into_iter().map(MacLocation::from).collect(), bind, ..ToDo::default() }
    }

    /// A stream begins: all is said, and asked for, again.
    pub fn begin(&mut self) {
        self.local_macs.republish(&self.index);
        self.local_bindings.republish(&self.index);
        (self.remote_macs, self.remote_bindings) = (RemoteTable::default(), RemoteTable::default());
        self.want = self.index.segments.values().map(|segment| segment.name.clone()).collect();
        self.is_new = true;
    }

    /// It has ended. What was told ages from now on like what was heard.
    pub fn end(&mut self) {
        (self.remote_macs, self.remote_bindings) = (RemoteTable::default(), RemoteTable::default());
    }

    /// An attachment has learned an address.
    pub fn record(&mut self, location: &MacLocation) {
        self.local_macs.record(&self.index, (*location).into());
    }

    /// A walk has seen where a MAC is.
    pub fn refresh(&mut self, location: &MacLocation) {
        self.local_macs.refresh(&self.index, (*location).into());
    }

    /// A walk has seen whose an IP address is.
    pub fn refresh_binding(&mut self, bound: &Bound) {
        // What no host may have nobody is told of.
        if wire::is_hosts(bound) {
            self.local_bindings.refresh(&self.index, *bound);
        }
    }

    /// A walk through the FDB, and then the bindings, begins.
    pub fn begin_walk(&mut self) {
        self.local_macs.begin_walk();
        self.local_bindings.begin_walk();
    }

    /// The FDB was walked through: what was not seen is there no more.
    pub fn end_fdb(&mut self) {
        self.local_macs.end_walk(&self.index);
    }

    /// So were the bindings.
    pub fn end_walk(&mut self) {
        self.local_bindings.end_walk(&self.index);
        self.has_looked = true;
    }

    /// Whether a MAC is behind a remote because others say so.
    pub fn is_remote_mac(&self, location: &MacLocation) -> bool {
        location.endpoint.is_remote() && self.remote_macs.is_at(&(*location).into())
    }

    /// Whether a binding is there because others say so.
    pub fn is_remote_binding(&self, bound: &Bound) -> bool {
        bound.endpoint.is_remote() && self.remote_bindings.is_at(bound)
    }

    /// Whether an IP address was claimed here so lately that no walk has seen it, or nobody was
    /// told.
    pub fn is_newer(&self, bound: &Bound) -> bool {
        let is_here = self.index.port(bound.key.segment, bound.endpoint).is_some();
        let is_said = self.local_bindings.knows(bound)
            && !self.local_bindings.is_unpublished(&self.index, &bound.key);
        is_here && !is_said
    }

    /// Purges what a server had at one of this node's own ports.
    pub fn purge_port(&mut self, segment: &str, port: &str) {
        if let Some(uid) = self.index.uid(segment) {
            self.local_macs.purge(&self.index, uid, port);
            self.local_bindings.purge(&self.index, uid, port);
        }
    }

    /// Purges what was learned of a remote in a segment, at this revision of the fabric.
    /// What is still there is told again.
    pub fn purge_remote(&mut self, segment: &str, remote: IpAddr, revision: u64) {
        if let Some(uid) = self.index.uid(segment) {
            self.remote_macs.purge(uid, remote, revision);
            self.remote_bindings.purge(uid, remote, revision);
            self.want.insert(segment.to_owned());
        }
    }

    /// Accepts what other nodes have published.
    pub fn accept(&mut self, there: pb::There) -> ToDo {
        let mut to_do = ToDo::default();
        for learned in there.learned {
            let Some((key, at)) = wire::decode_mac(&self.index, learned) else { continue };
            if !self.remote_macs.counts(key.segment, there.revision) {
                continue;
            }
            match at {
                Some(at) => to_do.learn.extend(
                    self.remote_macs.set(&self.index, (key, ()), at).map(MacLocation::from),
                ),
                None => to_do.remove.extend(self.remote_macs.remove(key).map(MacLocation::from)),
            }
        }
        // Who was told otherwise before it could say what it has learned meanwhile has learned
        // better.
        to_do.learn.retain(|location| !self.local_macs.is_unpublished(&self.index, &location.key));
        to_do.learn.iter().for_each(|location| self.local_macs.moved(&self.index, location.key));
        self.accept_bindings(there.bound, there.revision, &mut to_do);
        to_do
    }

    fn accept_bindings(&mut self, all: Vec<pb::Bound>, revision: u64, to_do: &mut ToDo) {
        for bound in all {
            let Some((key, at)) = wire::decode_binding(&self.index, bound) else { continue };
            if !self.remote_bindings.counts(key.segment, revision)
                || !self.index.suppresses(key.segment)
            {
                continue;
            }
            match at {
                Some((at, claim)) => {
                    to_do.bind.extend(self.remote_bindings.set(&self.index, (key, claim), at))
                }
                None => to_do.unbind.extend(self.remote_bindings.remove(key)),
            }
        }
        to_do.bind.retain(|bound| !self.local_bindings.is_unpublished(&self.index, &bound.key));
    }

    /// What others said of these was brought in, but for those of which this node has heard
    /// something newer.
    pub fn moved_bindings(&mut self, all: &[Bound], newer: &[BindingKey]) {
        let moved = all.iter().filter(|bound| !newer.contains(&bound.key));
        moved.for_each(|bound| self.local_bindings.moved(&self.index, bound.key));
    }

    /// Whether there is something to publish, as soon as budgets allow.
    pub fn has_unpublished(&self) -> bool {
        (self.is_new && self.has_looked)
            || !self.want.is_empty()
            || self.has_unpublished_addresses()
    }

    fn has_unpublished_addresses(&self) -> bool {
        self.local_macs.has_unpublished() || self.local_bindings.has_unpublished()
    }

    /// The next message; none if there is nothing to publish, or not yet.
    pub fn publish(&mut self, applied: u64, now: Instant) -> Option<pb::Here> {
        let mut want = Vec::new();
        while want.len() < NAMES
            && let Some(name) = self.want.pop_first()
        {
            want.push(name);
        }
        let learned: Vec<_> =
            self.local_macs.publish(&self.index, now).into_iter().map(wire::encode_mac).collect();
        let bound: Vec<_> = self
            .local_bindings
            .publish(&self.index, now)
            .into_iter()
            .map(wire::encode_binding)
            .collect();
        let is_all = self.want.is_empty() && !self.has_unpublished_addresses();
        let complete = self.is_new && self.has_looked && is_all;
        if learned.is_empty() && bound.is_empty() && want.is_empty() && !complete {
            return None;
        }
        self.is_new &= !complete;
        Some(pb::Here { applied, learned, bound, want, complete })
    }
}

#[cfg(test)]
mod tests;
