//! One task makes a store's commits, in the order in which they were asked. Those of a chain are
//! made together by a transaction, or by several if they are too many or too large for one.

use std::sync::Arc;

use etcd_client::{Compare, CompareOp, Txn, TxnOp, TxnOpResponse};
use tokio::sync::{mpsc, oneshot};

use super::{
    super::{Commit, Leadership, StoreError, Version},
    Shared, first_text,
    keys::{Head, Record, lead_text},
};

/// Commits that one transaction makes, at most: with the version, less than the 128 operations that
/// etcd allows.
const TOGETHER: usize = 100;

/// Commits that wait, each of which is made only if the one before it was.
pub struct Chain {
    pub commits: Vec<Commit>,
    /// How many were made, and why the next one was not.
    pub reply: oneshot::Sender<(usize, Option<StoreError>)>,
}

/// Commits that are made together: each expects the version that the one before it makes.
struct Group {
    expected: Version,
    held: Option<Leadership>,
    records: Vec<String>,
    bytes: usize,
}

impl Group {
    fn new(expected: Version, held: Option<Leadership>, record: String) -> Self {
        let bytes = record.len();
        Self { expected, held, records: vec![record], bytes }
    }

    /// Whether a commit with this record can be made by the same transaction.
    fn takes(&self, commit: &Commit, record: &str, most: usize) -> bool {
        self.expected.0.checked_add(self.records.len() as u64) == Some(commit.expected.0)
            && self.held == commit.held
            && self.bytes + record.len() <= most
            && self.records.len() < TOGETHER
    }
}

/// Makes commits until nobody can ask for one.
pub async fn work(shared: Arc<Shared>, mut queue: mpsc::UnboundedReceiver<Chain>) {
    while let Some(Chain { commits, reply }) = queue.recv().await {
        let mut made = 0;
        let error = shared.make_all(commits, &mut made).await.err();
        // Whoever no longer waits for its answer does not need it.
        let _ = reply.send((made, error));
    }
}

/// What is written for a commit.
fn record(commit: &Commit, most: usize) -> Result<String, StoreError> {
    let record = Record::text(&commit.writes)?;
    if record.len() > most {
        return Err(StoreError::Failed(format!(
            "a commit of {} bytes is more than the {most} that one may have in etcd; nothing was \
             written: make it in parts, or raise most_bytes and etcd's own --max-request-bytes",
            record.len()
        )));
    }
    Ok(record)
}

impl Shared {
    /// Makes a chain until one can't be made, and counts those that were.
    async fn make_all(&self, commits: Vec<Commit>, made: &mut usize) -> Result<(), StoreError> {
        let most = self.options.most_bytes;
        let mut group: Option<Group> = None;
        for commit in commits {
            // What comes before one that can't be written is made all the same.
            let record = record(&commit, most);
            match (&mut group, record) {
                (Some(group), Ok(record)) if group.takes(&commit, &record, most) => {
                    group.bytes += record.len();
                    group.records.push(record);
                }
                (_, record) => {
                    self.finish(group.take(), made).await?;
                    group = Some(Group::new(commit.expected, commit.held, record?));
                }
            }
        }
        self.finish(group, made).await
    }

    async fn finish(&self, group: Option<Group>, made: &mut usize) -> Result<(), StoreError> {
        let Some(group) = group else { return Ok(()) };
        self.make(&group).await?;
        *made += group.records.len();
        Ok(())
    }

    /// Makes all of them, or none.
    async fn make(&self, group: &Group) -> Result<(), StoreError> {
        let expected = group.expected;
        let version_at = |index: usize| Version(expected.0.saturating_add(index as u64 + 1));
        let key = self.keys.version();
        let mut compares = vec![match expected {
            Version(0) => Compare::version(key.clone(), CompareOp::Equal, 0),
            Version(number) => Compare::value(key.clone(), CompareOp::Equal, number.to_string()),
        }];
        if let Some(held) = &group.held {
            compares.push(Compare::value(
                self.keys.lead(&held.name),
                CompareOp::Equal,
                lead_text(held),
            ));
        }
        let mut writes =
            vec![TxnOp::put(key.clone(), version_at(group.records.len() - 1).0.to_string(), None)];
        let records = group.records.iter().enumerate();
        writes.extend(records.map(|(index, record)| {
            TxnOp::put(self.keys.log(version_at(index)), record.clone(), None)
        }));
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
            self.saw(version_at(group.records.len() - 1));
            return Ok(());
        }
        let found = answer.value.op_responses().into_iter().map(|one| match one {
            TxnOpResponse::Get(mut got) => got.take_kvs(),
            _ => Vec::new(),
        });
        let found: Vec<_> = found.collect();
        let record = first_text(found.get(1))?;
        if record == group.records.first().map(String::as_str) {
            // It was made when it was asked before, and that answer was lost.
            return Ok(());
        }
        let version = Head::read(&key, first_text(found.first())?)?.version()?;
        self.saw(version);
        if answer.again && record.is_none() && version > expected {
            let what = "etcd: the log was compacted while a commit was asked again; whether it \
                was made is not known";
            return Err(StoreError::Failed(what.to_owned()));
        }
        // Both compare as they stand, so if it was not the version, it was the leadership.
        if version == expected {
            Err(StoreError::Deposed)
        } else {
            Err(StoreError::Conflict(version))
        }
    }
}
