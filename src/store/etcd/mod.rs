//! The store in etcd, for several controllers at once: what one of them wrote, all see, and each
//! may write.
//!
//! **A commit is one value.** It is written under the next number of the log by a transaction that
//! compares the version, and the leadership if the commit asks for one, in the same step; so it is
//! there wholly or not at all, with any number of writes (etcd's limit on the operations of a
//! transaction, 128 unless it is started with another, does not matter), and a leader that was
//! paused and wakes up writes nothing. How large it may be is `most_bytes`, which has to be less
//! than etcd's `--max-request-bytes`; one that is larger is refused before it is sent.
//!
//! **What is there** is the entries and the log since they were last written; [`Store::compact`]
//! folds the log into the entries (`fold.rs`). Both are read at one of etcd's revisions, so that a
//! snapshot is what there was at one moment. Reads are linearizable: a member that was cut off does
//! not answer with what was there before.
//!
//! **A member that does not answer** soon is not the only one asked; it is given up after
//! `attempt`, and all are after `deadline` (`members.rs`). A commit that is sent again finds out by
//! its record whether it was made before, so it is never made twice; only if no member answers
//! until the deadline, its outcome is not known, and the error says so.
//!
//! etcd keeps a history of its own, which nobody needs here: start it with
//! `--auto-compaction-mode=revision --auto-compaction-retention=1000`.

mod commits;
mod fold;
mod keys;
mod leads;
mod members;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use etcd_client::{GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse, WatchOptions};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use self::{
    commits::Chain,
    keys::{Head, Keys, Record},
    members::{Members, Trouble, is_compacted},
};
use super::{Batch, Commit, Existing, Leadership, Progress, Snapshot, Store, StoreError, Version};

/// Records that [`Store::after`] gives at once, and entries that are read at once, at most. A
/// record may have `most_bytes`.
const RECORDS: i64 = 100;
const ENTRIES: i64 = 1000;
/// What one answer may have. It is there to end, rather than to limit.
const LARGEST_ANSWER: usize = 1 << 30;
/// How long news are waited for before somebody is asked, who may be another member.
const NEWS: Duration = Duration::from_secs(2);
/// Before something is tried again that failed.
const PAUSE: Duration = Duration::from_millis(100);
/// Snapshots that are begun anew because etcd compacted what was being read.
const SNAPSHOTS: u32 = 3;

/// How etcd is reached.
#[derive(Debug, Clone)]
pub struct EtcdOptions {
    /// `HOST:PORT` of each member.
    pub endpoints: Vec<String>,
    /// Below which everything is; two fabrics in one etcd have two.
    pub prefix: String,
    /// Without it, endpoints are spoken to in the clear.
    pub tls: Option<EtcdTls>,
    /// How long one member is given for an answer.
    pub attempt: Duration,
    /// How long all of them are given.
    pub deadline: Duration,
    /// What a commit may have. etcd takes requests of 1.5 MiB unless it is started with another
    /// `--max-request-bytes`.
    pub most_bytes: usize,
}

/// Files (PEM) for TLS with etcd.
#[derive(Debug, Clone)]
pub struct EtcdTls {
    /// The certificates that the members' are signed by.
    pub ca: PathBuf,
    /// Our own certificate and key, if the members ask for them.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the members' certificates have, if it is not that of the endpoint.
    pub server_name: Option<String>,
}

impl EtcdOptions {
    /// The prefix, if no other is given.
    pub const PREFIX: &str = "sillon";

    /// For these endpoints, with what else is usual.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            prefix: Self::PREFIX.to_owned(),
            tls: None,
            attempt: Duration::from_secs(1),
            deadline: Duration::from_secs(10),
            most_bytes: 1 << 20,
        }
    }
}

/// A store in etcd.
pub struct Etcd {
    shared: Arc<Shared>,
    /// Without a limit: each that waits in it is somebody who waits, and the order is that in
    /// which they came.
    commits: mpsc::UnboundedSender<Chain>,
    follower: tokio::task::JoinHandle<()>,
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Drop for Etcd {
    /// Commits that wait are made all the same.
    fn drop(&mut self) {
        self.follower.abort();
    }
}

/// What the tasks of a store share.
struct Shared {
    options: EtcdOptions,
    keys: Keys,
    members: Members,
    /// The largest version that was seen here. It is there so that who waits for a later one asks
    /// nobody, and may give up at any time.
    latest: watch::Sender<Version>,
}

impl Etcd {
    /// Opens it, and asks a member what there is, so that it is told at once if there is none or if
    /// it is not ours.
    ///
    /// # Errors
    /// No member answers, a file of `tls` can't be read, or what is there is no store.
    pub async fn open(options: EtcdOptions) -> Result<Self, StoreError> {
        let shared = Shared::open(options).await?;
        shared.marks().await?.head.version()?;
        Ok(Self::start(shared))
    }

    /// Opens it with what was exported, told of its progress.
    ///
    /// # Errors
    /// It is not empty and `existing` says to refuse then, or as for [`Self::open`]. If it is cut
    /// off, the store is of no use until it is done again, and says so.
    pub async fn import(
        options: EtcdOptions,
        snapshot: &Snapshot,
        existing: Existing,
        progress: &mut Progress<'_>,
    ) -> Result<Self, StoreError> {
        let shared = Shared::open(options).await?;
        shared.import(snapshot, existing, progress).await?;
        Ok(Self::start(shared))
    }

    fn start(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        let (commits, queue) = mpsc::unbounded_channel();
        tokio::spawn(commits::work(Arc::clone(&shared), queue));
        let follower = tokio::spawn(follow(Arc::clone(&shared)));
        Self { shared, commits, follower }
    }
}

impl Store for Etcd {
    async fn snapshot_without(&self, prefix: &str) -> Result<Snapshot, StoreError> {
        self.shared.snapshot(prefix).await
    }

    async fn version(&self) -> Result<Version, StoreError> {
        self.shared.marks().await?.head.version()
    }

    async fn commit_all(&self, chain: Vec<Commit>) -> (usize, Option<StoreError>) {
        let gone = || {
            let what = "its task has ended; whether the commit was made is not known";
            (0, Some(StoreError::Failed(what.to_owned())))
        };
        let (reply, answer) = oneshot::channel();
        if self.commits.send(Chain { commits: chain, reply }).is_err() {
            return gone();
        }
        answer.await.unwrap_or_else(|_| gone())
    }

    async fn after(&self, version: Version) -> Result<Vec<Batch>, StoreError> {
        let mut latest = self.shared.latest.subscribe();
        loop {
            let waited = latest.wait_for(|latest| *latest > version).await;
            waited.map_err(|_| StoreError::Failed("its tasks have ended".to_owned()))?;
            let (marks, batches) = self.shared.log_after(version).await?;
            if version < marks.compacted {
                return Err(StoreError::Compacted(marks.compacted));
            }
            if !batches.is_empty() {
                return Ok(batches);
            }
            // A store in which something was written before, and now is not: it is being imported,
            // or was taken away.
            marks.head.version()?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn lead(
        &self,
        name: &str,
        holder: &str,
        time: Duration,
    ) -> Result<Option<Leadership>, StoreError> {
        self.shared.lead(name, holder, time).await
    }

    async fn resign(&self, held: Leadership) -> Result<(), StoreError> {
        self.shared.resign(&held).await
    }

    async fn compact(&self, until: Version) -> Result<(), StoreError> {
        self.shared.compact(until).await
    }
}

/// Follows the version until the store is dropped.
async fn follow(shared: Arc<Shared>) {
    loop {
        match shared.marks().await {
            Ok(marks) => shared.news(marks.revision).await,
            Err(error) => {
                tracing::warn!(%error, "what others write is not seen");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// How far the store is, at one of etcd's revisions.
struct Marks {
    head: Head,
    compacted: Version,
    revision: i64,
}

impl Shared {
    async fn open(options: EtcdOptions) -> Result<Self, StoreError> {
        let members = Members::new(&options).await?;
        let (latest, _) = watch::channel(Version(0));
        Ok(Self { keys: Keys::new(&options.prefix), members, options, latest })
    }

    /// Reads several things at once, as they are at one moment.
    async fn read(&self, reads: Vec<TxnOp>) -> Result<(Vec<Vec<KeyValue>>, i64), Trouble> {
        let answer = self
            .members
            .ask(|client| {
                let reads = reads.clone();
                async move {
                    let mut kv = client.kv_client().max_decoding_message_size(LARGEST_ANSWER);
                    kv.txn(Txn::new().and_then(reads)).await
                }
            })
            .await?
            .value;
        let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
        let all = answer.op_responses().into_iter().map(|one| match one {
            TxnOpResponse::Get(mut got) => got.take_kvs(),
            _ => Vec::new(),
        });
        Ok((all.collect(), revision))
    }

    fn read_marks(&self) -> [TxnOp; 2] {
        [self.keys.version(), self.keys.compacted()].map(|key| TxnOp::get(key, None))
    }

    fn marks_of(&self, read: &[Vec<KeyValue>], revision: i64) -> Result<Marks, StoreError> {
        let head = Head::read(&self.keys.version(), first_text(read.first())?)?;
        let compacted = first_text(read.get(1))?;
        let compacted =
            compacted.map_or(Ok(Version(0)), |text| keys::number(&self.keys.compacted(), text))?;
        if let Head::At(version, _) = head {
            self.saw(version);
        }
        Ok(Marks { head, compacted, revision })
    }

    /// Tells those who wait for it.
    fn saw(&self, version: Version) {
        self.latest.send_if_modified(|latest| {
            let is_later = version > *latest;
            *latest = version.max(*latest);
            is_later
        });
    }

    async fn marks(&self) -> Result<Marks, StoreError> {
        let (read, revision) = self.read(self.read_marks().into()).await?;
        self.marks_of(&read, revision)
    }

    /// How far the store is, and the first commits after a version.
    async fn log_after(&self, version: Version) -> Result<(Marks, Vec<Batch>), StoreError> {
        let from = self.keys.log(Version(version.0.saturating_add(1)));
        let options = GetOptions::new().with_range(self.log_end()).with_limit(RECORDS);
        let mut reads = Vec::from(self.read_marks());
        reads.push(TxnOp::get(from, Some(options)));
        let (read, revision) = self.read(reads).await?;
        let marks = self.marks_of(&read, revision)?;
        let batches = read.get(2).into_iter().flatten().map(|record| self.batch(record));
        Ok((marks, batches.collect::<Result<_, _>>()?))
    }

    fn batch(&self, record: &KeyValue) -> Result<Batch, StoreError> {
        let (key, value) = texts(record)?;
        Record::read(key, self.keys.log_of(key)?, value)
    }

    /// Behind every record of the log.
    fn log_end(&self) -> String {
        // ":" comes after "9".
        format!("{}:", self.keys.logs())
    }

    async fn snapshot(&self, without: &str) -> Result<Snapshot, StoreError> {
        let mut left = SNAPSHOTS;
        loop {
            left -= 1;
            match self.try_snapshot(without).await {
                Err(Reading::Etcd(trouble)) if left > 0 && is_compacted(&trouble) => {}
                Err(Reading::Etcd(trouble)) => return Err(trouble.into()),
                Err(Reading::Store(error)) => return Err(error),
                Ok(snapshot) => return Ok(snapshot),
            }
        }
    }

    async fn try_snapshot(&self, without: &str) -> Result<Snapshot, Reading> {
        let marks = self.marks().await?;
        let version = marks.head.version()?;
        let mut entries = std::collections::BTreeMap::new();
        let from = self.keys.entries();
        // "0" comes after "/".
        let end = format!("{}0", from.trim_end_matches('/'));
        let mut pages = Pages { from, end, revision: marks.revision, limit: ENTRIES, done: false };
        while let Some(page) = pages.next(self).await? {
            for entry in &page {
                let (key, value) = texts(entry)?;
                let key = self.keys.entry_of(key)?;
                if !key.starts_with(without) {
                    entries.insert(key.to_owned(), value.to_owned());
                }
            }
        }
        let from = self.keys.log(Version(marks.compacted.0 + 1));
        let end = self.log_end();
        let mut pages = Pages { from, end, revision: marks.revision, limit: RECORDS, done: false };
        while let Some(page) = pages.next(self).await? {
            for record in &page {
                let writes = self.batch(record)?.writes.into_iter();
                for (key, value) in writes.filter(|(key, _)| !key.starts_with(without)) {
                    match value {
                        Some(value) => entries.insert(key, value),
                        None => entries.remove(&key),
                    };
                }
            }
        }
        Ok(Snapshot { version, entries: entries.into_iter().collect() })
    }

    /// Waits until the version changes after a revision of etcd's, or for a while: then it is time
    /// to ask again, whatever became of the watch.
    async fn news(&self, revision: i64) {
        let options = WatchOptions::new().with_start_revision(revision.saturating_add(1));
        let key = self.keys.version();
        let watched = timeout(NEWS, async {
            let mut stream = self.members.any().watch_client().watch(key, Some(options)).await?;
            while let Some(said) = stream.message().await? {
                if said.canceled() || !said.events().is_empty() {
                    break;
                }
            }
            Ok::<_, etcd_client::Error>(())
        });
        if matches!(watched.await, Ok(Err(_))) {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Why something could not be read.
enum Reading {
    Etcd(Trouble),
    Store(StoreError),
}

impl From<Trouble> for Reading {
    fn from(trouble: Trouble) -> Self {
        Self::Etcd(trouble)
    }
}

impl From<StoreError> for Reading {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A range that is read bit by bit, as it was at one revision.
struct Pages {
    from: String,
    end: String,
    revision: i64,
    limit: i64,
    done: bool,
}

impl Pages {
    async fn next(&mut self, shared: &Shared) -> Result<Option<Vec<KeyValue>>, Reading> {
        if self.done {
            return Ok(None);
        }
        let options = || {
            let options = GetOptions::new().with_range(self.end.clone()).with_limit(self.limit);
            options.with_revision(self.revision)
        };
        let mut answer = shared
            .members
            .ask_much(|client| {
                let (from, options) = (self.from.clone(), options());
                async move {
                    let mut kv = client.kv_client().max_decoding_message_size(LARGEST_ANSWER);
                    kv.get(from, Some(options)).await
                }
            })
            .await?
            .value;
        self.done = !answer.more();
        let page = answer.take_kvs();
        if let Some(last) = page.last() {
            self.from = format!("{}\0", texts(last)?.0);
        }
        Ok(Some(page))
    }
}

/// A key and its value.
fn texts(pair: &KeyValue) -> Result<(&str, &str), StoreError> {
    match (pair.key_str(), pair.value_str()) {
        (Ok(key), Ok(value)) => Ok((key, value)),
        _ => Err(keys::strange(&String::from_utf8_lossy(pair.key()), "it is no text")),
    }
}

/// The value of the only key that was read; none if it is not there.
fn first_text(read: Option<&Vec<KeyValue>>) -> Result<Option<&str>, StoreError> {
    let pair = read.and_then(|pairs| pairs.first());
    pair.map(|pair| texts(pair).map(|(_, value)| value)).transpose()
}
