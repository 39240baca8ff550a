//! The FDB and what guards say of it, over the maps of [`Maps`]: entries are learned by the
//! programs and removed by the agent, and each keeps its own account of it.

use std::collections::{BTreeMap, BTreeSet};

use aya::maps::lpm_trie::Key;
use sillon_abi::{Endpoint, FdbEntry, FdbKey, FdbUse, MacUse, PrefixKey, map};

use super::{Maps, Named, batch, found, keys, used};
use crate::dataplane::{DataplaneError, bpf_syscall};

/// What a walk through the FDB found.
#[derive(Debug, Default)]
pub struct Walk {
    /// How many entries it removed.
    pub removed: u64,
    /// How many learned entries are left, by where they are.
    pub held: BTreeMap<Endpoint, u64>,
    /// Those that are frozen.
    pub frozen: BTreeSet<FdbKey>,
}

/// A walk through the FDB that is taken part by part.
#[derive(Debug, Default)]
pub struct FdbWalk {
    reader: batch::Reader,
    /// What was found until now.
    pub found: Walk,
}

impl Maps {
    /// Removes what was learned of all but these (segment uid, endpoint) pairs, and what was
    /// decided by it.
    pub(super) fn purge_fdb(
        &mut self,
        endpoints: &BTreeSet<(u32, Endpoint)>,
    ) -> Result<(), DataplaneError> {
        self.retain_fdb(|key, entry| endpoints.contains(&(key.segment, entry.endpoint)))?;
        self.bump_epoch();
        Ok(())
    }

    /// Removes the learned FDB entries that `keep` does not want. What is configured stays.
    ///
    /// # Errors
    /// The map can't be read or written.
    pub fn retain_fdb(
        &mut self,
        mut keep: impl FnMut(&FdbKey, &FdbEntry) -> bool,
    ) -> Result<Walk, DataplaneError> {
        let mut walk = FdbWalk::default();
        while self.walk_fdb(&mut walk, &mut keep)? {}
        Ok(walk.found)
    }

    /// The next part of such a walk, some thousand entries; returns whether there are more.
    ///
    /// # Errors
    /// The map can't be read or written.
    pub fn walk_fdb(
        &mut self,
        walk: &mut FdbWalk,
        mut keep: impl FnMut(&FdbKey, &FdbEntry) -> bool,
    ) -> Result<bool, DataplaneError> {
        let Some(part) = walk.reader.next(&self.fdb).named(map::FDB)? else { return Ok(false) };
        let found = &mut walk.found;
        let mut gone = Vec::new();
        for (key, entry) in part {
            if entry.is_configured() {
                continue;
            }
            if !keep(&key, &entry) {
                gone.push(key);
                continue;
            }
            *found.held.entry(entry.endpoint).or_default() += 1;
            if entry.flags & FdbEntry::FROZEN != 0 {
                found.frozen.insert(key);
            }
        }
        found.removed += self.take_learned(&gone)?;
        Ok(true)
    }

    /// Takes entries out, and counts each where it was at that moment; returns how many there were.
    /// What is counted late is only given out again late.
    pub(super) fn take_learned(&mut self, keys: &[FdbKey]) -> Result<u64, DataplaneError> {
        let (mut segments, mut attachments) = (BTreeMap::new(), BTreeMap::new());
        let mut taken = 0;
        let mut result = Ok(());
        for key in keys {
            let entry: Option<FdbEntry> =
                match bpf_syscall::take(&mut self.fdb, key).named(map::FDB) {
                    Ok(entry) => entry,
                    // What was taken before it is counted all the same.
                    Err(error) => {
                        result = Err(error);
                        break;
                    }
                };
            let Some(entry) = entry.filter(|entry| !entry.is_configured()) else { continue };
            taken += 1;
            *segments.entry(key.segment).or_insert(0_u64) += 1;
            if !entry.endpoint.is_remote() {
                *attachments.entry(entry.endpoint.id()).or_insert(0_u64) += 1;
            }
        }
        for (segment, count) in segments {
            if let Ok(removed) = self.fdb_removed.get(&segment, 0) {
                self.fdb_removed
                    .insert(segment, removed.wrapping_add(count), 0)
                    .named(map::FDB_REMOVED)?;
            }
        }
        for (id, count) in attachments {
            let removed = self.mac_removed.get(&id, 0).named(map::MAC_REMOVED)?;
            self.mac_removed.set(id, removed.wrapping_add(count), 0).named(map::MAC_REMOVED)?;
        }
        result.map(|()| taken)
    }

    /// Removes these addresses, frozen or not; they are learned anew.
    ///
    /// # Errors
    /// The map can't be written.
    pub fn remove_addresses(&mut self, keys: &[FdbKey]) -> Result<u64, DataplaneError> {
        let count = self.take_learned(keys)?;
        self.bump_epoch();
        Ok(count)
    }

    /// Removes what was learned of a segment at these endpoints, and voids what was decided by it.
    ///
    /// # Errors
    /// A map can't be read or written.
    pub fn purge_endpoints(
        &mut self,
        uid: u32,
        endpoints: &BTreeSet<Endpoint>,
    ) -> Result<u64, DataplaneError> {
        let walk = self
            .retain_fdb(|key, entry| key.segment != uid || !endpoints.contains(&entry.endpoint))?;
        let heard = self.retain_bindings(|key, binding| {
            key.segment != uid || !endpoints.contains(&binding.endpoint)
        })?;
        self.bump_epoch();
        Ok(walk.removed + heard)
    }

    /// What the programs hold for each attachment, as far as it is not nothing.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn mac_uses(&self) -> Result<BTreeMap<u32, u64>, DataplaneError> {
        let uses: Vec<_> = used(&self.mac_use, map::MAC_USE, |_, MacUse { held, .. }| *held != 0)?;
        Ok(uses.into_iter().map(|(id, MacUse { held, .. })| (id, held)).collect())
    }

    /// Puts the accounts right of attachments that nothing was learned at since `before` was read,
    /// which was before `walk`. An entry that moves in the very moment in which it is removed
    /// is counted twice, and would be missed for ever.
    ///
    /// # Errors
    /// A map can't be read or written.
    pub fn settle_accounts(
        &mut self,
        before: &BTreeMap<u32, u64>,
        walk: &Walk,
    ) -> Result<(), DataplaneError> {
        for (id, held) in before {
            let there = walk.held.get(&Endpoint::attachment(*id)).copied().unwrap_or(0);
            let (now, removed) = self.mac_use(*id)?;
            if now.held == *held && held.wrapping_sub(removed) != there {
                self.mac_removed.set(*id, held.wrapping_sub(there), 0).named(map::MAC_REMOVED)?;
            }
        }
        Ok(())
    }

    /// What the programs learned for an attachment, and what was removed of it.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn mac_use(&self, id: u32) -> Result<(MacUse, u64), DataplaneError> {
        Ok((
            self.mac_use.get(&id, 0).named(map::MAC_USE)?,
            self.mac_removed.get(&id, 0).named(map::MAC_REMOVED)?,
        ))
    }

    /// How many addresses were learned at each attachment and are there, and how many frames' were
    /// not, as far as it is not nothing.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn mac_accounts(&self) -> Result<BTreeMap<u32, (u64, u64)>, DataplaneError> {
        // What was removed is read first: what is removed in between is still counted as there, and
        // nothing as fewer than none.
        let removed: BTreeMap<u32, u64> =
            used(&self.mac_removed, map::MAC_REMOVED, |_, count| *count != 0)?;
        let is_used = |_: &u32, used: &MacUse| *used != MacUse::default();
        let uses: Vec<_> = used(&self.mac_use, map::MAC_USE, is_used)?;
        let account = |(id, MacUse { held, refused }): (u32, MacUse)| {
            let removed = removed.get(&id).copied().unwrap_or(0);
            (id, (held.saturating_sub(removed), refused))
        };
        Ok(uses.into_iter().map(account).collect())
    }

    /// Where an address is.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn fdb_entry(&self, key: &FdbKey) -> Result<Option<FdbEntry>, DataplaneError> {
        found(self.fdb.get(key, 0)).named(map::FDB)
    }

    /// The FDB.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn fdb(&self) -> Result<Vec<(FdbKey, FdbEntry)>, DataplaneError> {
        batch::entries(&self.fdb).named(map::FDB)
    }

    /// What the programs learned for a segment, and what was removed of it; none where there is no
    /// such segment, or no longer.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn fdb_use(&self, uid: u32) -> Result<Option<(FdbUse, u64)>, DataplaneError> {
        let used = found(self.fdb_use.get(&uid, 0)).named(map::FDB_USE)?;
        Ok(used.zip(found(self.fdb_removed.get(&uid, 0)).named(map::FDB_REMOVED)?))
    }

    pub(super) fn read_prefixes(&self) -> Result<BTreeSet<(u32, PrefixKey)>, DataplaneError> {
        let keys: Vec<Key<PrefixKey>> = keys(&self.prefixes, map::PREFIXES)?;
        Ok(keys.into_iter().map(|key| (key.prefix_len(), key.data())).collect())
    }

    pub(super) fn add_prefixes(
        &mut self,
        prefixes: &[(u32, PrefixKey)],
    ) -> Result<(), DataplaneError> {
        let keys = prefixes.iter().map(|(length, key)| (Key::new(*length, *key), 0));
        batch::update(&mut self.prefixes, keys).named(map::PREFIXES)
    }

    pub(super) fn remove_prefixes(
        &mut self,
        prefixes: &[(u32, PrefixKey)],
    ) -> Result<(), DataplaneError> {
        let keys = prefixes.iter().map(|(length, key)| Key::new(*length, *key));
        batch::delete(&mut self.prefixes, keys).named(map::PREFIXES)
    }
}
