//! One task makes a store's commits, in the order in which they were asked. Those that wait while it writes, and know what comes before them, are
//! made together by the next transaction.

use std::sync::Arc;

use etcd_client::{Compare, CompareOp, Txn, TxnOp, TxnOpResponse};
use tokio::sync::{mpsc, oneshot};

use super::super::{Commit, Held, StoreError, Version};
use super::keys::{Head, Record, lead_text};
use super::{Shared, first_text};

/// Commits that one transaction makes, at most: with the version, less than the 128 operations that etcd allows.
const TOGETHER: usize = 100;

/// A commit that waits.
pub struct Waiting {
    expected: Version,
    held: Option<Held>,
    record: String,
    reply: oneshot::Sender<Result<Version, StoreError>>,
}

impl Waiting {
    pub fn new(
        commit: Commit,
        most: usize,
        reply: oneshot::Sender<Result<Version, StoreError>>,
    ) -> Result<Self, StoreError> {
        let record = Record::text(&commit.writes)?;
        if record.len() > most {
            return Err(StoreError::Failed(format!(
                "a commit of {} bytes is more than the {most} that one may have in etcd; nothing was written: make it in parts, or raise most_bytes and \
                 etcd's own --max-request-bytes",
                record.len()
            )));
        }
        Ok(Self { expected: commit.expected, held: commit.held, record, reply })
    }
}

/// Commits that are made together: each expects the version that the one before it makes.
struct Group {
    all: Vec<Waiting>,
    bytes: usize,
}

impl Group {
    fn new(first: Waiting) -> Self {
        let bytes = first.record.len();
        Self { all: vec![first], bytes }
    }

    /// Takes another one, or gives it back.
    fn join(&mut self, next: Waiting, most: usize) -> Result<(), Waiting> {
        let first = &self.all[0];
        let follows = first.expected.0.checked_add(self.all.len() as u64) == Some(next.expected.0);
        let bytes = self.bytes + next.record.len();
        if !follows || next.held != first.held || bytes > most || self.all.len() >= TOGETHER {
            return Err(next);
        }
        self.bytes = bytes;
        self.all.push(next);
        Ok(())
    }
}

/// Makes commits until nobody can ask for one.
pub async fn work(shared: Arc<Shared>, mut queue: mpsc::UnboundedReceiver<Waiting>) {
    let mut kept = None;
    loop {
        let next = match kept.take() {
            Some(next) => Some(next),
            None => queue.recv().await,
        };
        let Some(first) = next else { return };
        let mut group = Group::new(first);
        while let Ok(next) = queue.try_recv() {
            if let Err(other) = group.join(next, shared.options.most_bytes) {
                kept = Some(other);
                break;
            }
        }
        let made = shared.make(&group).await;
        for (index, waiting) in group.all.into_iter().enumerate() {
            let version = |first: Version| Version(first.0 + index as u64);
            // Whoever no longer waits for its answer does not need it.
            let _ = waiting.reply.send(made.clone().map(version));
        }
    }
}

impl Shared {
    /// Gives the first one's version.
    async fn make(&self, group: &Group) -> Result<Version, StoreError> {
        let first = &group.all[0];
        let expected = first.expected;
        let version_at = |index: usize| Version(expected.0.saturating_add(index as u64 + 1));
        let key = self.keys.version();
        let mut compares = vec![match expected {
            Version(0) => Compare::version(key.clone(), CompareOp::Equal, 0),
            Version(number) => Compare::value(key.clone(), CompareOp::Equal, number.to_string()),
        }];
        if let Some(held) = &first.held {
            compares.push(Compare::value(self.keys.lead(&held.name), CompareOp::Equal, lead_text(held)));
        }
        let mut writes = vec![TxnOp::put(key.clone(), version_at(group.all.len() - 1).0.to_string(), None)];
        let records = group.all.iter().enumerate();
        writes.extend(
            records
                .map(|(index, one)| TxnOp::put(self.keys.log(version_at(index)), one.record.clone(), None)),
        );
        let look = [TxnOp::get(key.clone(), None), TxnOp::get(self.keys.log(version_at(0)), None)];
        let transaction = Txn::new().when(compares).and_then(writes).or_else(look);
        let answer = self
            .members
            .ask(|client| {
                let transaction = transaction.clone();
                async move { client.kv_client().txn(transaction).await }
            })
            .await
            .map_err(|trouble| trouble.of_commit())?;
        if answer.value.succeeded() {
            self.saw(version_at(group.all.len() - 1));
            return Ok(version_at(0));
        }
        let found = answer.value.op_responses().into_iter().map(|one| match one {
            TxnOpResponse::Get(mut got) => got.take_kvs(),
            _ => Vec::new(),
        });
        let found: Vec<_> = found.collect();
        let record = first_text(found.get(1))?;
        if record == Some(first.record.as_str()) {
            // It was made when it was asked before, and that answer was lost.
            return Ok(version_at(0));
        }
        let version = Head::read(&key, first_text(found.first())?)?.version()?;
        self.saw(version);
        if answer.again && record.is_none() && version > expected {
            let what = "etcd: the log was compacted while a commit was asked again; whether it was made is not known";
            return Err(StoreError::Failed(what.to_owned()));
        }
        // Both compare as they stand, so if it was not the version, it was the leadership.
        if version == expected { Err(StoreError::Deposed) } else { Err(StoreError::Conflict(version)) }
    }
}
