//! Accounts and buckets: that the programs' counts are of what is there, and that no bucket is to
//! be full at a moment that no program writes.

use sillon_abi::{Rate, ticks};

use super::Verifier;
use crate::dataplane::maps::whole::{Account, Balance, counted};

impl Verifier<'_> {
    pub(super) fn accounts(&mut self) {
        let (live, tables) = (self.live, self.tables);
        let there = counted(&live.fdb, &live.bindings);
        let segments =
            tables.segments.keys().flat_map(|uid| [Account::Fdb(*uid), Account::Bindings(*uid)]);
        let due = segments.chain(tables.attachments.keys().map(|id| Account::Macs(*id)));
        for account in due {
            let count = there.get(&account).copied().unwrap_or(0);
            let balance = live.accounts.get(&account).copied();
            if balance.is_some_and(|balance| balance.there() == count) || live.is_moving(account) {
                continue;
            }
            let (name, segment) = match account {
                Account::Fdb(uid) => (format!("the FDB of {}", self.names().segment(uid)), uid),
                Account::Bindings(uid) => {
                    (format!("the bindings of {}", self.names().segment(uid)), uid)
                }
                Account::Macs(id) => {
                    let attachment = tables.attachments.get(&id).copied().unwrap_or_default();
                    (self.names().class(attachment.class), attachment.segment)
                }
            };
            let said =
                balance.map_or("none".to_owned(), |balance| (balance.there() as i64).to_string());
            self.violation(
                "accounts",
                format!("{name} has {count} addresses, and {said} by its account"),
                &[segment],
            );
            self.unsound.accounts.insert(account, (balance.unwrap_or_default(), count));
        }
        for account in live.accounts.keys() {
            if let Account::Fdb(uid) | Account::Bindings(uid) = account
                && !tables.segments.contains_key(uid)
            {
                let what =
                    format!("{} is not there, and has an account", self.names().segment(*uid));
                self.violation("accounts", what, &[]);
                self.unsound.accounts.insert(*account, (Balance::default(), 0));
            }
        }
    }

    /// A bucket is full again within the longest time that one takes, twice that after a change.
    /// One that was not used for half of the clock's round looks as if it were far ahead; so
    /// does what another hand wrote. Both are filled, which is what the programs take it for.
    pub(super) fn meters(&mut self) {
        const LONGEST: u64 = ticks(2 * Rate::LONGEST_NS);
        let live = self.live;
        self.checked("meters", live.meters.len());
        for (id, meters) in &live.meters {
            let Some(attachment) = self.tables.attachments.get(id) else { continue };
            let words = meters.ingress.iter().chain(&meters.egress).chain(&meters.storm);
            let is_late = |full: &u64| {
                let ahead = full.wrapping_sub(ticks(live.now));
                *full != 0 && ahead > LONGEST && ahead < 1 << 63
            };
            if words.copied().any(|full| is_late(&full)) || meters.pad != 0 {
                let name = self.names().class(attachment.class);
                let what =
                    format!("a bucket of {name} is said to be full at a time that none takes");
                self.violation("meters", what, &[attachment.segment]);
                self.unsound.meters.insert(*id);
            }
        }
    }
}
