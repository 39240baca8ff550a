//! Where the fabric is kept: texts under keys, changed by transactions that are numbered.
//!
//! A store says what it says of itself in [`Store`], and one suite (`tests/with_root/store/`)
//! holds each implementation to it. It knows nothing of what the texts mean.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod embedded;
mod etcd;
mod export;
mod url;

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

pub use embedded::Embedded;
pub use etcd::{Etcd, EtcdOptions, EtcdTls};
pub use export::{ExportError, export, read_export};
pub use url::{AnyStore, InvalidStoreUrl, StoreUrl};

/// The number of a commit: each has one more than the one before it; 0 is the empty store.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Version(pub u64);

/// A key and what it has now; nothing if it was removed.
pub type Write = (String, Option<String>);

/// What becomes of what is there when a store is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// If there is something, nothing is done.
    Refuse,
    /// It goes. Its versions are not used again: who knows one does not take it for one of what is
    /// there then.
    Replace,
}

/// How much is done, of how much.
pub type Progress<'p> = dyn FnMut(usize, usize) + Send + 'p;

/// What shall be written, all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The version that the writer knows. If the store has another, nothing is written.
    pub expected: Version,
    /// A leadership that the writer must still have, if any.
    pub held: Option<Leadership>,
    /// What to write.
    pub writes: Vec<Write>,
}

/// What one commit wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The commit's number.
    pub version: Version,
    /// In the order of the keys.
    pub writes: Vec<Write>,
}

/// All that a store has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// At which version.
    pub version: Version,
    /// In the order of the keys.
    pub entries: Vec<(String, String)>,
}

/// A leadership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// Of what.
    pub name: String,
    /// Who has it.
    pub holder: String,
    /// Grows whenever it goes to another holder, or to the same one after it ran out. Who sees a
    /// larger term obeys no smaller one.
    pub term: u64,
}

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum StoreError {
    /// Somebody wrote in between.
    #[error("the store is at version {}, and another was expected; read what changed and try \
        again", .0.0)]
    Conflict(Version),
    /// The writer is no longer the leader.
    #[error("this controller no longer leads; another one does what it was about to do")]
    Deposed,
    /// What happened that long ago is no longer known.
    #[error("what happened before version {} was compacted; begin with a snapshot", .0.0)]
    Compacted(Version),
    /// The store itself failed. Where a commit may have been made all the same, the text says so.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// Returns the version that a store at `before` has after the import of one at `imported`. It never
/// goes back: controllers and agents have seen the versions before.
fn version_of_import(before: Version, imported: Version) -> Version {
    if before == Version(0) { imported } else { imported.max(Version(before.0.saturating_add(1))) }
}

/// A term after all that were given. It is no less than the time in seconds, so that a store that
/// was made anew, of a backup or of another store, does not give out terms that agents have seen
/// larger ones of; none changes hands once a second all the time.
fn term_after(last: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    last.saturating_add(1).max(now)
}

/// A prefix that no key has: nothing is left out of a snapshot by it.
const NOTHING: &str = "\u{10ffff}";

/// Returns the first entries, up to so many bytes together, and at least one.
fn up_to(bytes: usize, entries: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let (mut all, mut sum) = (Vec::new(), 0_usize);
    for entry in entries {
        sum = sum.saturating_add(entry.0.len() + entry.1.len());
        if sum > bytes && !all.is_empty() {
            break;
        }
        all.push(entry);
    }
    all
}

/// What keeps the fabric. A commit that was acknowledged is there after any crash, and is seen by
/// whoever reads after it.
pub trait Store: Send + Sync {
    /// All entries at one version, but those of which the keys begin so.
    fn snapshot_without(
        &self,
        prefix: &str,
    ) -> impl Future<Output = Result<Snapshot, StoreError>> + Send;

    /// All entries at one version.
    fn snapshot(&self) -> impl Future<Output = Result<Snapshot, StoreError>> + Send {
        self.snapshot_without(NOTHING)
    }

    /// The number of the last commit that was acknowledged before this was asked. Cheap, in a store
    /// that knows it.
    fn version(&self) -> impl Future<Output = Result<Version, StoreError>> + Send {
        async { Ok(self.snapshot().await?.version) }
    }

    /// The entries from one key on and before another, in the order of the keys, as they are at one
    /// moment. It ends once they have so many bytes, but not before the first. Cheap only in a
    /// store that finds keys by themselves: else all is read for it.
    fn range(
        &self,
        from: &str,
        before: &str,
        bytes: usize,
    ) -> impl Future<Output = Result<Vec<(String, String)>, StoreError>> + Send {
        async move {
            let snapshot = self.snapshot().await?;
            let all = snapshot
                .entries
                .into_iter()
                .filter(|(key, _)| (from..before).contains(&key.as_str()));
            Ok(up_to(bytes, all))
        }
    }

    /// Writes all or nothing, and gives the commit's number.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] and [`StoreError::Deposed`]: nothing was written.
    fn commit(&self, commit: Commit) -> impl Future<Output = Result<Version, StoreError>> + Send {
        async move {
            let expected = commit.expected;
            match self.commit_all(vec![commit]).await {
                (_, Some(error)) => Err(error),
                (_, None) => Ok(Version(expected.0.saturating_add(1))),
            }
        }
    }

    /// Makes a chain of commits: each expects the version that the one before it makes, **and is
    /// made only if that one was**. The number alone would not do: if another writer was faster
    /// than the first, the second may expect the number that this other one's commit has. Gives how
    /// many were made, and why the next one was not. A store that can make several with one
    /// sync does.
    fn commit_all(
        &self,
        chain: Vec<Commit>,
    ) -> impl Future<Output = (usize, Option<StoreError>)> + Send;

    /// Whether one process has it alone, which makes all commits of a chain together: nobody ever
    /// sees a part of a chain, not after a crash either, but for what comes before a commit
    /// that was refused; and no writer elsewhere waits for its turn.
    fn is_one_process(&self) -> bool {
        false
    }

    /// The commits after a version, in their order and without a gap, not necessarily all of them.
    /// Waits until there is one.
    ///
    /// # Errors
    /// [`StoreError::Compacted`]: they are no longer all there.
    fn after(
        &self,
        version: Version,
    ) -> impl Future<Output = Result<Vec<Batch>, StoreError>> + Send;

    /// Takes a leadership for some time, or takes it for longer. Gives nothing while another has
    /// it. A store that counts in larger steps may let it last somewhat longer than was asked.
    fn lead(
        &self,
        name: &str,
        holder: &str,
        time: Duration,
    ) -> impl Future<Output = Result<Option<Leadership>, StoreError>> + Send;

    /// Gives a leadership back, if it is still held.
    fn resign(&self, held: Leadership) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets what happened up to a version; what is there stays.
    fn compact(&self, until: Version) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Several may use one store.
impl<S: Store> Store for Arc<S> {
    fn snapshot_without(
        &self,
        prefix: &str,
    ) -> impl Future<Output = Result<Snapshot, StoreError>> + Send {
        (**self).snapshot_without(prefix)
    }

    fn version(&self) -> impl Future<Output = Result<Version, StoreError>> + Send {
        (**self).version()
    }

    fn range(
        &self,
        from: &str,
        before: &str,
        bytes: usize,
    ) -> impl Future<Output = Result<Vec<(String, String)>, StoreError>> + Send {
        (**self).range(from, before, bytes)
    }

    fn commit_all(
        &self,
        chain: Vec<Commit>,
    ) -> impl Future<Output = (usize, Option<StoreError>)> + Send {
        (**self).commit_all(chain)
    }

    fn is_one_process(&self) -> bool {
        (**self).is_one_process()
    }

    fn after(
        &self,
        version: Version,
    ) -> impl Future<Output = Result<Vec<Batch>, StoreError>> + Send {
        (**self).after(version)
    }

    fn lead(
        &self,
        name: &str,
        holder: &str,
        time: Duration,
    ) -> impl Future<Output = Result<Option<Leadership>, StoreError>> + Send {
        (**self).lead(name, holder, time)
    }

    fn resign(&self, held: Leadership) -> impl Future<Output = Result<(), StoreError>> + Send {
        (**self).resign(held)
    }

    fn compact(&self, until: Version) -> impl Future<Output = Result<(), StoreError>> + Send {
        (**self).compact(until)
    }
}
