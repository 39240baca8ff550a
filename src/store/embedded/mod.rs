//! The store in one file: SQLite with a write-ahead log that is synced at each commit. One
//! controller, nothing to install.
//!
//! One thread has the connection. A chain of commits is made by one sync, each still compared with
//! the version before it. The file is locked for as long as it is open, so that no second
//! controller writes to it.

mod file;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};

use self::file::File;
use super::{Batch, Commit, Existing, Leadership, Snapshot, Store, StoreError, Version};

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

enum Request {
    /// Made in their order until one can't be: how many were, and why the next one was not.
    Commit(Vec<Commit>, Reply<(usize, Option<StoreError>)>),
    Snapshot(String, Reply<Snapshot>),
    Range {
        from: String,
        before: String,
        bytes: usize,
        reply: Reply<Vec<(String, String)>>,
    },
    After(Version, Reply<Vec<Batch>>),
    Lead {
        name: String,
        holder: String,
        time: Duration,
        reply: Reply<Option<Leadership>>,
    },
    Resign(Leadership, Reply<()>),
    Compact(Version, Reply<()>),
}

/// A store in a file.
#[derive(Debug)]
pub struct Embedded {
    requests: Option<mpsc::Sender<Request>>,
    latest: watch::Receiver<Version>,
    thread: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Opens a file, and makes it if there is none.
    ///
    /// # Errors
    /// It is not a store, another process has it open, or it can't be read or written.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::start(File::open(path)?)
    }

    /// Makes a file of what was exported.
    ///
    /// # Errors
    /// It is not empty and `existing` says to refuse then, or as for [`Self::open`].
    pub fn import(
        path: &Path,
        snapshot: &Snapshot,
        existing: Existing,
    ) -> Result<Self, StoreError> {
        let mut file = File::open(path)?;
        file.import(snapshot, existing)?;
        Self::start(file)
    }

    fn start(file: File) -> Result<Self, StoreError> {
        let (requests, queue) = mpsc::channel();
        let (say, latest) = watch::channel(file.version());
        let mut worker = Worker { file, say, leads: BTreeMap::new() };
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || worker.run(&queue))
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        Ok(Self { requests: Some(requests), latest, thread: Some(thread) })
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let gone = || StoreError::Failed("its thread has ended".to_owned());
        self.requests.as_ref().ok_or_else(gone)?.send(request(reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Drop for Embedded {
    /// The file is closed, and free for another, when this returns.
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's thread had panicked");
        }
    }
}

impl Store for Embedded {
    async fn snapshot_without(&self, prefix: &str) -> Result<Snapshot, StoreError> {
        self.ask(|reply| Request::Snapshot(prefix.to_owned(), reply)).await
    }

    async fn version(&self) -> Result<Version, StoreError> {
        // The thread says it before it answers who committed.
        Ok(*self.latest.borrow())
    }

    async fn range(
        &self,
        from: &str,
        before: &str,
        bytes: usize,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let (from, before) = (from.to_owned(), before.to_owned());
        self.ask(|reply| Request::Range { from, before, bytes, reply }).await
    }

    async fn commit_all(&self, chain: Vec<Commit>) -> (usize, Option<StoreError>) {
        self.ask(|reply| Request::Commit(chain, reply))
            .await
            .unwrap_or_else(|error| (0, Some(error)))
    }

    fn is_one_process(&self) -> bool {
        true
    }

    async fn after(&self, version: Version) -> Result<Vec<Batch>, StoreError> {
        let mut latest = self.latest.clone();
        let waited = latest.wait_for(|latest| *latest > version).await;
        waited.map_err(|_| StoreError::Failed("its thread has ended".to_owned()))?;
        self.ask(|reply| Request::After(version, reply)).await
    }

    async fn lead(
        &self,
        name: &str,
        holder: &str,
        time: Duration,
    ) -> Result<Option<Leadership>, StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.ask(|reply| Request::Lead { name, holder, time, reply }).await
    }

    async fn resign(&self, held: Leadership) -> Result<(), StoreError> {
        self.ask(|reply| Request::Resign(held, reply)).await
    }

    async fn compact(&self, until: Version) -> Result<(), StoreError> {
        self.ask(|reply| Request::Compact(until, reply)).await
    }
}

/// What the thread has.
struct Worker {
    file: File,
    say: watch::Sender<Version>,
    /// Who leads, until when. No other process can open the file: what a process held ends with
    /// it, and only the terms are kept.
    leads: BTreeMap<String, (Leadership, Instant)>,
}

impl Worker {
    /// Whoever no longer waits for its answer does not need it.
    fn run(&mut self, queue: &mpsc::Receiver<Request>) {
        while let Ok(request) = queue.recv() {
            match request {
                Request::Commit(chain, reply) => drop(reply.send(Ok(self.commit(chain)))),
                Request::Snapshot(without, reply) => drop(reply.send(self.file.snapshot(&without))),
                Request::Range { from, before, bytes, reply } => {
                    drop(reply.send(self.file.range(&from, &before, bytes)));
                }
                Request::After(version, reply) => drop(reply.send(self.file.after(version))),
                Request::Compact(until, reply) => drop(reply.send(self.file.compact(until))),
                Request::Lead { name, holder, time, reply } => {
                    drop(reply.send(self.lead(name, holder, time)));
                }
                Request::Resign(held, reply) => {
                    if is_held(&self.leads, &held) {
                        self.leads.remove(&held.name);
                    }
                    drop(reply.send(Ok(())));
                }
            }
        }
    }

    fn commit(&mut self, chain: Vec<Commit>) -> (usize, Option<StoreError>) {
        let leads = &self.leads;
        let may = |held: &Option<Leadership>| held.as_ref().is_none_or(|held| is_held(leads, held));
        let made = self.file.commit(chain, may);
        self.say.send_replace(self.file.version());
        made
    }

    fn lead(
        &mut self,
        name: String,
        holder: String,
        time: Duration,
    ) -> Result<Option<Leadership>, StoreError> {
        let now = Instant::now();
        let Some(until) = now.checked_add(time) else {
            return Err(StoreError::Failed("a leadership can't last that long".to_owned()));
        };
        match self.leads.get_mut(&name) {
            Some((held, end)) if *end > now => {
                if held.holder != holder {
                    return Ok(None);
                }
                *end = until;
                Ok(Some(held.clone()))
            }
            _ => {
                let held = Leadership { term: self.file.next_term()?, name: name.clone(), holder };
                self.leads.insert(name, (held.clone(), until));
                Ok(Some(held))
            }
        }
    }
}

fn is_held(leads: &BTreeMap<String, (Leadership, Instant)>, held: &Leadership) -> bool {
    leads.get(&held.name).is_some_and(|(lead, end)| lead == held && *end > Instant::now())
}
