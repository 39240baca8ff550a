//! What others have learned, as far as the controller has said it on the stream that there is.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use sillon_abi::{Exit, FdbKey, Located, Mac};

use crate::agent::reconciler::Places;
use crate::model::MacAddr;
use crate::protocol::pb;

/// What is to be done to the FDB.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ToDo {
    /// What is to be learned.
    pub learn: Vec<Located>,
    /// What is there no more.
    pub forget: Vec<Located>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    remote: IpAddr,
    /// None, as long as the segment has no such remote here.
    exit: Exit,
}

/// Addresses behind remotes.
#[derive(Debug, Default)]
pub struct Told {
    entries: HashMap<FdbKey, Entry>,
    /// How many of each segment.
    counts: BTreeMap<u32, u32>,
    /// What was said of a segment before this revision does not count.
    floors: BTreeMap<u32, u64>,
}

impl Told {
    pub fn is_at(&self, key: &FdbKey, exit: Exit) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.exit == exit)
    }

    /// Remotes came or went. Gives what can be learned only now.
    pub fn follow(&mut self, places: &Places) -> Vec<Located> {
        let mut learn = Vec::new();
        self.entries.retain(|key, entry| {
            let exit = places.remote(key.segment, entry.remote).unwrap_or(Exit::NONE);
            if exit != entry.exit && !exit.is_none() {
                learn.push(Located { key: *key, exit });
            }
            entry.exit = exit;
            places.segments.contains_key(&key.segment)
        });
        self.counts.retain(|uid, _| places.segments.contains_key(uid));
        self.floors.retain(|uid, _| places.segments.contains_key(uid));
        learn
    }

    pub fn take(&mut self, places: &Places, there: pb::There) -> ToDo {
        let mut to_do = ToDo::default();
        for pb::Learned { segment, mac, at } in there.learned {
            let Some(uid) = places.uid(&segment) else { continue };
            let mac = <[u8; 6]>::try_from(mac).ok().and_then(|octets| MacAddr::new(octets).ok());
            let is_late = self.floors.get(&uid).is_some_and(|floor| there.revision < *floor);
            let Some(mac) = mac.filter(|_| !is_late) else { continue };
            let key = FdbKey::new(uid, Mac::new(mac.octets()));
            match at {
                Some(at) => to_do.learn.extend(at.parse().ok().and_then(|at| self.set(places, key, at))),
                None => to_do.forget.extend(self.remove(key)),
            }
        }
        to_do
    }

    fn set(&mut self, places: &Places, key: FdbKey, remote: IpAddr) -> Option<Located> {
        let limit = places.segments.get(&key.segment)?.limit;
        let count = self.counts.entry(key.segment).or_default();
        let is_new = !self.entries.contains_key(&key);
        if is_new && *count >= limit {
            return None;
        }
        *count += u32::from(is_new);
        let exit = places.remote(key.segment, remote).unwrap_or(Exit::NONE);
        self.entries.insert(key, Entry { remote, exit });
        (!exit.is_none()).then_some(Located { key, exit })
    }

    fn remove(&mut self, key: FdbKey) -> Option<Located> {
        let Entry { exit, .. } = self.entries.remove(&key)?;
        if let Some(count) = self.counts.get_mut(&key.segment) {
            *count = count.saturating_sub(1);
        }
        (!exit.is_none()).then_some(Located { key, exit })
    }

    /// What was said of a segment and a remote is forgotten, and what was said before this revision is late.
    pub fn forget(&mut self, uid: u32, remote: IpAddr, revision: u64) {
        let is_meant = |key: &FdbKey, entry: &Entry| key.segment == uid && entry.remote == remote;
        let keys: Vec<FdbKey> =
            self.entries.iter().filter(|(key, entry)| is_meant(key, entry)).map(|(key, _)| *key).collect();
        for key in keys {
            self.remove(key);
        }
        self.floors.insert(uid, revision);
    }
}
