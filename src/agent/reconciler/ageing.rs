//! What the programs learned and nobody uses any more goes, part by part: a large FDB takes a while
//! to look through, in which the agent has other things to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use sillon_abi::{Binding, BindingKey, FdbEntry, FdbKey, MacLocation};
use tracing::warn;

use super::Reconciler;
use crate::{
    agent::{addresses::Addresses, subject::Found},
    dataplane::{
        DataplaneError,
        clock::monotonic_ns,
        inject::How,
        maps::{BindingWalk, FdbWalk},
    },
};

/// How many seconds pass from one time that the accounts of addresses are settled to the next.
const SETTLE_TICKS: u32 = 10;
/// Nanoseconds of a second.
const NS: u64 = 1_000_000_000;

/// A walk through what the programs learned, part by part.
pub(super) struct Ageing {
    /// What was held when it began, where accounts are to be settled.
    before: Option<BTreeMap<u32, u64>>,
    /// Seconds by segment uid.
    limits: BTreeMap<u32, u64>,
    fdb: FdbWalk,
    is_fdb_done: bool,
    bindings: BindingWalk,
}

impl Reconciler {
    /// Begins to look for FDB entries and bindings that were not seen for their segment's ageing
    /// time. To be called each second.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn begin_ageing(&mut self, addresses: &mut Addresses) -> Result<(), DataplaneError> {
        addresses.begin_walk();
        self.ticks = self.ticks.wrapping_add(1);
        let before = if self.ticks.is_multiple_of(SETTLE_TICKS) {
            Some(self.maps.mac_uses()?)
        } else {
            None
        };
        let segments = self.maps.segments()?.into_iter();
        let limits = segments.map(|(uid, segment)| (uid, u64::from(segment.ageing) * NS)).collect();
        let (fdb, bindings) = (FdbWalk::default(), BindingWalk::default());
        self.ageing = Some(Ageing { before, limits, fdb, is_fdb_done: false, bindings });
        Ok(())
    }

    /// Whether [`Self::age`] has something to do.
    pub const fn is_ageing(&self) -> bool {
        self.ageing.is_some()
    }

    /// Removes what is too old of the next few thousand, and says at the end which addresses were
    /// frozen. Returns how many were removed once all were looked at. A large FDB takes a
    /// while, in which the node's agent has other things to do: a change to the tables ends it
    /// early, and the next one begins anew. What is at attachments is told to `addresses`; what
    /// they know to be behind a remote is not too old.
    ///
    /// # Errors
    /// A map can't be read or written; this one is over then.
    pub fn age(&mut self, addresses: &mut Addresses) -> Result<Option<u64>, DataplaneError> {
        let Some(mut ageing) = self.ageing.take() else { return Ok(None) };
        let now = monotonic_ns();
        let limits = &ageing.limits;
        let is_young = |segment: u32, seen: u64| {
            limits.get(&segment).is_some_and(|limit| now.saturating_sub(seen) < *limit)
        };
        if !ageing.is_fdb_done {
            let own = &self.own_macs;
            // Half of its time is left of whatever others no longer say from now on.
            let is_half_old = |segment: u32, seen: u64| {
                limits.get(&segment).is_some_and(|limit| now.saturating_sub(seen) > limit / 2)
            };
            let mut refresh = Vec::new();
            let keep = |key: &FdbKey, entry: &FdbEntry| {
                let location = MacLocation { key: *key, endpoint: entry.endpoint };
                let is_told =
                    addresses.is_remote_mac(&location) && limits.contains_key(&key.segment);
                let keeps =
                    (is_told || is_young(key.segment, entry.seen)) && !own.contains(&key.mac);
                if keeps && is_told && is_half_old(key.segment, entry.seen) {
                    refresh.push(location);
                } else if keeps {
                    addresses.refresh(&location);
                }
                keeps
            };
            ageing.is_fdb_done = !self.maps.walk_fdb(&mut ageing.fdb, keep)?;
            self.programs.inject(&refresh, How::Refresh)?;
            if ageing.is_fdb_done {
                addresses.end_fdb();
            }
            self.ageing = Some(ageing);
            return Ok(None);
        }
        let fixed = &self.fixed_bindings;
        let keep = |key: &BindingKey, binding: &Binding| {
            let bound = Found { key: *key, endpoint: binding.endpoint, word: binding.claim };
            let is_told = addresses.is_remote_binding(&bound) && limits.contains_key(&key.segment);
            let keeps = (is_told || is_young(key.segment, binding.seen)) && !fixed.contains(key);
            if keeps {
                addresses.refresh_binding(&bound);
            }
            keeps
        };
        if self.maps.walk_bindings(&mut ageing.bindings, keep)? {
            self.ageing = Some(ageing);
            return Ok(None);
        }
        addresses.end_walk();
        self.end_ageing(ageing).map(Some)
    }

    fn end_ageing(&mut self, ageing: Ageing) -> Result<u64, DataplaneError> {
        let found = ageing.fdb.found;
        if let Some(before) = ageing.before {
            self.maps.settle_accounts(&before, &found)?;
        }
        self.tell_frozen(&found.frozen)?;
        self.frozen = found.frozen;
        Ok(found.removed + ageing.bindings.removed)
    }

    /// Says which addresses were frozen since, within each operator's budget.
    fn tell_frozen(&mut self, frozen: &BTreeSet<FdbKey>) -> Result<(), DataplaneError> {
        let now = Instant::now();
        for key in frozen.difference(&self.frozen) {
            let (segment, operator) = self.maps.label(key.segment)?;
            if self.log_limit.take(&operator, now) {
                warn!(mac = %key.mac, segment, operator, "moved too often: it stays where it is \
                    until it thaws");
            }
        }
        for (operator, addresses) in self.log_limit.untold(now) {
            warn!(addresses, operator, "more that moved too often: see `sillon node show fdb`");
        }
        Ok(())
    }
}
