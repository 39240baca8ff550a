//! What becomes of requests, each made from the state that the one before it makes, before any of it is in the store.

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::recorder::{Recorder, nothing_changed, rule};
use super::{Committed, Request, SubmitError, record};
use crate::audit::{Tree, Who};
use crate::fabric::{Actor, Revision, State, Transaction, transact};
use crate::store::{Commit, Held, StoreError, Version};

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
    /// How often another controller was faster.
    pub tried: u32,
    pub reply: oneshot::Sender<Result<Committed, SubmitError>>,
}

impl Pending {
    /// Whoever no longer waits does not need the answer.
    pub fn answer(self, answer: Result<Committed, SubmitError>) {
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
pub struct Planned {
    pub pending: Pending,
    pub answer: Result<Committed, SubmitError>,
    /// The state and the audit log after it.
    pub state: State,
    pub tree: Tree,
    /// How many commits of its chain its answer rests on, its own among them.
    pub rests_on: usize,
    /// What the last of these did, if it is its own.
    pub commit: Option<Committed>,
}

/// Requests that are made one after the other, and committed together.
pub struct Chain {
    /// The state and the audit log after the last of them.
    pub state: State,
    pub tree: Tree,
    pub planned: Vec<Planned>,
    pub commits: Vec<Commit>,
}

/// What a request is answered with, and what it commits, with the state and the audit log after that.
type Step = (Result<Committed, SubmitError>, Option<(Committed, Commit, State, Tree)>);

impl Chain {
    /// None yet, after this.
    pub fn after(state: &State, tree: &Tree) -> Self {
        let (state, tree) = (state.clone(), tree.clone());
        Self { state, tree, planned: Vec::new(), commits: Vec::new() }
    }

    /// One more, made from what those before it make.
    pub fn add(&mut self, recorder: &mut Recorder, mut pending: Pending) {
        let before = (&self.state, &self.tree);
        let (answer, made) = plan(recorder, before, &mut pending, Timestamp::now())
            .unwrap_or_else(|error| (Err(SubmitError::Store(StoreError::Failed(error))), None));
        let commit = made.map(|(committed, commit, next, grown)| {
            (self.state, self.tree) = (next, grown);
            self.commits.push(commit);
            committed
        });
        let (state, tree) = (self.state.clone(), self.tree.clone());
        self.planned.push(Planned { pending, answer, state, tree, rests_on: self.commits.len(), commit });
    }

    /// Whether the answer to one of them rests on nothing that is yet to be committed.
    pub fn answers_from_before(&self) -> bool {
        self.planned.first().is_some_and(|one| one.rests_on == 0)
    }

    /// What was asked.
    pub fn into_pending(self) -> impl Iterator<Item = Pending> {
        self.planned.into_iter().map(|one| one.pending)
    }
}

/// The version at which the store has a state.
pub fn version(state: &State) -> Version {
    Version(state.revision().0)
}

/// What one request would do; and if it is more than a try and changes anything, or is refused, what is committed.
///
/// # Errors
/// It can't be written: a value can't be said in JSON, or there are no random numbers.
fn plan(
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
