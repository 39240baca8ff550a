//! What becomes of requests, each made from the state that the one before it makes, before any of
//! it is in the store.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{
    Committed, Request, SubmitError,
    audit_writer::{AuditWriter, Refusal, RefusalLog, nothing_changed, rule},
    encode::Draft,
};
use crate::{
    audit::Who,
    fabric::{Actor, Revision, State, Transaction, transact},
    store::{Leadership, Version},
};

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Pending {
    pub request: Request,
    /// What has to be held still when it is committed.
    pub held: Option<Leadership>,
    /// If it is refused already.
    pub denied: Option<Denied>,
    pub refusal: RefusalLog,
    /// How often another controller was faster.
    pub tried: u32,
    pub reply: oneshot::Sender<Result<Committed, SubmitError>>,
    /// What the log says of it is said here.
    pub span: tracing::Span,
}

impl Pending {
    /// Whoever no longer waits does not need the answer.
    pub fn answer(self, answer: Result<Committed, SubmitError>) {
        self.span.in_scope(|| match &answer {
            Ok(Committed { revision, events, .. }) => {
                tracing::debug!(%revision, changed = events.len(), "done");
            }
            Err(error) => tracing::debug!(%error, "not done"),
        });
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
    /// The state after it.
    pub state: State,
    /// How many commits of its chain its answer rests on, its own among them.
    pub rests_on: usize,
    /// What the last of these did, if it is its own.
    pub commit: Option<Arc<Committed>>,
}

/// Requests that are made one after the other, and committed together.
pub struct Chain {
    /// The state after the last of them.
    pub state: State,
    pub planned: Vec<Planned>,
    pub drafts: Vec<Draft>,
    /// How many objects they change.
    pub objects: usize,
}

/// What a request is answered with, and what it commits, with the state after that.
type Step = (Result<Committed, SubmitError>, Option<(Draft, State)>);

impl Chain {
    /// None yet, after this.
    pub fn after(state: &State) -> Self {
        Self { state: state.clone(), planned: Vec::new(), drafts: Vec::new(), objects: 0 }
    }

    /// One more, made from what those before it make.
    pub fn add(&mut self, audit: &mut AuditWriter, mut pending: Pending) {
        let (answer, made) = plan(audit, &self.state, &mut pending, Timestamp::now());
        let commit = made.map(|(draft, next)| {
            let committed = Arc::clone(&draft.committed);
            self.state = next;
            self.objects += committed.events.len();
            self.drafts.push(draft);
            committed
        });
        let (state, rests_on) = (self.state.clone(), self.drafts.len());
        self.planned.push(Planned { pending, answer, state, rests_on, commit });
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

/// What one request would do; and if it is more than a try and changes anything, or is refused,
/// what is committed.
fn plan(audit: &mut AuditWriter, state: &State, pending: &mut Pending, when: Timestamp) -> Step {
    if let Some(Denied { who, message }) = &pending.denied {
        let (who, why) = (who.clone(), ("rights".to_owned(), message.clone()));
        let committed = nothing_changed(state.revision(), when, &pending.request.who);
        return (Ok(committed), refuse(audit, state, pending, (when, who, why)));
    }
    let Request { who, changes, dry_run } = &mut pending.request;
    let (who, dry_run) = (who.clone(), *dry_run);
    let transaction = Transaction {
        who: who.clone(),
        when,
        seed: fastrand::u64(..),
        changes: std::mem::take(changes),
    };
    let outcome = transact(state, &transaction);
    // It may have to be planned again.
    *changes = transaction.changes;
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(refused) => {
            // What agents report and time brings about is not asked for by anybody.
            let made = if !dry_run && matches!(who, Actor::Owner | Actor::Operator(_)) {
                let why = (rule(&refused), refused.message.clone());
                refuse(audit, state, pending, (when, Who::from(&who), why))
            } else {
                None
            };
            return (Err(refused.into()), made);
        }
    };
    let committed =
        Committed { revision: outcome.state.revision(), when, who, events: outcome.events };
    if dry_run || committed.events.is_empty() {
        return (Ok(committed), None);
    }
    let asked = pending.request.changes.clone();
    let draft = Draft {
        committed: Arc::new(committed.clone()),
        held: pending.held.clone(),
        asked,
        refused: None,
    };
    (Ok(committed), Some((draft, outcome.state)))
}

/// A commit that writes down that something was refused, unless there are too many of these.
fn refuse(
    audit: &mut AuditWriter,
    state: &State,
    pending: &mut Pending,
    (when, who, (rule, message)): (Timestamp, Who, (String, String)),
) -> Option<(Draft, State)> {
    if let RefusalLog::Undecided = pending.refusal {
        pending.refusal = audit.decide(&who);
    }
    let RefusalLog::Written { suppressed: besides } = pending.refusal else { return None };
    let revision = Revision(state.revision().0 + 1);
    let committed = nothing_changed(revision, when, &pending.request.who);
    let draft = Draft {
        committed: Arc::new(committed),
        held: pending.held.clone(),
        asked: pending.request.changes.clone(),
        refused: Some((who, Refusal { rule, message, besides })),
    };
    Some((draft, state.followed(revision, [])))
}
