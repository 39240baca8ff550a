//! What the node's own attachments have learned, and what of it others have yet to be told. Each operator's waits by itself and has a budget of its
//! own: however many addresses one has, the others' news go out at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use sillon_abi::{Exit, FdbKey};

use crate::agent::reconciler::Places;
use crate::protocol::pb;

/// So many addresses of an operator are said at once, so many a second in the long run, and so many of those are saved up.
const AT_ONCE: usize = 64;
const A_SECOND: f64 = 2000.0;
const SAVED: f64 = 4000.0;
/// Of all operators together, in one message.
const MOST: usize = 2048;
/// In place of a walk: configured, so no walk sees it.
const CONFIGURED: u64 = 0;

#[derive(Debug, Clone, Copy)]
struct Entry {
    exit: Exit,
    /// The last walk that saw it.
    walk: u64,
}

/// What an operator has to say.
#[derive(Debug)]
struct Unsaid {
    keys: BTreeSet<FdbKey>,
    left: f64,
    since: Option<Instant>,
}

impl Default for Unsaid {
    fn default() -> Self {
        Self { keys: BTreeSet::new(), left: SAVED, since: None }
    }
}

/// Addresses at the node's own attachments.
#[derive(Debug)]
pub struct Local {
    entries: HashMap<FdbKey, Entry>,
    walk: u64,
    unsaid: BTreeMap<String, Unsaid>,
}

impl Default for Local {
    fn default() -> Self {
        Self { entries: HashMap::new(), walk: CONFIGURED + 1, unsaid: BTreeMap::new() }
    }
}

impl Local {
    /// A walk has seen an address at an attachment.
    pub fn seen(&mut self, places: &Places, key: FdbKey, exit: Exit) {
        self.set(places, key, Entry { exit, walk: self.walk });
    }

    /// An attachment has learned an address just now, wherever it was before.
    pub fn heard(&mut self, places: &Places, key: FdbKey, exit: Exit) {
        self.entries.remove(&key);
        self.seen(places, key, exit);
    }

    /// Whether an address is here, and those who say otherwise have yet to be told.
    pub fn is_news(&self, places: &Places, key: &FdbKey) -> bool {
        let operator = places.segments.get(&key.segment).map(|segment| &segment.operator);
        let unsaid = operator.and_then(|operator| self.unsaid.get(operator));
        self.entries.contains_key(key) && unsaid.is_some_and(|unsaid| unsaid.keys.contains(key))
    }

    /// Others say that an address is elsewhere. What is configured here is said again; the rest, the next walk finds if it is still here.
    pub fn moved(&mut self, places: &Places, key: FdbKey) {
        match self.entries.get(&key) {
            Some(entry) if entry.walk == CONFIGURED => self.mark(places, key),
            Some(_) => drop(self.entries.remove(&key)),
            None => {}
        }
    }

    fn set(&mut self, places: &Places, key: FdbKey, entry: Entry) {
        if places.port(key.segment, entry.exit).is_none() || !places.segments.contains_key(&key.segment) {
            return;
        }
        // What is configured is no walk's.
        let is_fixed = |entry: &Entry| entry.walk == CONFIGURED;
        let entry = self
            .entries
            .get(&key)
            .copied()
            .filter(is_fixed)
            .filter(|is| is.exit == entry.exit)
            .unwrap_or(entry);
        let before = self.entries.insert(key, entry);
        if before.is_none_or(|before| before.exit != entry.exit) {
            self.mark(places, key);
        }
    }

    fn mark(&mut self, places: &Places, key: FdbKey) {
        let Some(segment) = places.segments.get(&key.segment) else { return };
        match self.unsaid.get_mut(&segment.operator) {
            Some(unsaid) => unsaid.keys.insert(key),
            None => self.unsaid.entry(segment.operator.clone()).or_default().keys.insert(key),
        };
    }

    /// All is to be said again.
    pub fn say_again(&mut self, places: &Places) {
        self.unsaid.clear();
        let keys: Vec<FdbKey> = self.entries.keys().copied().collect();
        keys.into_iter().for_each(|key| self.mark(places, key));
    }

    pub fn begin_walk(&mut self) {
        self.walk += 1;
    }

    pub fn end_walk(&mut self, places: &Places) {
        let walk = self.walk;
        self.retain(places, |_, entry| entry.walk == walk || entry.walk == CONFIGURED);
    }

    /// Attachments come and go, and what is configured for them.
    pub fn follow(&mut self, places: &Places) {
        self.retain(places, |key, entry| {
            entry.walk != CONFIGURED && places.port(key.segment, entry.exit).is_some()
        });
        for located in &places.configured {
            self.set(places, located.key, Entry { exit: located.exit, walk: CONFIGURED });
        }
    }

    pub fn forget(&mut self, places: &Places, uid: u32, port: &str) {
        self.retain(places, |key, entry| {
            key.segment != uid || places.port(uid, entry.exit).is_none_or(|is| is != port)
        });
    }

    fn retain(&mut self, places: &Places, keep: impl Fn(&FdbKey, &Entry) -> bool) {
        let mut gone = Vec::new();
        self.entries.retain(|key, entry| {
            let keeps = keep(key, entry);
            if !keeps {
                gone.push(*key);
            }
            keeps
        });
        gone.into_iter().for_each(|key| self.mark(places, key));
    }

    pub fn has_unsaid(&self) -> bool {
        self.unsaid.values().any(|unsaid| !unsaid.keys.is_empty())
    }

    /// What is said next, as it is now.
    pub fn take(&mut self, places: &Places, now: Instant) -> Vec<pb::Learned> {
        let mut said = Vec::new();
        for unsaid in self.unsaid.values_mut() {
            let passed = unsaid.since.map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f64());
            unsaid.left = (unsaid.left + passed * A_SECOND).min(SAVED);
            unsaid.since = Some(now);
            for _ in 0..AT_ONCE {
                if unsaid.left < 1.0 || said.len() >= MOST {
                    break;
                }
                let Some(key) = unsaid.keys.pop_first() else { break };
                unsaid.left -= 1.0;
                // A segment that is gone takes its addresses along.
                let Some(segment) = places.segments.get(&key.segment) else { continue };
                let exit = self.entries.get(&key).map(|entry| entry.exit);
                let at = exit.and_then(|exit| places.port(key.segment, exit)).map(str::to_owned);
                let (segment, mac) = (segment.name.clone(), key.mac.octets().to_vec());
                said.push(pb::Learned { segment, mac, at });
            }
        }
        self.unsaid.retain(|_, unsaid| !unsaid.keys.is_empty() || unsaid.left < SAVED);
        said
    }
}
