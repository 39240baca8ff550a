//! Leaderships: a key under a lease of etcd's, so that it is gone when its holder no longer renews
//! it.
//!
//! That alone would not keep a leader that was paused from writing. What does is that each commit
//! compares the leadership, term and all, in the transaction that writes (`commits.rs`); a term is
//! never given twice. etcd counts whole seconds, and has leases of at least one and a half of its
//! election timeouts, so a leadership may last that much longer than was asked.

use std::time::Duration;

use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp};

use super::{
    super::{Leadership, StoreError, term_after},
    Shared, first_text,
    keys::{lead_of, lead_text, number, strange},
};

/// How often another may come first before we say so.
const TRIES: u32 = 10;
/// A leadership is not asked for longer than a year, which is well below what etcd takes.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

impl Shared {
    pub async fn lead(
        &self,
        name: &str,
        holder: &str,
        time: Duration,
    ) -> Result<Option<Leadership>, StoreError> {
        if time > LONGEST {
            return Err(StoreError::Failed("a leadership can't last that long".to_owned()));
        }
        let (key, term_key) = (self.keys.lead(name), self.keys.term());
        for _ in 0..TRIES {
            let reads = [key.clone(), term_key.clone()].map(|key| TxnOp::get(key, None));
            let (read, _) = self.read(reads.into()).await?;
            let (text, term) = (first_text(read.first())?, first_text(read.get(1))?);
            if let Some(text) = text {
                let held =
                    lead_of(name, text).ok_or_else(|| strange(&key, "it is no leadership"))?;
                if held.holder != holder {
                    return Ok(None);
                }
                let is = Compare::value(key.clone(), CompareOp::Equal, text);
                if self.put_lead(&held, vec![is], time).await? {
                    return Ok(Some(held));
                }
                continue;
            }
            let last = term.map_or(Ok(0), |term| number(&term_key, term).map(|term| term.0))?;
            let held = Leadership {
                name: name.to_owned(),
                holder: holder.to_owned(),
                term: term_after(last),
            };
            let compares = vec![
                Compare::version(key.clone(), CompareOp::Equal, 0),
                match term {
                    Some(term) => Compare::value(term_key.clone(), CompareOp::Equal, term),
                    None => Compare::version(term_key.clone(), CompareOp::Equal, 0),
                },
            ];
            if self.put_lead(&held, compares, time).await? {
                return Ok(Some(held));
            }
        }
        Err(StoreError::Failed(format!(
            "etcd: others changed the leadership {name} {TRIES} times in between"
        )))
    }

    /// Writes it under a new lease. If an answer is lost and it is asked again, the comparison
    /// fails, and the next look finds it written.
    async fn put_lead(
        &self,
        held: &Leadership,
        mut compares: Vec<Compare>,
        time: Duration,
    ) -> Result<bool, StoreError> {
        let seconds = i64::try_from(time.as_millis().div_ceil(1000)).unwrap_or(i64::MAX).max(1);
        let lease = self
            .members
            .ask(|client| async move { client.lease_client().grant(seconds, None).await })
            .await?
            .value
            .id();
        let mut writes = vec![TxnOp::put(
            self.keys.lead(&held.name),
            lead_text(held),
            Some(PutOptions::new().with_lease(lease)),
        )];
        // A renewal compares the leadership alone, and its term was counted when it began.
        if compares.len() > 1 {
            writes.push(TxnOp::put(self.keys.term(), held.term.to_string(), None));
        }
        let transaction = Txn::new().when(std::mem::take(&mut compares)).and_then(writes);
        let answer = self
            .members
            .ask(|client| {
                let transaction = transaction.clone();
                async move { client.kv_client().txn(transaction).await }
            })
            .await?;
        Ok(answer.value.succeeded())
    }

    pub async fn resign(&self, held: &Leadership) -> Result<(), StoreError> {
        let key = self.keys.lead(&held.name);
        let is_ours = Compare::value(key.clone(), CompareOp::Equal, lead_text(held));
        let transaction = Txn::new().when([is_ours]).and_then([TxnOp::delete(key, None)]);
        self.members
            .ask(|client| {
                let transaction = transaction.clone();
                async move { client.kv_client().txn(transaction).await }
            })
            .await?;
        Ok(())
    }
}
