//! The task that changes the state: by what is asked here, and by what other controllers have written.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{Committed, ControllerError, Now, Request, SubmitError, history, record};
use crate::fabric::{State, Transaction, transact};
use crate::store::{Batch, Commit, Held, Store, StoreError, Version};

/// Requests that are committed together, at most.
const TOGETHER: usize = 256;
/// After how long a store that failed is asked again for what others wrote.
const PAUSE: Duration = Duration::from_millis(100);

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Pending {
    pub request: Request,
    /// What has to be held still when it is committed.
    pub held: Option<Held>,
    pub reply: oneshot::Sender<Result<Committed, SubmitError>>,
}

impl Pending {
    /// Whoever no longer waits does not need the answer.
    fn answer(self, answer: Result<Committed, SubmitError>) {
        let _ = self.reply.send(answer);
    }
}

/// What becomes of a request, if what comes before it is committed.
struct Planned {
    pending: Pending,
    answer: Result<Committed, SubmitError>,
    /// The state after it.
    state: State,
    /// How many commits its answer rests on, its own among them.
    rests_on: usize,
    /// Whether the last of these is its own.
    is_commit: bool,
}

/// The task.
pub struct Writer<S> {
    store: Arc<S>,
    state: State,
    say: watch::Sender<Now>,
    history: history::Shared,
    tries: u32,
}

impl<S: Store> Writer<S> {
    pub fn new(store: Arc<S>, say: watch::Sender<Now>, history: history::Shared, tries: u32) -> Self {
        let state = say.borrow().state.clone();
        Self { store, state, say, history, tries }
    }

    /// Runs until it is told to stop; what waits then is told that the controller was closed.
    pub async fn run(mut self, mut requests: mpsc::Receiver<Pending>, stop: CancellationToken) {
        if let Err(broken) = self.follow(&mut requests, &stop).await {
            tracing::error!(error = %broken, "this controller stops");
            let broken = Arc::new(broken);
            self.say.send_modify(|now| now.broken = Some(Arc::clone(&broken)));
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    pending = requests.recv() => match pending {
                        Some(pending) => pending.answer(Err(SubmitError::Broken(Arc::clone(&broken)))),
                        None => return,
                    },
                }
            }
        }
    }

    async fn follow(
        &mut self,
        requests: &mut mpsc::Receiver<Pending>,
        stop: &CancellationToken,
    ) -> Result<(), ControllerError> {
        loop {
            let version = version(&self.state);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                pending = requests.recv() => {
                    let Some(pending) = pending else { return Ok(()) };
                    let mut all = vec![pending];
                    while all.len() < TOGETHER && let Ok(pending) = requests.try_recv() {
                        all.push(pending);
                    }
                    self.make(all).await?;
                }
                batches = self.store.after(version) => self.learn(batches).await?,
            }
        }
    }

    /// Makes requests, and those again that another controller was faster than.
    async fn make(&mut self, mut all: Vec<Pending>) -> Result<(), ControllerError> {
        for _ in 0..self.tries {
            let (planned, commits) = plan(&self.state, all, Timestamp::now());
            // What rests on no commit may rest on what is no longer so: on another controller the answer may have changed already.
            if planned.iter().any(|one| one.rests_on == 0) {
                match self.store.version().await {
                    Ok(is) if is != version(&self.state) => {
                        all = planned.into_iter().map(|one| one.pending).collect();
                        self.catch_up(is).await?;
                        continue;
                    }
                    Ok(_) => {}
                    Err(error) => {
                        let pending = planned.into_iter().map(|one| one.pending);
                        pending.for_each(|one| one.answer(Err(SubmitError::Store(error.clone()))));
                        return Ok(());
                    }
                }
            }
            let (made, error) =
                if commits.is_empty() { (0, None) } else { self.store.commit_all(commits).await };
            all = self.settle(planned, made, error.as_ref());
            match error {
                Some(StoreError::Conflict(is)) => self.catch_up(is).await?,
                Some(error) => tracing::warn!(%error, "a commit failed"),
                None => {}
            }
            if all.is_empty() {
                return Ok(());
            }
        }
        all.into_iter().for_each(|pending| pending.answer(Err(SubmitError::Busy)));
        Ok(())
    }

    /// Answers what can be answered once so many commits are made; gives the rest.
    fn settle(&mut self, planned: Vec<Planned>, made: usize, error: Option<&StoreError>) -> Vec<Pending> {
        let (done, rest): (Vec<_>, Vec<_>) = planned.into_iter().partition(|one| one.rests_on <= made);
        let mut answers = Vec::with_capacity(done.len());
        for Planned { pending, answer, state, is_commit, .. } in done {
            if let (true, Ok(committed)) = (is_commit, &answer) {
                self.state = state;
                self.history.push(Arc::new(committed.clone()));
            }
            answers.push((pending, answer));
        }
        if made > 0 {
            self.publish();
        }
        for (pending, answer) in answers {
            pending.answer(answer);
        }
        let mut again = Vec::new();
        for Planned { pending, rests_on, is_commit, .. } in rest {
            match error {
                Some(StoreError::Deposed) if is_commit && rests_on == made + 1 => {
                    pending.answer(Err(SubmitError::Deposed));
                }
                // What was committed together may all have been made.
                Some(StoreError::Failed(_)) => {
                    let error = error.cloned().unwrap_or(StoreError::Deposed);
                    pending.answer(Err(SubmitError::Store(error)));
                }
                _ => again.push(pending),
            }
        }
        again
    }

    fn publish(&self) {
        self.say.send_modify(|now| now.state = self.state.clone());
    }

    /// Reads what made the store go on to a version.
    async fn catch_up(&mut self, is: Version) -> Result<(), ControllerError> {
        let known = version(&self.state);
        if is <= known {
            return Err(ControllerError::Replaced { is, known });
        }
        let batches = self.store.after(known).await;
        self.learn(batches).await
    }

    /// Takes over what others wrote.
    async fn learn(&mut self, batches: Result<Vec<Batch>, StoreError>) -> Result<(), ControllerError> {
        match batches {
            Ok(batches) => {
                for batch in batches {
                    let expected = version(&self.state).0 + 1;
                    if batch.version.0 != expected {
                        let what = format!("version {expected} should come next");
                        let key = record::RECORD.to_owned();
                        return Err(ControllerError::Record { key, version: batch.version, what });
                    }
                    let (committed, objects) = record::read_batch(batch)?;
                    self.state = self.state.followed(committed.revision, objects);
                    self.history.push(Arc::new(committed));
                }
            }
            Err(StoreError::Compacted(_)) => {
                let (state, _) = record::load(&*self.store, 0).await?;
                self.history.restart(state.revision());
                self.state = state;
            }
            Err(error) => {
                tracing::warn!(%error, "what others wrote can't be read");
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.publish();
        Ok(())
    }
}

/// The version at which the store has a state.
fn version(state: &State) -> Version {
    Version(state.revision().0)
}

/// Makes each request from the state that the one before it made.
fn plan(state: &State, all: Vec<Pending>, when: Timestamp) -> (Vec<Planned>, Vec<Commit>) {
    let (mut state, mut commits, mut planned) = (state.clone(), Vec::new(), Vec::new());
    for pending in all {
        let one = plan_one(&state, &pending, when);
        let is_commit = matches!(&one, Ok((_, Some(_))));
        let answer = one.map(|(committed, made)| {
            if let Some((next, commit)) = made {
                state = next;
                commits.push(commit);
            }
            committed
        });
        planned.push(Planned { pending, answer, state: state.clone(), rests_on: commits.len(), is_commit });
    }
    (planned, commits)
}

/// What one request would do; and if it is more than a try and changes anything, the next state and how it is committed.
#[expect(clippy::type_complexity, reason = "told above, and used once")]
fn plan_one(
    state: &State,
    pending: &Pending,
    when: Timestamp,
) -> Result<(Committed, Option<(State, Commit)>), SubmitError> {
    let Request { who, changes, dry_run } = &pending.request;
    let seed = fastrand::u64(..);
    let transaction = Transaction { who: who.clone(), when, seed, changes: changes.clone() };
    let outcome = transact(state, &transaction)?;
    let revision = outcome.state.revision();
    let committed = Committed { revision, when, who: who.clone(), events: outcome.events };
    if *dry_run || committed.events.is_empty() {
        return Ok((committed, None));
    }
    let writes = record::writes(&committed)
        .map_err(|error| StoreError::Failed(format!("an object can't be written as JSON: {error}")))
        .map_err(SubmitError::Store)?;
    let commit = Commit { expected: version(state), held: pending.held.clone(), writes };
    Ok((committed, Some((outcome.state, commit))))
}
