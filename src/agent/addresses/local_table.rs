//! What the node's own attachments have learned, and what of it others have yet to be told. Each
//! operator's waits by itself and has a budget of its own: however many addresses one has, the
//! others' are published at once.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

use sillon_abi::Endpoint;

use crate::agent::{
    node_index::NodeIndex,
    subject::{Found, Subject},
};

/// So many addresses of an operator are said at once, so many a second in the long run, and so many
/// of those are saved up.
const AT_ONCE: usize = 64;
const A_SECOND: f64 = 2000.0;
const SAVED: f64 = 4000.0;
/// Of all operators together, in one message.
const MOST: usize = 2048;
/// In place of a walk: configured, so no walk sees it.
const CONFIGURED: u64 = 0;

#[derive(Debug, Clone, Copy)]
struct Entry<W> {
    endpoint: Endpoint,
    word: W,
    /// The last walk that saw it.
    walk: u64,
}

/// What is published of an address.
#[derive(Debug)]
pub struct Publication<K: Subject> {
    pub key: K,
    /// Its segment's name.
    pub segment: String,
    /// At which port, and what else is known; none, if it is there no more.
    pub at: Option<(String, K::Word)>,
}

/// What of an operator has yet to be published.
#[derive(Debug)]
struct Pending<K> {
    keys: BTreeSet<K>,
    left: f64,
    since: Option<Instant>,
}

impl<K> Default for Pending<K> {
    fn default() -> Self {
        Self { keys: BTreeSet::new(), left: SAVED, since: None }
    }
}

/// Addresses at the node's own attachments.
#[derive(Debug)]
pub struct LocalTable<K: Subject> {
    entries: HashMap<K, Entry<K::Word>>,
    walk: u64,
    pending: BTreeMap<String, Pending<K>>,
}

impl<K: Subject> Default for LocalTable<K> {
    fn default() -> Self {
        Self { entries: HashMap::new(), walk: CONFIGURED + 1, pending: BTreeMap::new() }
    }
}

impl<K: Subject> LocalTable<K> {
    /// A walk has seen an address at an attachment.
    pub fn refresh(&mut self, index: &NodeIndex, Found { key, endpoint, word }: Found<K>) {
        self.set(index, key, Entry { endpoint, word, walk: self.walk });
    }

    /// An attachment has learned an address just now, wherever it was before.
    pub fn record(&mut self, index: &NodeIndex, found: Found<K>) {
        self.entries.remove(&found.key);
        self.refresh(index, found);
    }

    /// Whether an address is here, and those who say otherwise have yet to be told.
    pub fn is_unpublished(&self, index: &NodeIndex, key: &K) -> bool {
        let operator = index.segments.get(&key.segment()).map(|segment| &segment.operator);
        let pending = operator.and_then(|operator| self.pending.get(operator));
        self.entries.contains_key(key) && pending.is_some_and(|pending| pending.keys.contains(key))
    }

    /// Whether it is known already that an address is here.
    pub fn knows(&self, Found { key, endpoint, word }: &Found<K>) -> bool {
        self.entries
            .get(key)
            .is_some_and(|entry| entry.endpoint == *endpoint && entry.word == *word)
    }

    /// Others say that an address is elsewhere. What is configured here is said again; the rest,
    /// the next walk finds if it is still here.
    pub fn moved(&mut self, index: &NodeIndex, key: K) {
        match self.entries.get(&key) {
            Some(entry) if entry.walk == CONFIGURED => self.mark(index, key),
            Some(_) => drop(self.entries.remove(&key)),
            None => {}
        }
    }

    fn set(&mut self, index: &NodeIndex, key: K, entry: Entry<K::Word>) {
        if index.port(key.segment(), entry.endpoint).is_none()
            || !index.segments.contains_key(&key.segment())
        {
            return;
        }
        // What is configured is no walk's.
        let is_fixed = |entry: &Entry<K::Word>| entry.walk == CONFIGURED;
        let entry = self
            .entries
            .get(&key)
            .copied()
            .filter(is_fixed)
            .filter(|is| (is.endpoint, is.word) == (entry.endpoint, entry.word))
            .unwrap_or(entry);
        let before = self.entries.insert(key, entry);
        if before
            .is_none_or(|before| (before.endpoint, before.word) != (entry.endpoint, entry.word))
        {
            self.mark(index, key);
        }
    }

    fn mark(&mut self, index: &NodeIndex, key: K) {
        let Some(segment) = index.segments.get(&key.segment()) else { return };
        match self.pending.get_mut(&segment.operator) {
            Some(pending) => pending.keys.insert(key),
            None => self.pending.entry(segment.operator.clone()).or_default().keys.insert(key),
        };
    }

    /// All is to be published again.
    pub fn republish(&mut self, index: &NodeIndex) {
        self.pending.clear();
        let keys: Vec<K> = self.entries.keys().copied().collect();
        keys.into_iter().for_each(|key| self.mark(index, key));
    }

    pub fn begin_walk(&mut self) {
        self.walk += 1;
    }

    pub fn end_walk(&mut self, index: &NodeIndex) {
        let walk = self.walk;
        self.retain(index, |_, entry| entry.walk == walk || entry.walk == CONFIGURED);
    }

    /// Attachments come and go, and what is configured for them.
    pub fn follow(&mut self, index: &NodeIndex, configured: &[Found<K>]) {
        self.retain(index, |key, entry| {
            entry.walk != CONFIGURED && index.port(key.segment(), entry.endpoint).is_some()
        });
        for Found { key, endpoint, word } in configured {
            self.set(index, *key, Entry { endpoint: *endpoint, word: *word, walk: CONFIGURED });
        }
    }

    pub fn purge(&mut self, index: &NodeIndex, uid: u32, port: &str) {
        self.retain(index, |key, entry| {
            key.segment() != uid || index.port(uid, entry.endpoint).is_none_or(|is| is != port)
        });
    }

    fn retain(&mut self, index: &NodeIndex, keep: impl Fn(&K, &Entry<K::Word>) -> bool) {
        let mut gone = Vec::new();
        self.entries.retain(|key, entry| {
            let keeps = keep(key, entry);
            if !keeps {
                gone.push(*key);
            }
            keeps
        });
        gone.into_iter().for_each(|key| self.mark(index, key));
    }

    pub fn has_unpublished(&self) -> bool {
        self.pending.values().any(|pending| !pending.keys.is_empty())
    }

    /// What is published next, as it is now.
    pub fn publish(&mut self, index: &NodeIndex, now: Instant) -> Vec<Publication<K>> {
        let mut said = Vec::new();
        for pending in self.pending.values_mut() {
            let passed = pending
                .since
                .map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f64());
            pending.left = (pending.left + passed * A_SECOND).min(SAVED);
            pending.since = Some(now);
            for _ in 0..AT_ONCE {
                if pending.left < 1.0 || said.len() >= MOST {
                    break;
                }
                let Some(key) = pending.keys.pop_first() else { break };
                pending.left -= 1.0;
                // A segment that is gone takes its addresses along.
                let Some(segment) = index.segments.get(&key.segment()) else { continue };
                let entry = self.entries.get(&key);
                let at = entry.and_then(|entry| {
                    let port = index.port(key.segment(), entry.endpoint)?;
                    Some((port.to_owned(), entry.word))
                });
                said.push(Publication { key, segment: segment.name.clone(), at });
            }
        }
        self.pending.retain(|_, pending| !pending.keys.is_empty() || pending.left < SAVED);
        said
    }
}
