//! What others have learned, as far as the controller has said it on the stream that there is.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use sillon_abi::Endpoint;

use crate::agent::{
    node_index::NodeIndex,
    subject::{Found, Subject},
};

#[derive(Debug, Clone, Copy)]
struct Entry<W> {
    remote: IpAddr,
    word: W,
    /// None, as long as the segment has no such remote here.
    endpoint: Endpoint,
}

/// Addresses behind remotes.
#[derive(Debug)]
pub struct RemoteTable<K: Subject> {
    entries: HashMap<K, Entry<K::Word>>,
    /// How many of each segment.
    counts: BTreeMap<u32, u32>,
    /// What was said of a segment before this revision does not count.
    floors: BTreeMap<u32, u64>,
}

impl<K: Subject> Default for RemoteTable<K> {
    fn default() -> Self {
        Self { entries: HashMap::new(), counts: BTreeMap::new(), floors: BTreeMap::new() }
    }
}

impl<K: Subject> RemoteTable<K> {
    pub fn is_at(&self, Found { key, endpoint, word }: &Found<K>) -> bool {
        self.entries
            .get(key)
            .is_some_and(|entry| (entry.endpoint, entry.word) == (*endpoint, *word))
    }

    /// Remotes came or went. Gives what can be learned only now. Of segments that `has` does not
    /// know nothing is kept.
    pub fn follow(&mut self, index: &NodeIndex, has: impl Fn(u32) -> bool) -> Vec<Found<K>> {
        let mut learn = Vec::new();
        let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
        self.entries.retain(|key, entry| {
            if !has(key.segment()) {
                return false;
            }
            let endpoint = index.remote(key.segment(), entry.remote).unwrap_or(Endpoint::NONE);
            if endpoint != entry.endpoint && !endpoint.is_none() {
                learn.push(Found { key: *key, endpoint, word: entry.word });
            }
            entry.endpoint = endpoint;
            *counts.entry(key.segment()).or_default() += 1;
            true
        });
        self.counts = counts;
        self.floors.retain(|uid, _| index.segments.contains_key(uid));
        learn
    }

    /// Whether what was said of a segment at a revision counts.
    pub fn counts(&self, uid: u32, revision: u64) -> bool {
        self.floors.get(&uid).is_none_or(|floor| revision >= *floor)
    }

    /// It is behind a remote. Gives what can be learned of that now.
    pub fn set(
        &mut self,
        index: &NodeIndex,
        (key, word): (K, K::Word),
        remote: IpAddr,
    ) -> Option<Found<K>> {
        let limit = index.segments.get(&key.segment())?.limit;
        let count = self.counts.entry(key.segment()).or_default();
        let is_new = !self.entries.contains_key(&key);
        if is_new && *count >= limit {
            return None;
        }
        *count += u32::from(is_new);
        let endpoint = index.remote(key.segment(), remote).unwrap_or(Endpoint::NONE);
        self.entries.insert(key, Entry { remote, word, endpoint });
        (!endpoint.is_none()).then_some(Found { key, endpoint, word })
    }

    /// It is there no more. Returns what is to be removed.
    pub fn remove(&mut self, key: K) -> Option<Found<K>> {
        let Entry { endpoint, word, .. } = self.entries.remove(&key)?;
        if let Some(count) = self.counts.get_mut(&key.segment()) {
            *count = count.saturating_sub(1);
        }
        (!endpoint.is_none()).then_some(Found { key, endpoint, word })
    }

    /// Removes what was said of a segment and a remote; what was said before this revision
    /// is late.
    pub fn purge(&mut self, uid: u32, remote: IpAddr, revision: u64) {
        let is_meant =
            |key: &K, entry: &Entry<K::Word>| key.segment() == uid && entry.remote == remote;
        let keys: Vec<K> = self
            .entries
            .iter()
            .filter(|(key, entry)| is_meant(key, entry))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.remove(key);
        }
        self.floors.insert(uid, revision);
    }
}
