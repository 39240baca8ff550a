//! What the proof asks of the maps beyond their tables: free slots, devices that lead elsewhere,
//! accounts and buckets; and how each is put right.

use std::collections::{BTreeMap, BTreeSet};

use aya::{
    Pod,
    maps::{Array, MapData},
};
use sillon_abi::{
    Attachment, DropKey, Endpoint, FdbUse, MacUse, Meters, PORT_SLOTS, PathEntry, PortEntry, Rates,
    RemoteEntry, ScopeKind, map,
};

use super::{Maps, Named, batch, gone};
use crate::dataplane::{DataplaneError, tables::Tables};

/// A slot of an array that is nobody's, and is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leftover {
    /// The map.
    pub map: &'static str,
    /// Which slot.
    pub id: u32,
}

/// A device under whose number another one is found, or a program that is asked before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Misled {
    /// The map.
    pub map: &'static str,
    /// The number.
    pub ifindex: u32,
    /// What is found there.
    pub leads_to: u32,
}

/// Whose an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// A segment's share of the FDB.
    Fdb(u32),
    /// A segment's share of the bindings.
    Bindings(u32),
    /// An attachment's share of the FDB.
    Macs(u32),
}

/// What the programs counted, and what the agent removed of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// By the programs.
    pub held: u64,
    /// By the agent.
    pub removed: u64,
}

impl Balance {
    /// How many there are by it.
    pub const fn there(self) -> u64 {
        self.held.wrapping_sub(self.removed)
    }
}

/// All accounts; of a segment that has none, none.
pub type Accounts = BTreeMap<Account, Balance>;

/// The slots that are not empty and not `used`.
fn leftovers<V: Pod + PartialEq>(
    array: &Array<MapData, V>,
    name: &'static str,
    empty: V,
    is_used: impl Fn(u32, &V) -> bool,
) -> Result<Vec<Leftover>, DataplaneError> {
    let is_left = |(id, value): &(u32, V)| *value != empty && !is_used(*id, value);
    let left = batch::entries_that(array, is_left).named(name)?;
    Ok(left.into_iter().map(|(id, _)| Leftover { map: name, id }).collect())
}

impl Maps {
    /// The slots of arrays that nobody has, and that are not empty. Where they are empty, who holds
    /// an old id finds nothing.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn leftovers(
        &self,
        attachments: &BTreeMap<u32, Attachment>,
    ) -> Result<Vec<Leftover>, DataplaneError> {
        let records = self.records()?;
        let mut left =
            leftovers(&self.attachments, map::ATTACHMENTS, Attachment::default(), |id, it| {
                id != 0 && it.segment != 0
            })?;
        left.extend(leftovers(&self.remotes, map::REMOTES, RemoteEntry::default(), |id, it| {
            id != 0 && it.addr != sillon_abi::Addr::default()
        })?);
        left.extend(leftovers(&self.paths, map::PATHS, PathEntry::default(), |id, it| {
            id != 0 && it.header_len != 0
        })?);
        left.extend(leftovers(&self.rates, map::RATES, Rates::default(), |id, _| {
            attachments.contains_key(&id)
        })?);
        left.extend(leftovers(&self.meters, map::METERS, Meters::default(), |id, _| {
            attachments.contains_key(&id)
        })?);
        // Of the ports' slots, there is one for each number that a device may have. Programs of
        // ours read those of devices with links alone, and whoever makes a link writes the
        // slot first.
        for ifindex in records.keys().copied().chain([0]).filter(|ifindex| *ifindex < PORT_SLOTS) {
            let port = self.ports.get(&ifindex, 0).named(map::PORTS)?;
            if port != PortEntry::default() && (port.role == 0 || ifindex == 0) {
                left.push(Leftover { map: map::PORTS, id: ifindex });
            }
        }
        Ok(left)
    }

    /// Empties such slots.
    ///
    /// # Errors
    /// A map can't be written.
    pub fn empty(&mut self, left: &[Leftover]) -> Result<(), DataplaneError> {
        for Leftover { map: name, id } in left.iter().copied() {
            match name {
                map::ATTACHMENTS => self.attachments.set(id, Attachment::default(), 0),
                map::REMOTES => self.remotes.set(id, RemoteEntry::default(), 0),
                map::PATHS => self.paths.set(id, PathEntry::default(), 0),
                map::RATES => self.rates.set(id, Rates::default(), 0),
                map::METERS => self.meters.set(id, Meters::default(), 0),
                _ => self.ports.set(id, PortEntry::default(), 0),
            }
            .named(name)?;
        }
        Ok(())
    }

    /// The devices under whose number XDP finds another one, or a program that has its say about
    /// what leaves there.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn misled(&self) -> Result<Vec<Misled>, DataplaneError> {
        let mut misled = Vec::new();
        for (name, map) in [(map::DEVICES, &self.devices), (map::TC_DEVICES, &self.tc_devices)] {
            for device in map.iter() {
                let (ifindex, value) = device.named(name)?;
                if ifindex != value.if_index || value.prog_id.is_some() {
                    misled.push(Misled { map: name, ifindex, leads_to: value.if_index });
                }
            }
        }
        Ok(misled)
    }

    /// Takes such devices out; who wants them puts them in again.
    ///
    /// # Errors
    /// A map can't be written.
    pub fn remove_devices(&mut self, misled: &[Misled]) -> Result<(), DataplaneError> {
        for Misled { map: name, ifindex, .. } in misled.iter().copied() {
            let map = if name == map::DEVICES { &mut self.devices } else { &mut self.tc_devices };
            gone(map.remove(ifindex)).named(name)?;
        }
        Ok(())
    }

    /// The accounts of these segments and attachments.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn accounts(
        &self,
        attachments: &BTreeMap<u32, Attachment>,
    ) -> Result<Accounts, DataplaneError> {
        let mut accounts = Accounts::new();
        let mut add =
            |account: fn(u32) -> Account, used: Vec<(u32, FdbUse)>, removed: Vec<(u32, u64)>| {
                let used: BTreeMap<u32, FdbUse> = used.into_iter().collect();
                let removed: BTreeMap<u32, u64> = removed.into_iter().collect();
                for uid in used.keys().chain(removed.keys()) {
                    let balance = match (used.get(uid), removed.get(uid)) {
                        (Some(used), Some(removed)) => {
                            Balance { held: used.learned, removed: *removed }
                        }
                        // Half an account counts nothing; no segment has as many.
                        _ => Balance { held: u64::MAX, removed: 0 },
                    };
                    accounts.insert(account(*uid), balance);
                }
            };
        add(
            Account::Fdb,
            super::all(&self.fdb_use, map::FDB_USE)?,
            super::all(&self.fdb_removed, map::FDB_REMOVED)?,
        );
        add(
            Account::Bindings,
            super::all(&self.binding_use, map::BINDING_USE)?,
            super::all(&self.binding_removed, map::BINDING_REMOVED)?,
        );
        let is_there = |id: &u32| attachments.contains_key(id);
        let held: Vec<(u32, MacUse)> =
            super::used(&self.mac_use, map::MAC_USE, |id, _| is_there(id))?;
        let removed: BTreeMap<u32, u64> =
            super::used(&self.mac_removed, map::MAC_REMOVED, |id, _| is_there(id))?;
        accounts.extend(held.into_iter().map(|(id, MacUse { held, .. })| {
            let removed = removed.get(&id).copied().unwrap_or(0);
            (Account::Macs(id), Balance { held, removed })
        }));
        Ok(accounts)
    }

    /// Lets an account say that there are `there`, if the programs have counted nothing since it
    /// was read.
    ///
    /// # Errors
    /// A map can't be read or written.
    pub fn settle(
        &mut self,
        account: Account,
        was: Balance,
        there: u64,
    ) -> Result<(), DataplaneError> {
        let removed = was.held.wrapping_sub(there);
        match account {
            Account::Fdb(uid) => match self.fdb_use(uid)? {
                Some((now, _)) if now.learned == was.held => {
                    self.fdb_removed.insert(uid, removed, 0).named(map::FDB_REMOVED)
                }
                Some(_) => Ok(()),
                None => self.account_for(&[uid]),
            },
            Account::Bindings(uid) => match self.binding_use(uid)? {
                Some((now, _)) if now.learned == was.held => {
                    self.binding_removed.insert(uid, removed, 0).named(map::BINDING_REMOVED)
                }
                Some(_) => Ok(()),
                None => self.account_for(&[uid]),
            },
            Account::Macs(id) => {
                if self.mac_use(id)?.0.held != was.held {
                    return Ok(());
                }
                self.mac_removed.set(id, removed, 0).named(map::MAC_REMOVED)
            }
        }
    }

    /// Makes the entries in which drops are counted those that the tables want.
    ///
    /// # Errors
    /// The map can't be read or written.
    pub fn mend_drops(&mut self, tables: &Tables) -> Result<(), DataplaneError> {
        let scopes = [
            (ScopeKind::Port, tables.records.keys().copied().collect::<Vec<_>>()),
            (ScopeKind::Attachment, tables.attachments.keys().copied().collect()),
            (ScopeKind::Segment, tables.segments.keys().copied().collect()),
        ];
        let mut there = self.drop_keys()?;
        for (scope, ids) in scopes {
            for id in ids {
                if !there.remove(&DropKey { scope: scope as u32, id }) {
                    self.count_drops(scope, id)?;
                }
            }
        }
        batch::delete(&mut self.drops, there).named(map::DROPS)
    }

    /// Removes the accounts of a segment that is not there.
    ///
    /// # Errors
    /// A map can't be written.
    pub fn close_accounts(&mut self, uid: u32) -> Result<(), DataplaneError> {
        batch::delete(&mut self.fdb_use, [uid]).named(map::FDB_USE)?;
        batch::delete(&mut self.fdb_removed, [uid]).named(map::FDB_REMOVED)?;
        batch::delete(&mut self.binding_use, [uid]).named(map::BINDING_USE)?;
        batch::delete(&mut self.binding_removed, [uid]).named(map::BINDING_REMOVED)
    }

    /// The buckets of these attachments.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn meters(
        &self,
        attachments: &BTreeMap<u32, Attachment>,
    ) -> Result<BTreeMap<u32, Meters>, DataplaneError> {
        super::used(&self.meters, map::METERS, |id, it| {
            *it != Meters::default() && attachments.contains_key(id)
        })
    }

    /// Fills an attachment's buckets.
    ///
    /// # Errors
    /// The map can't be written.
    pub fn fill(&mut self, id: u32) -> Result<(), DataplaneError> {
        self.meters.set(id, Meters::default(), 0).named(map::METERS)
    }

    /// Removes learned addresses and bindings whatever their accounts say; these are settled by who
    /// looks again.
    ///
    /// # Errors
    /// A map can't be read or written.
    pub fn remove_learned(
        &mut self,
        fdb: &BTreeSet<sillon_abi::FdbKey>,
        bindings: &BTreeSet<sillon_abi::BindingKey>,
    ) -> Result<(), DataplaneError> {
        batch::delete(&mut self.fdb, fdb.iter().copied()).named(map::FDB)?;
        batch::delete(&mut self.bindings, bindings.iter().copied()).named(map::BINDINGS)
    }
}

/// How many of each account there are, by what was found where.
pub fn counted<'a>(
    fdb: impl IntoIterator<Item = &'a (sillon_abi::FdbKey, sillon_abi::FdbEntry)>,
    bindings: impl IntoIterator<Item = &'a (sillon_abi::BindingKey, sillon_abi::Binding)>,
) -> BTreeMap<Account, u64> {
    let mut counts = BTreeMap::new();
    let mut add = |account| *counts.entry(account).or_default() += 1;
    for (key, entry) in fdb.into_iter().filter(|(_, entry)| !entry.is_configured()) {
        add(Account::Fdb(key.segment));
        if !entry.endpoint.is_remote() && entry.endpoint != Endpoint::NONE {
            add(Account::Macs(entry.endpoint.id()));
        }
    }
    for (key, _) in bindings {
        add(Account::Bindings(key.segment));
    }
    counts
}
