//! The task that changes the state: by what is asked here, and by what other controllers have written.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::recorder::{Recorder, nothing_changed, rule};
use super::{Committed, ControllerError, Now, Request, SubmitError, history, record};
use crate::audit::{Tree, Who};
use crate::fabric::{Actor, Revision, State, Transaction, transact};
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
    /// If it is refused already.
    pub denied: Option<Denied>,
    /// Once it was refused: whether that is written down, with how many that were not.
    pub refusal: Option<Option<u64>>,
    pub reply: oneshot::Sender<Result<Committed, SubmitError>>,
}

impl Pending {
    /// Whoever no longer waits does not need the answer.
    fn answer(self, answer: Result<Committed, SubmitError>) {
        let _ = self.reply.send(answer);
    }
}

/// What was refused for lack of rights, and is only to be written down.
#[derive(Debug)]
pub struct Denied {
    pub who: Who,
    pub message: String,
}

/// What becomes of a request, if what comes before it is committed.
struct Planned {
    pending: Pending,
    answer: Result<Committed, SubmitError>,
    /// The state and the audit log after it.
    state: State,
    tree: Tree,
    /// How many commits its answer rests on, its own among them.
    rests_on: usize,
    /// What the last of these did, if it is its own.
    commit: Option<Committed>,
}

/// What a request is answered with, and what it commits, with the state and the audit log after that.
type Step = (Result<Committed, SubmitError>, Option<(Committed, Commit, State, Tree)>);

/// The task.
pub struct Writer<S> {
    store: Arc<S>,
    state: State,
    say: watch::Sender<Now>,
    history: history::Shared,
    tries: u32,
    recorder: Recorder,
    tree: Tree,
}

impl<S: Store> Writer<S> {
    pub fn new(
        store: Arc<S>,
        (say, history): (watch::Sender<Now>, history::Shared),
        tries: u32,
        (recorder, tree): (Recorder, Tree),
    ) -> Self {
        let state = say.borrow().state.clone();
        Self { store, state, say, history, tries, recorder, tree }
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
            let (planned, commits) =
                plan(&mut self.recorder, (&self.state, &self.tree), all, Timestamp::now());
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
        for Planned { pending, answer, state, tree, commit, .. } in done {
            if let Some(committed) = commit {
                (self.state, self.tree) = (state, tree);
                self.history.push(Arc::new(committed));
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
        for Planned { pending, rests_on, commit, .. } in rest {
            match error {
                Some(StoreError::Deposed) if commit.is_some() && rests_on == made + 1 => {
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
                    let made = record::read_batch(batch)?;
                    self.state = self.state.followed(made.committed.revision, made.objects);
                    self.tree = made.tree.unwrap_or_else(|| self.tree.clone());
                    self.history.push(Arc::new(made.committed));
                }
            }
            Err(StoreError::Compacted(_)) => {
                let (state, tree, _) = record::load(&*self.store, 0).await?;
                self.history.restart(state.revision());
                (self.state, self.tree) = (state, tree);
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
fn plan(
    recorder: &mut Recorder,
    (state, tree): (&State, &Tree),
    all: Vec<Pending>,
    when: Timestamp,
) -> (Vec<Planned>, Vec<Commit>) {
    let (mut state, mut tree) = (state.clone(), tree.clone());
    let (mut commits, mut planned) = (Vec::new(), Vec::new());
    for mut pending in all {
        let (answer, made) = plan_one(recorder, (&state, &tree), &mut pending, when)
            .unwrap_or_else(|error| (Err(SubmitError::Store(StoreError::Failed(error))), None));
        let commit = made.map(|(committed, commit, next, grown)| {
            (state, tree) = (next, grown);
            commits.push(commit);
            committed
        });
        let (state, tree) = (state.clone(), tree.clone());
        planned.push(Planned { pending, answer, state, tree, rests_on: commits.len(), commit });
    }
    (planned, commits)
}

/// What one request would do; and if it is more than a try and changes anything, or is refused, what is committed.
///
/// # Errors
/// It can't be written: a value can't be said in JSON, or there are no random numbers.
fn plan_one(
    recorder: &mut Recorder,
    (state, tree): (&State, &Tree),
    pending: &mut Pending,
    when: Timestamp,
) -> Result<Step, String> {
    if let Some(Denied { who, message }) = &pending.denied {
        let (who, why) = (who.clone(), ("rights".to_owned(), message.clone()));
        let committed = nothing_changed(state.revision(), when, &pending.request.who);
        let made = refuse(recorder, (state, tree), pending, (when, &who, &why))?;
        return Ok((Ok(committed), made));
    }
    let Request { who, changes, dry_run } = &pending.request;
    let seed = fastrand::u64(..);
    let transaction = Transaction { who: who.clone(), when, seed, changes: changes.clone() };
    let outcome = match transact(state, &transaction) {
        Ok(outcome) => outcome,
        Err(refused) => {
            // What agents report and time brings about is not asked for by anybody.
            let made = if !dry_run && matches!(who, Actor::Owner | Actor::Operator(_)) {
                let (who, why) = (Who::from(who), (rule(&refused), refused.message.clone()));
                refuse(recorder, (state, tree), pending, (when, &who, &why))?
            } else {
                None
            };
            return Ok((Err(refused.into()), made));
        }
    };
    let revision = outcome.state.revision();
    let committed = Committed { revision, when, who: who.clone(), events: outcome.events };
    if *dry_run || committed.events.is_empty() {
        return Ok((Ok(committed), None));
    }
    let mut writes =
        record::writes(&committed).map_err(|error| format!("an object can't be written as JSON: {error}"))?;
    let (entries, grown) = recorder.accepted(tree, &committed, changes)?;
    writes.extend(entries);
    let commit = Commit { expected: version(state), held: pending.held.clone(), writes };
    Ok((Ok(committed.clone()), Some((committed, commit, outcome.state, grown))))
}

/// A commit that writes down that something was refused, unless there are too many of these.
fn refuse(
    recorder: &mut Recorder,
    (state, tree): (&State, &Tree),
    pending: &mut Pending,
    (when, who, (rule, message)): (Timestamp, &Who, &(String, String)),
) -> Result<Option<(Committed, Commit, State, Tree)>, String> {
    // Asked once, however often this is planned anew.
    let Some(besides) = *pending.refusal.get_or_insert_with(|| recorder.admits(who)) else { return Ok(None) };
    let committed = nothing_changed(Revision(state.revision().0 + 1), when, &pending.request.who);
    let mut writes =
        record::writes(&committed).map_err(|error| format!("a commit can't be written as JSON: {error}"))?;
    let why = (rule.as_str(), message.as_str(), besides);
    let (entries, grown) = recorder.refused(tree, (who, when), &pending.request.changes, why)?;
    writes.extend(entries);
    let commit = Commit { expected: version(state), held: pending.held.clone(), writes };
    Ok(Some((committed.clone(), commit, state.followed(committed.revision, []), grown)))
}
