//! The FDB and what guards say of it, over the maps of [`Maps`]: entries are learned by the programs and removed by the agent, and each keeps
//! its own account of it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;

use aya::maps::lpm_trie::Key;
use sillon_abi::{Exit, FdbEntry, FdbKey, FdbUse, Mac, MacUse, PrefixKey, map};

use super::{Maps, Named, gone, insert_new, remove};
use crate::dataplane::{DataplaneError, raw};

/// What a walk through the FDB found.
#[derive(Debug, Default)]
pub struct Walk {
    /// How many entries it removed.
    pub removed: u64,
    /// How many learned entries are left, by where they are.
    pub held: BTreeMap<Exit, u64>,
    /// Those that are frozen.
    pub frozen: BTreeSet<FdbKey>,
}

impl Maps {
    /// Removes what was learned of all but these (segment uid, exit) pairs, and what was decided by it.
    pub(super) fn purge_fdb(&mut self, exits: &BTreeSet<(u32, Exit)>) -> Result<(), DataplaneError> {
        self.retain_fdb(|key, entry| exits.contains(&(key.segment, entry.exit)))?;
        self.forget()
    }

    /// Removes the learned FDB entries that `keep` does not want. What is configured stays.
    ///
    /// # Errors
    /// The map can't be read or written.
    pub fn retain_fdb(&mut self, keep: impl Fn(&FdbKey, &FdbEntry) -> bool) -> Result<Walk, DataplaneError> {
        let mut gone = Vec::new();
        let mut walk = Walk::default();
        for (key, entry) in self.fdb()? {
            if entry.is_configured() {
                continue;
            }
            if !keep(&key, &entry) {
                gone.push(key);
                continue;
            }
            *walk.held.entry(entry.exit).or_default() += 1;
            if entry.flags & FdbEntry::FROZEN != 0 {
                walk.frozen.insert(key);
            }
        }
        for key in gone {
            walk.removed += u64::from(self.take_learned(&key)?);
        }
        Ok(walk)
    }

    /// Takes an entry out, and counts it where it was at that moment; returns whether there was one.
    fn take_learned(&mut self, key: &FdbKey) -> Result<bool, DataplaneError> {
        // SAFETY: the FDB is a hash of just these, which was asked for when it was opened.
        #[allow(unsafe_code)]
        let taken: Option<FdbEntry> =
            unsafe { raw::take(self.fdb_data.fd().as_fd(), key) }.named(map::FDB)?;
        let Some(entry) = taken.filter(|entry| !entry.is_configured()) else { return Ok(false) };
        if let Ok(removed) = self.fdb_removed.get(&key.segment, 0) {
            self.fdb_removed.insert(key.segment, removed + 1, 0).named(map::FDB_REMOVED)?;
        }
        if !entry.exit.is_remote() {
            let removed = self.mac_removed.get(&entry.exit.id(), 0).named(map::MAC_REMOVED)?;
            self.mac_removed.set(entry.exit.id(), removed + 1, 0).named(map::MAC_REMOVED)?;
        }
        Ok(true)
    }

    /// Configures an address for an attachment. The programs may learn it once more between the two steps.
    pub(super) fn set_mac(&mut self, key: FdbKey, exit: Exit) -> Result<(), DataplaneError> {
        self.macs.insert(key, exit, 0).named(map::MACS)?;
        loop {
            self.take_learned(&key)?;
            if insert_new(&mut self.fdb, &key, &FdbEntry::configured(exit)).named(map::FDB)? {
                return Ok(());
            }
        }
    }

    /// Nobody may send from this address any more; what was learned of it goes.
    pub(super) fn add_own_mac(&mut self, mac: &Mac) -> Result<(), DataplaneError> {
        self.own_macs.insert(mac, 0, 0).named(map::OWN_MACS)?;
        self.retain_fdb(|key, _| key.mac != *mac).map(|_| ())
    }

    pub(super) fn remove_mac(&mut self, key: &FdbKey) -> Result<(), DataplaneError> {
        remove(&mut self.fdb, key, map::FDB)?;
        remove(&mut self.macs, key, map::MACS)
    }

    /// Forgets where these addresses are, frozen or not; they are learned anew.
    ///
    /// # Errors
    /// The map can't be written.
    pub fn thaw(&mut self, keys: &BTreeSet<FdbKey>) -> Result<usize, DataplaneError> {
        let mut count = 0;
        for key in keys {
            count += usize::from(self.take_learned(key)?);
        }
        self.forget()?;
        Ok(count)
    }

    /// Forgets what was learned of a segment at these exits, and what was decided by it.
    ///
    /// # Errors
    /// A map can't be read or written.
    pub fn forget_exits(&mut self, uid: u32, exits: &BTreeSet<Exit>) -> Result<u64, DataplaneError> {
        let walk = self.retain_fdb(|key, entry| key.segment != uid || !exits.contains(&entry.exit))?;
        let heard =
            self.retain_bindings(|key, binding| key.segment != uid || !exits.contains(&binding.exit))?;
        self.forget()?;
        Ok(walk.removed + heard)
    }

    /// What the programs hold for each attachment, as far as it is not nothing.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn mac_uses(&self) -> Result<BTreeMap<u32, u64>, DataplaneError> {
        let mut uses = BTreeMap::new();
        for id in 1..self.mac_use.len() {
            let MacUse { held, .. } = self.mac_use.get(&id, 0).named(map::MAC_USE)?;
            if held != 0 {
                uses.insert(id, held);
            }
        }
        Ok(uses)
    }

    /// Puts the accounts right of attachments that nothing was learned at since `before` was read, which was before `walk`. An entry
    /// that moves in the very moment in which it is removed is counted twice, and would be missed for ever.
    ///
    /// # Errors
    /// A map can't be read or written.
    pub fn settle_accounts(
        &mut self,
        before: &BTreeMap<u32, u64>,
        walk: &Walk,
    ) -> Result<(), DataplaneError> {
        for (id, held) in before {
            let there = walk.held.get(&Exit::attachment(*id)).copied().unwrap_or(0);
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

    /// The FDB.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn fdb(&self) -> Result<Vec<(FdbKey, FdbEntry)>, DataplaneError> {
        // SAFETY: as for `take_learned`.
        #[allow(unsafe_code)]
        unsafe { raw::entries(self.fdb_data.fd().as_fd()) }.named(map::FDB)
    }

    /// What the programs learned for each segment, and what was removed of it.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn fdb_use(&self, uid: u32) -> Result<(FdbUse, u64), DataplaneError> {
        Ok((
            self.fdb_use.get(&uid, 0).named(map::FDB_USE)?,
            self.fdb_removed.get(&uid, 0).named(map::FDB_REMOVED)?,
        ))
    }

    pub(super) fn read_prefixes(&self) -> Result<BTreeSet<(u32, PrefixKey)>, DataplaneError> {
        let keys = self.prefixes.keys().map(|key| key.map(|key| (key.prefix_len(), key.data())));
        keys.collect::<Result<_, _>>().named(map::PREFIXES)
    }

    pub(super) fn add_prefix(&mut self, length: u32, key: PrefixKey) -> Result<(), DataplaneError> {
        self.prefixes.insert(&Key::new(length, key), 0, 0).named(map::PREFIXES)
    }

    pub(super) fn remove_prefix(&mut self, length: u32, key: PrefixKey) -> Result<(), DataplaneError> {
        gone(self.prefixes.remove(&Key::new(length, key))).named(map::PREFIXES)
    }
}
