//! The configured addresses: in `MACS`, which says what is configured, and in the FDB, which the
//! programs read.

use std::{collections::BTreeSet, panic::resume_unwind, thread};

use sillon_abi::{Endpoint, FdbEntry, FdbKey, Mac, map};

use super::{Maps, Named, batch, insert_new, keys};
use crate::dataplane::DataplaneError;

/// So many are worth a thread.
const MANY: usize = 10_000;

impl Maps {
    /// Configures addresses for attachments. In a `fresh` segment nobody has learned anything yet,
    /// so all are written at once; elsewhere the programs may have learned an address, or do so
    /// just now, and it is taken from their accounts.
    pub(super) fn set_macs(
        &mut self,
        macs: &[(FdbKey, Endpoint)],
        fresh: &BTreeSet<u32>,
    ) -> Result<(), DataplaneError> {
        let (new, others): (Vec<_>, Vec<_>) =
            macs.iter().partition(|(key, _)| fresh.contains(&key.segment));
        self.set_new_macs(&new)?;
        others.into_iter().try_for_each(|(key, endpoint)| self.set_mac(key, endpoint))
    }

    /// Most of the time goes into the kernel's memory for each entry, so two CPUs are twice as
    /// fast. What an agent that is killed leaves in only one of the maps, the next one mends.
    fn set_new_macs(&mut self, macs: &[(FdbKey, Endpoint)]) -> Result<(), DataplaneError> {
        let entry = |(key, endpoint): &(FdbKey, Endpoint)| (*key, FdbEntry::configured(*endpoint));
        let (listed, fdb) = (&mut self.macs, &mut self.fdb);
        let mut list = || batch::update(listed, macs.iter().copied()).named(map::MACS);
        let mut learn = || batch::update(fdb, macs.iter().map(entry)).named(map::FDB);
        if macs.len() < MANY {
            return list().and_then(|()| learn());
        }
        thread::scope(|scope| {
            let listing = scope.spawn(list);
            let learned = learn();
            listing.join().unwrap_or_else(|panic| resume_unwind(panic)).and(learned)
        })
    }

    /// The programs may learn it once more between the two steps.
    fn set_mac(&mut self, key: FdbKey, endpoint: Endpoint) -> Result<(), DataplaneError> {
        self.macs.insert(key, endpoint, 0).named(map::MACS)?;
        loop {
            self.take_learned(&[key])?;
            if insert_new(&mut self.fdb, &key, &FdbEntry::configured(endpoint)).named(map::FDB)? {
                return Ok(());
            }
        }
    }

    pub(super) fn remove_macs(&mut self, macs: &[FdbKey]) -> Result<(), DataplaneError> {
        batch::delete(&mut self.fdb, macs.iter().copied()).named(map::FDB)?;
        batch::delete(&mut self.macs, macs.iter().copied()).named(map::MACS)
    }

    /// Makes the two maps agree again where an agent was killed between writing the one and the
    /// other: what only one of them has is in neither after this, and so configured anew by
    /// whoever wants it.
    ///
    /// # Errors
    /// A map can't be read or written.
    pub fn mend_macs(&mut self) -> Result<(), DataplaneError> {
        let listed: BTreeSet<FdbKey> = keys(&self.macs, map::MACS)?;
        let mut there = BTreeSet::new();
        let mut reader = batch::Reader::default();
        while let Some(part) = reader.next(&self.fdb).named(map::FDB)? {
            there.extend(
                part.iter().filter(|(_, entry)| entry.is_configured()).map(|(key, _)| *key),
            );
        }
        batch::delete(&mut self.fdb, there.difference(&listed).copied()).named(map::FDB)?;
        batch::delete(&mut self.macs, listed.difference(&there).copied()).named(map::MACS)
    }

    /// Nobody may send from this address any more; what was learned of it goes.
    pub(super) fn add_own_mac(&mut self, mac: &Mac) -> Result<(), DataplaneError> {
        self.own_macs.insert(mac, 0, 0).named(map::OWN_MACS)?;
        self.retain_fdb(|key, _| key.mac != *mac).map(|_| ())
    }
}
