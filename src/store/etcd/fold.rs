//! The log that is folded into the entries, and a whole store that is written.
//!
//! Both take many transactions, and others may read and write in between. **A fold** writes values
//! that the log still has, so whoever reads the entries and then the log gets the same, before,
//! during and after it; only its last transaction says up to where the log is no longer needed.
//! Whoever begins one takes the key `fold`, which each of its transactions compares, so one that
//! was overtaken ends, and one that was cut off is in nobody's way.
//!
//! **An import** puts a text under `version` that no commit can expect, and then writes; its last
//! transaction writes the version. In between, nobody can read or write the store, and whoever
//! tries is told why. Versions that were in use before an import are not used again.

use std::collections::BTreeMap;

use etcd_client::{Compare, CompareOp, DeleteOptions, Txn, TxnOp};

use super::{
    super::{Existing, Progress, Snapshot, StoreError, Version, version_of_import},
    Shared,
    keys::{Head, importing, token},
};

/// Operations of one transaction, at most; etcd allows 128 unless it is told otherwise.
const OPERATIONS: usize = 100;
/// Records of the log that are removed at once: etcd removes them one by one, and does nothing else
/// meanwhile.
const REMOVED: u64 = 1000;

impl Shared {
    pub async fn compact(&self, until: Version) -> Result<(), StoreError> {
        let marks = self.marks().await?;
        let until = until.min(marks.head.version()?);
        if until <= marks.compacted {
            return Ok(());
        }
        let (fold, token) = (self.keys.fold(), token());
        let compacted_key = self.keys.compacted();
        let still = match marks.compacted {
            Version(0) => Compare::version(compacted_key.clone(), CompareOp::Equal, 0),
            Version(number) => {
                Compare::value(compacted_key.clone(), CompareOp::Equal, number.to_string())
            }
        };
        let ours = Compare::value(fold.clone(), CompareOp::Equal, token.clone());
        self.write(&[still], &ours, vec![TxnOp::put(fold.clone(), token, None)]).await?;
        let mut writes = BTreeMap::new();
        let mut at = marks.compacted;
        while at < until {
            let (now, batches) = self.log_after(at).await?;
            if now.compacted != marks.compacted || batches.is_empty() {
                return Err(overtaken());
            }
            for batch in batches.into_iter().take_while(|batch| batch.version <= until) {
                at = batch.version;
                writes.extend(batch.writes);
            }
        }
        let writes =
            writes.into_iter().map(|(key, value)| (self.keys.entry(&key), value)).collect();
        self.write_all(&ours, writes, &mut |_, _| ()).await?;
        let done = Compare::value(compacted_key.clone(), CompareOp::Equal, until.0.to_string());
        let last =
            vec![TxnOp::put(compacted_key, until.0.to_string(), None), TxnOp::delete(fold, None)];
        self.write(&[ours], &done, last).await?;
        self.remove_log(marks.compacted, until).await
    }

    /// What the log has up to a version, which is no longer needed; and what is left up to an
    /// earlier one, if somebody was cut off here.
    async fn remove_log(&self, earlier: Version, until: Version) -> Result<(), StoreError> {
        let (mut from, mut end) = (Version(0), Version(earlier.0.saturating_add(1)));
        while from <= until {
            let options = DeleteOptions::new().with_range(self.keys.log(end));
            let key = self.keys.log(from);
            self.members
                .ask_much(|client| {
                    let (key, options) = (key.clone(), options.clone());
                    async move { client.kv_client().delete(key, Some(options)).await }
                })
                .await?;
            from = end;
            end = Version(from.0.saturating_add(REMOVED).min(until.0.saturating_add(1)));
        }
        Ok(())
    }

    pub async fn import(
        &self,
        snapshot: &Snapshot,
        existing: Existing,
        progress: &mut Progress<'_>,
    ) -> Result<(), StoreError> {
        let marks = self.marks().await?;
        let (key, token) = (self.keys.version(), token());
        let (until, now) = match marks.head {
            Head::At(until, None) => (until, Compare::version(key.clone(), CompareOp::Equal, 0)),
            Head::At(..) | Head::Importing(..) if existing == Existing::Refuse => {
                let what = "it is not empty; import into an empty store, or replace what is there";
                return Err(StoreError::Failed(what.to_owned()));
            }
            Head::At(until, Some(text)) | Head::Importing(until, text) => {
                (until, Compare::value(key.clone(), CompareOp::Equal, text))
            }
        };
        let marker = importing(&token, until);
        let ours = Compare::value(key.clone(), CompareOp::Equal, marker.clone());
        // Whoever folds is overtaken by this.
        let begin =
            vec![TxnOp::put(key.clone(), marker, None), TxnOp::delete(self.keys.fold(), None)];
        self.write(&[now], &ours, begin).await?;
        self.remove_log(marks.compacted, until).await?;
        let all = TxnOp::delete(self.keys.entries(), Some(DeleteOptions::new().with_prefix()));
        self.write(std::slice::from_ref(&ours), &ours, vec![all]).await?;
        let writes = snapshot.entries.iter();
        let writes =
            writes.map(|(key, value)| (self.keys.entry(key), Some(value.clone()))).collect();
        self.write_all(&ours, writes, progress).await?;
        let version = version_of_import(until, snapshot.version);
        let done = Compare::value(key.clone(), CompareOp::Equal, version.0.to_string());
        // Version 0 is that of a store to which nothing was ever written.
        let last = match version {
            Version(0) => vec![TxnOp::delete(key, None)],
            Version(number) => vec![
                TxnOp::put(key, number.to_string(), None),
                TxnOp::put(self.keys.compacted(), number.to_string(), None),
            ],
        };
        self.write(&[ours], &done, last).await
    }

    /// Writes entries in as few transactions as they fit, each of them only while we are not
    /// overtaken.
    async fn write_all(
        &self,
        ours: &Compare,
        writes: Vec<(String, Option<String>)>,
        progress: &mut Progress<'_>,
    ) -> Result<(), StoreError> {
        let (all, mut done) = (writes.len(), 0);
        let (mut some, mut bytes) = (Vec::new(), 0);
        for (key, value) in writes {
            let size = key.len() + value.as_ref().map_or(0, String::len);
            if some.len() >= OPERATIONS
                || (bytes + size > self.options.most_bytes && !some.is_empty())
            {
                done += some.len();
                self.write(std::slice::from_ref(ours), ours, std::mem::take(&mut some)).await?;
                bytes = 0;
                progress(done, all);
            }
            bytes += size;
            some.push(match value {
                Some(value) => TxnOp::put(key, value, None),
                None => TxnOp::delete(key, None),
            });
        }
        if !some.is_empty() {
            self.write(std::slice::from_ref(ours), ours, some).await?;
        }
        progress(all, all);
        Ok(())
    }

    /// A transaction that only we may make. If it is asked again because its answer was lost, its
    /// first comparison may no longer hold; then `done` does.
    async fn write(
        &self,
        may: &[Compare],
        done: &Compare,
        writes: Vec<TxnOp>,
    ) -> Result<(), StoreError> {
        let made = self.transaction(Txn::new().when(may).and_then(writes)).await?;
        if made.value {
            return Ok(());
        }
        let was_done = made.again && self.transaction(Txn::new().when([done.clone()])).await?.value;
        if was_done { Ok(()) } else { Err(overtaken()) }
    }

    async fn transaction(
        &self,
        transaction: Txn,
    ) -> Result<super::members::Answer<bool>, StoreError> {
        let answer = self
            .members
            .ask_much(|client| {
                let transaction = transaction.clone();
                async move { Ok(client.kv_client().txn(transaction).await?.succeeded()) }
            })
            .await?;
        Ok(answer)
    }
}

fn overtaken() -> StoreError {
    StoreError::Failed(
        "etcd: another one compacts or imports here at the same time; let one of them do it"
            .to_owned(),
    )
}
