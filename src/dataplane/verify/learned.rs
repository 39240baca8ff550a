//! What was learned of MACs: it is at a place of its segment, and as the programs write it.

use std::collections::BTreeMap;

use sillon_abi::{FdbEntry, FdbKey};

use super::Verifier;

/// The programs' clock is the coarse one, and they write while we look.
const AHEAD_NS: u64 = 1_000_000_000;

impl Verifier<'_> {
    pub(super) fn fdb(&mut self) {
        let live = self.live;
        self.checked("FDB entries", live.fdb.len());
        let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
        for (key, entry) in &live.fdb {
            // What is configured is not of the share.
            *counts.entry(key.segment).or_default() += u32::from(!entry.is_configured());
            let before = self.report.violations.len();
            let whose = format!("{} in {}", key.mac, self.names().segment(key.segment));
            if !self.tables.segments.contains_key(&key.segment) {
                self.violation("FDB", format!("{whose} is of no segment"), &[key.segment]);
                self.unsound.fdb.insert(*key);
                continue;
            }
            if key.mac.is_group() || key.mac.is_zero() {
                self.violation("FDB", format!("{whose} is no station's address"), &[key.segment]);
            }
            self.expect_own("FDB", &whose, entry.endpoint, key.segment);
            self.entry(&whose, key, entry);
            if self.report.violations.len() > before {
                self.unsound.fdb.insert(*key);
            }
        }
        for (uid, segment) in &self.tables.segments {
            let has = counts.get(uid).copied().unwrap_or(0);
            if has > segment.fdb_limit {
                let name = self.names().segment(*uid);
                let what =
                    format!("{name} has {has} addresses, more than its {}", segment.fdb_limit);
                self.violation("FDB", what, &[*uid]);
            }
        }
    }

    /// An entry has no bit that neither the programs nor the agent write, and was seen in the past:
    /// it would not age otherwise, nor thaw.
    fn entry(&mut self, whose: &str, key: &FdbKey, entry: &FdbEntry) {
        let known = FdbEntry::CONFIGURED | FdbEntry::FROZEN;
        // The programs note of these, too, when they were seen; nothing comes of it.
        let configured = FdbEntry { seen: entry.seen, ..FdbEntry::configured(entry.endpoint) };
        if entry.flags & !known != 0
            || key.pad != 0
            || entry.is_configured() && *entry != configured
        {
            let what = format!("{whose} is kept as nobody writes it: {entry:?}");
            self.violation("FDB", what, &[key.segment]);
        }
        if self.is_ahead(entry.seen) || self.is_ahead(entry.since) {
            self.violation("FDB", format!("{whose} was seen in the future"), &[key.segment]);
        }
    }

    /// Whether a moment has not come yet. Nothing is known of that where nobody looked at the
    /// clock.
    pub(super) fn is_ahead(&self, moment: u64) -> bool {
        self.live.now != 0 && moment > self.live.now.saturating_add(AHEAD_NS)
    }
}
