//! The controller: the fabric's state in memory, kept in a store, changed by one transaction after
//! another.
//!
//! **Revisions and versions are one number.** Each transaction that changes something is one commit
//! of the store, so the fabric's revision *n* is what the store's version *n* made it. Whoever
//! knows a revision can go on from there, with this controller or another on the same store.
//! An object is under the text of its key, as JSON; besides, each commit writes [`RECORD`]: who
//! made it, when, and what the objects were before.
//!
//! **One task writes.** It makes each request from the state that the one before it made, and has
//! all that came while others were being committed committed together ([`Store::commit_all`]).
//! Nobody is answered, not even with a refusal, before all that the answer rests on is in the
//! store, and is still so. If another controller was faster, what it wrote is read and the requests
//! are made again from there, a few times.
//!
//! **The audit log** ([`crate::audit`]) is in the same store. Each change has its entry in its own
//! commit; a refusal is a commit of its entry alone, and so a revision, too: one without events.
//!
//! **One controller leads**, by a leadership of the store with a term. It lets time pass for the
//! leases, and serves the agents; all of them take requests.
#![forbid(unsafe_code)]

mod audit_writer;
mod budget;
mod chain;
mod codec;
mod config;
pub mod counters;
mod encode;
mod history;
mod lead;
mod queue;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::Stream;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{oneshot, watch};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tracing::{Instrument, Span};

use self::{
    audit_writer::RefusalLog,
    budget::Budgets,
    chain::{Denied, Pending},
    counters::Newest,
    queue::Requests,
    writer::Writer,
};
pub use self::{
    budget::Allowance,
    codec::RECORD,
    config::{ApiConfig, AuditConfig, Config, ListenerConfig},
    history::Compacted,
    lead::LeaderTerm,
};
use crate::{
    audit::{Signer, Who},
    fabric::{Actor, Change, Event, Refused, Revision, State},
    identity::Identity,
    store::{Leadership, Store, StoreError, Version},
};

/// What a controller is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What it is called where controllers are told apart; no other on the store is called so.
    pub name: String,
    /// For how long it leads if it is not heard of again.
    pub lead: Duration,
    /// How often it lets time pass.
    pub tick: Duration,
    /// How many of the last commits are kept in memory for [`Controller::watch`].
    pub history: usize,
    /// How often a request is made again because another controller was faster.
    pub tries: u32,
    /// How many changes an operator may ask for.
    pub changes: Allowance,
    /// And how many bytes they may take in the store.
    pub bytes: Allowance,
    /// What signs the audit log. Without it, the log has entries and no checkpoints.
    pub audit: Option<Arc<Signer>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: format!("{:016x}", fastrand::u64(..)),
            lead: Duration::from_secs(3),
            tick: Duration::from_secs(1),
            history: 4096,
            tries: 16,
            changes: Allowance { rate: 200.0, burst: 10_000.0 },
            bytes: Allowance { rate: 1_048_576.0, burst: 33_554_432.0 },
            audit: None,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Request {
    pub who: Actor,
    /// What, all of it or nothing, in this order.
    pub changes: Vec<Change>,
    /// Whether it shall only be tried.
    pub dry_run: bool,
}

/// What a transaction did, or would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Committed {
    /// The revision that it made; the one that is, if it changed nothing.
    pub revision: Revision,
    pub when: Timestamp,
    pub who: Actor,
    /// What changed, in the order of the keys; nothing if what was asked for was there already.
    pub events: Vec<Event>,
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// A rule is against it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Others were faster each time.
    #[error("other controllers changed the fabric each time this was tried; try again")]
    Busy,
    /// It was to be done only while this controller leads.
    #[error("this controller no longer leads")]
    Deposed,
    /// The operator has asked for more than it may in so little time.
    #[error(
        "more changes, or bytes of them, than an operator may make in so little time; try again \
         in {0:?}"
    )]
    TooMany(Duration),
    /// The store failed. Whether the request was carried out is not known: look before it is made
    /// again.
    #[error(transparent)]
    Store(StoreError),
    /// What is in the store can't be followed.
    #[error("this controller has stopped: {0}")]
    Broken(Arc<ControllerError>),
    /// The controller was closed.
    #[error("this controller was closed")]
    Closed,
}

/// Why a controller can't be opened, or can't go on.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is under a key is not what a controller writes.
    #[error("the store has under {key:?}, at version {}, what this controller can't read: {what}; \
        restore it from a backup, or run the version of Sillon that wrote it", .version.0)]
    Record {
        key: String,
        /// The store's version.
        version: Version,
        /// What is wrong with it.
        what: String,
    },
    /// The objects are no state.
    #[error("what is in the store at version {} breaks a rule: {refused}; restore it from a \
        backup", .version.0)]
    Rule {
        /// The store's version.
        version: Version,
        /// The rule, and the objects.
        refused: Refused,
    },
    /// The store has gone back.
    #[error("the store is at version {}, and this controller knows version {}: it was replaced; \
        start the controller again", .is.0, .known.0)]
    Replaced {
        /// The version that it has.
        is: Version,
        /// The version that it had.
        known: Version,
    },
}

/// What is known of the fabric.
#[derive(Debug, Clone)]
struct Now {
    state: State,
    broken: Option<Arc<ControllerError>>,
}

/// A controller. Copies are one controller; it ends with the last of them, or when it is closed.
pub struct Controller<S> {
    inner: Arc<Inner<S>>,
}

struct Inner<S> {
    store: Arc<S>,
    requests: Requests,
    budgets: Arc<Budgets>,
    now: watch::Receiver<Now>,
    history: history::Shared,
    lead: watch::Receiver<Option<LeaderTerm>>,
    counters: Newest,
    /// How many transactions were submitted here: each has its number in the log.
    submitted: AtomicU64,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// The tasks end with the last copy.
    _guard: DropGuard,
}

impl<S> Clone for Controller<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<S> fmt::Debug for Controller<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = self.inner.now.borrow();
        f.debug_struct("Controller")
            .field("revision", &now.state.revision())
            .finish_non_exhaustive()
    }
}

impl<S: Store + 'static> Controller<S> {
    /// Reads the state from the store, and follows what other controllers write there. Needs a
    /// tokio runtime.
    ///
    /// # Errors
    /// The store fails, or what it has is no state of a fabric.
    pub async fn open(store: S, settings: Settings) -> Result<Self, ControllerError> {
        let store = Arc::new(store);
        let (state, tree, history) = codec::load(&*store, settings.history).await?;
        let history = history::Shared::new(history, state.revision(), settings.history);
        let (say, now) = watch::channel(Now { state, broken: None });
        let (requests, queue) = queue::queue();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let log = (settings.audit.clone(), tree);
        let budgets = Arc::new(Budgets::new(settings.changes, settings.bytes));
        let said = (say, history.clone());
        let writer =
            Writer::new(Arc::clone(&store), said, settings.tries, log, Arc::clone(&budgets));
        tasks.spawn(writer.run(queue, stop.clone()));
        let (say, lead) = watch::channel(None);
        let leader = lead::Leader {
            store: Arc::clone(&store),
            settings,
            requests: requests.clone(),
            now: now.clone(),
            say,
        };
        leader.first().await;
        tasks.spawn(leader.run(stop.clone()));
        tasks.close();
        let guard = stop.clone().drop_guard();
        let counters = Newest::default();
        let inner = Inner {
            store,
            requests,
            budgets,
            now,
            history,
            lead,
            counters,
            submitted: AtomicU64::new(1),
            tasks,
            stop,
            _guard: guard,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns the newest state that is known here. Cheap.
    pub fn state(&self) -> State {
        self.inner.now.borrow().state.clone()
    }

    /// Fails if this controller has stopped following the store.
    ///
    /// # Errors
    /// Why it has stopped.
    pub fn health(&self) -> Result<(), Arc<ControllerError>> {
        self.inner.now.borrow().broken.clone().map_or(Ok(()), Err)
    }

    /// Makes a transaction, or only tries it. When this returns, it is in the store, and
    /// [`Self::state`] has it. The request stands, also if the caller does not wait for the answer.
    ///
    /// # Errors
    /// See [`SubmitError`]; nothing was changed, unless the store failed.
    pub async fn submit(&self, request: Request) -> Result<Committed, SubmitError> {
        // Also what is only tried takes the writer's time.
        let admitted =
            self.inner.budgets.admit(&request.who, request.changes.len(), Instant::now());
        admitted.map_err(SubmitError::TooMany)?;
        let number = self.inner.submitted.fetch_add(1, Ordering::Relaxed);
        let who = Who::from(&request.who);
        let span = tracing::info_span!("transaction", request = number, %who);
        ask(&self.inner.requests, request, None).instrument(span).await
    }

    /// Writes to the audit log that something was refused for lack of rights, before it was
    /// submitted. When this returns, the entry is in the store, or was only counted because there
    /// were too many of the same asker's.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn deny(
        &self,
        who: Identity,
        changes: Vec<Change>,
        message: String,
    ) -> Result<(), SubmitError> {
        // Nothing is done in this name; a commit needs one.
        let actor = who.actor().unwrap_or(Actor::Controller);
        let request = Request { who: actor, changes, dry_run: false };
        let denied = Denied { who: Who::Identity(who), message };
        wait(&self.inner.requests, request, None, Some(denied)).await.map(drop)
    }

    /// What was committed after a revision, in order, without gaps, and then what will be. It ends
    /// when the controller is closed, and when who reads it is so slow that what comes next is
    /// no longer kept: then one begins again with [`Self::state`].
    ///
    /// # Errors
    /// What comes after it is no longer, or not yet, known.
    pub fn watch(
        &self,
        after: Revision,
    ) -> Result<impl Stream<Item = Arc<Committed>> + Send + Unpin + use<S>, Compacted> {
        let mut changed = self.inner.now.clone();
        changed.mark_unchanged();
        self.inner.history.watch(after, changed)
    }

    /// Returns the term in which this controller leads, and follows it. Ask [`LeaderTerm::holds`]
    /// when it counts.
    pub fn lead(&self) -> watch::Receiver<Option<LeaderTerm>> {
        self.inner.lead.clone()
    }

    /// What the attachments have counted, as agents say while this controller leads.
    pub fn counters(&self) -> &Newest {
        &self.inner.counters
    }

    /// The store, for what is done besides: an export, compaction.
    pub fn store(&self) -> &Arc<S> {
        &self.inner.store
    }

    /// Stops the controller for all who have a copy: gives its leadership back, answers what waits,
    /// and returns when none of its tasks runs any more.
    pub async fn close(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.wait().await;
    }
}

/// Asks the writer.
async fn ask(
    requests: &Requests,
    request: Request,
    held: Option<Leadership>,
) -> Result<Committed, SubmitError> {
    wait(requests, request, held, None).await
}

async fn wait(
    requests: &Requests,
    request: Request,
    held: Option<Leadership>,
    denied: Option<Denied>,
) -> Result<Committed, SubmitError> {
    let (reply, answer) = oneshot::channel();
    let (refusal, span) = (RefusalLog::default(), Span::current());
    let pending = Pending { request, held, denied, refusal, tried: 0, reply, span };
    requests.send(pending).await?;
    answer.await.map_err(|_| SubmitError::Closed)?
}
