//! Which addresses are where: what this node's attachments have learned, for others, and what others have learned, for this node. Pure.
#![forbid(unsafe_code)]

mod local;
mod told;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use sillon_abi::{Exit, FdbKey, Located};

use self::local::Local;
pub use self::told::ToDo;
use self::told::Told;
use super::reconciler::Places;
use crate::protocol::pb;

/// So many names of segments are in one message.
const NAMES: usize = 1000;

/// What is known of addresses.
#[derive(Debug, Default)]
pub struct Addresses {
    places: Arc<Places>,
    local: Local,
    told: Told,
    /// Segments of which this node has to be told everything.
    want: BTreeSet<String>,
    /// Whether all that was there when the stream began has yet to be said.
    is_new: bool,
    /// Whether the FDB was looked through since the agent began: until then it is not known what is there.
    has_looked: bool,
}

impl Addresses {
    /// The node is another one. Gives what can be learned now and could not before.
    pub fn follow(&mut self, places: Arc<Places>) -> Vec<Located> {
        if Arc::ptr_eq(&places, &self.places) {
            return Vec::new();
        }
        let new = places.segments.iter().filter(|(uid, _)| !self.places.segments.contains_key(uid));
        self.want.extend(new.map(|(_, segment)| segment.name.clone()));
        let is_same = places.has_same_remotes(&self.places);
        self.places = places;
        self.local.follow(&self.places);
        if is_same { Vec::new() } else { self.told.follow(&self.places) }
    }

    /// A stream begins: all is said, and asked for, again.
    pub fn begin(&mut self) {
        self.local.say_again(&self.places);
        self.told = Told::default();
        self.want = self.places.segments.values().map(|segment| segment.name.clone()).collect();
        self.is_new = true;
    }

    /// It has ended. What was told ages from now on like what was heard.
    pub fn end(&mut self) {
        self.told = Told::default();
    }

    /// An attachment has learned an address.
    pub fn heard(&mut self, located: &Located) {
        self.local.heard(&self.places, located.key, located.exit);
    }

    /// A walk has seen where an address is.
    pub fn seen(&mut self, located: &Located) {
        self.local.seen(&self.places, located.key, located.exit);
    }

    /// A walk through the FDB begins.
    pub fn begin_walk(&mut self) {
        self.local.begin_walk();
    }

    /// The walk is over: what it did not see is there no more.
    pub fn end_walk(&mut self) {
        self.local.end_walk(&self.places);
        self.has_looked = true;
    }

    /// Whether an address is behind a remote because others say so.
    pub fn is_told(&self, key: &FdbKey, exit: Exit) -> bool {
        exit.is_remote() && self.told.is_at(key, exit)
    }

    /// A server was forgotten that was at one of this node's own ports.
    pub fn forget_port(&mut self, segment: &str, port: &str) {
        if let Some(uid) = self.places.uid(segment) {
            self.local.forget(&self.places, uid, port);
        }
    }

    /// What was learned of a remote in a segment was forgotten, at this revision of the fabric. What is still there is told again.
    pub fn forget_remote(&mut self, segment: &str, remote: IpAddr, revision: u64) {
        if let Some(uid) = self.places.uid(segment) {
            self.told.forget(uid, remote, revision);
            self.want.insert(segment.to_owned());
        }
    }

    /// Takes what others have learned.
    pub fn take(&mut self, there: pb::There) -> ToDo {
        let mut to_do = self.told.take(&self.places, there);
        // Who was told otherwise before it could say what it has learned meanwhile has learned better.
        to_do.learn.retain(|located| !self.local.is_news(&self.places, &located.key));
        to_do.learn.iter().for_each(|located| self.local.moved(&self.places, located.key));
        to_do
    }

    /// Whether there is something to say, as soon as budgets allow.
    pub fn has_unsaid(&self) -> bool {
        (self.is_new && self.has_looked) || !self.want.is_empty() || self.local.has_unsaid()
    }

    /// What is said next; nothing if there is nothing, or nothing yet.
    pub fn say(&mut self, applied: u64, now: Instant) -> Option<pb::Here> {
        let mut want = Vec::new();
        while want.len() < NAMES
            && let Some(name) = self.want.pop_first()
        {
            want.push(name);
        }
        let learned = self.local.take(&self.places, now);
        let complete = self.is_new && self.has_looked && self.want.is_empty() && !self.local.has_unsaid();
        if learned.is_empty() && want.is_empty() && !complete {
            return None;
        }
        self.is_new &= !complete;
        Some(pb::Here { applied, learned, want, complete })
    }
}

#[cfg(test)]
mod tests;
