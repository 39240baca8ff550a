//! The task that changes the state: by what is asked here, and by what other controllers have
//! written.
//!
//! While a chain of commits is being synced, the requests that come meanwhile are planned from the
//! state that it will make, so that neither this task nor the store waits for the other (but where
//! several controllers write). If the chain is not made as it was planned, all that rests on it is
//! planned again.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    ControllerError, Now, SubmitError,
    audit_writer::AuditWriter,
    budget::Budgets,
    chain::{Chain, Pending, Planned, version},
    codec,
    encode::{self, Draft},
    history,
    queue::Queue,
};
use crate::{
    audit::{Signer, Tree},
    fabric::State,
    store::{Batch, Store, StoreError, Version, Write},
};

/// Requests that are committed together, at most.
const TOGETHER: usize = 256;
/// Objects that these change: when there are more, no further request is added. It bounds how long
/// the next one waits.
const OBJECTS: usize = 1024;
/// After how long a store that failed is asked again for what others wrote.
const PAUSE: Duration = Duration::from_millis(100);

pub struct Writer<S> {
    store: Arc<S>,
    state: State,
    say: watch::Sender<Now>,
    history: history::Shared,
    tries: u32,
    audit: AuditWriter,
    signer: Option<Arc<Signer>>,
    budgets: Arc<Budgets>,
    tree: Tree,
    /// What is being committed.
    in_flight: Option<InFlight>,
    /// What is planned to come after that.
    next: Chain,
}

/// What became of a chain of commits.
struct ChainResult {
    /// How many of its commits were made.
    commits: usize,
    /// Why the next one was not.
    error: Option<StoreError>,
    /// The audit log after each of them.
    trees: Vec<Tree>,
}

impl ChainResult {
    fn nothing(error: Option<StoreError>) -> Self {
        Self { commits: 0, error, trees: Vec::new() }
    }
}

/// A chain on its way into the store.
struct InFlight {
    planned: Vec<Planned>,
    made: Pin<Box<dyn Future<Output = ChainResult> + Send>>,
}

/// Encodes a chain and has it committed. The bytes that it takes are charged to those who asked.
async fn commit<S: Store>(
    store: Arc<S>,
    drafts: Vec<Draft>,
    tree: Tree,
    signer: Option<Arc<Signer>>,
    budgets: Arc<Budgets>,
) -> ChainResult {
    match encode::write(&drafts, tree, signer.as_deref(), store.is_one_process()) {
        Ok((commits, trees)) => {
            let now = Instant::now();
            for (draft, commit) in drafts.iter().zip(&commits) {
                budgets.wrote(&draft.committed.who, bytes(&commit.writes), now);
            }
            let (commits, error) = store.commit_all(commits).await;
            ChainResult { commits, error, trees }
        }
        Err(what) => {
            ChainResult::nothing(Some(StoreError::Failed(format!("{what}; nothing was committed"))))
        }
    }
}

fn bytes(writes: &[Write]) -> usize {
    let all = writes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, String::len));
    all.fold(0, usize::saturating_add)
}

/// Waits until the chain in flight is committed, or can't be; for ever, if there is none.
async fn committed(in_flight: &mut Option<InFlight>) -> ChainResult {
    match in_flight {
        Some(in_flight) => in_flight.made.as_mut().await,
        None => std::future::pending().await,
    }
}

impl<S: Store + 'static> Writer<S> {
    pub fn new(
        store: Arc<S>,
        (say, history): (watch::Sender<Now>, history::Shared),
        tries: u32,
        (signer, tree): (Option<Arc<Signer>>, Tree),
        budgets: Arc<Budgets>,
    ) -> Self {
        let state = say.borrow().state.clone();
        let (audit, next) = (AuditWriter::default(), Chain::after(&state));
        Self {
            store,
            state,
            say,
            history,
            tries,
            audit,
            signer,
            budgets,
            tree,
            in_flight: None,
            next,
        }
    }

    /// Runs until it is told to stop; what waits then is told that the controller was closed.
    pub async fn run(mut self, mut requests: Queue, stop: CancellationToken) {
        if let Err(broken) = self.follow(&mut requests, &stop).await {
            tracing::error!(error = %broken, "this controller stops");
            let broken = Arc::new(broken);
            self.say.send_modify(|now| now.broken = Some(Arc::clone(&broken)));
            let refuse =
                |pending: Pending| pending.answer(Err(SubmitError::Broken(Arc::clone(&broken))));
            self.next.into_pending().for_each(refuse);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    pending = requests.recv() => match pending {
                        Some(pending) => refuse(pending),
                        None => return,
                    },
                }
            }
        }
    }

    async fn follow(
        &mut self,
        requests: &mut Queue,
        stop: &CancellationToken,
    ) -> Result<(), ControllerError> {
        // Where others write, too, what is planned ahead is often planned for nothing.
        let plans_ahead = self.store.is_one_process();
        loop {
            if self.next.planned.is_empty() {
                requests.planned_nothing();
            }
            if self.in_flight.is_none() && !self.next.planned.is_empty() {
                while !plans_ahead
                    && self.has_room()
                    && let Some(pending) = requests.try_recv()
                {
                    self.next.add(&mut self.audit, pending);
                }
                self.launch().await?;
                if self.in_flight.is_some() {
                    requests.committing();
                }
                continue;
            }
            let is_idle = self.in_flight.is_none();
            let has_room = self.has_room() && (is_idle || plans_ahead);
            tokio::select! {
                // A chain begins to be committed when it is first polled: before anything is
                // planned on it.
                biased;
                made = committed(&mut self.in_flight) => {
                    self.finish(made).await?;
                    requests.committed();
                    // Whoever was answered last runs on this thread next, and nowhere else: it must
                    // not wait until all that waits in the queue is planned.
                    tokio::task::yield_now().await;
                }
                () = stop.cancelled() => break,
                pending = requests.recv(), if has_room => match pending {
                    Some(pending) => self.next.add(&mut self.audit, pending),
                    None => break,
                },
                batches = self.store.after(version(&self.state)), if is_idle => {
                    self.learn(batches).await?;
                    // Nothing is planned while it is idle; what comes next begins from what is now.
                    self.next = Chain::after(&self.state);
                }
            }
        }
        // What is on its way is seen through, since it may be made anyway.
        if self.in_flight.is_some() {
            let made = committed(&mut self.in_flight).await;
            self.finish(made).await?;
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.next.planned.len() < TOGETHER && self.next.objects < OBJECTS
    }

    /// Begins to commit what is planned. Answers it at once, if there is nothing to commit.
    async fn launch(&mut self) -> Result<(), ControllerError> {
        // What rests on no commit may rest on what is no longer so: on another controller the
        // answer may have changed already.
        if self.next.answers_from_before() {
            match self.store.version().await {
                Ok(is) if is != version(&self.state) => {
                    self.catch_up(is).await?;
                    let all = self.take_next().into_pending().collect();
                    self.again(all);
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) => {
                    let all = self.take_next().into_pending();
                    all.for_each(|one| one.answer(Err(SubmitError::Store(error.clone()))));
                    return Ok(());
                }
            }
        }
        let chain = self.take_next();
        if chain.drafts.is_empty() {
            self.settle(chain.planned, &ChainResult::nothing(None));
            return Ok(());
        }
        self.next = Chain::after(&chain.state);
        let made = commit(
            Arc::clone(&self.store),
            chain.drafts,
            self.tree.clone(),
            self.signer.clone(),
            Arc::clone(&self.budgets),
        );
        self.in_flight = Some(InFlight { planned: chain.planned, made: Box::pin(made) });
        Ok(())
    }

    /// Takes what was planned to come next. What is planned from now on begins from what is there.
    fn take_next(&mut self) -> Chain {
        std::mem::replace(&mut self.next, Chain::after(&self.state))
    }

    /// Answers what of a chain was committed, and plans the rest again.
    async fn finish(&mut self, made: ChainResult) -> Result<(), ControllerError> {
        let Some(InFlight { planned, .. }) = self.in_flight.take() else { return Ok(()) };
        let rest = self.settle(planned, &made);
        match made.error {
            None if rest.is_empty() => return Ok(()),
            Some(StoreError::Conflict(is)) => self.catch_up(is).await?,
            Some(error) => tracing::warn!(%error, "a commit failed"),
            None => {}
        }
        let next = self.take_next();
        self.again(rest);
        next.into_pending().for_each(|pending| self.next.add(&mut self.audit, pending));
        Ok(())
    }

    /// Plans again where other controllers were faster, unless they were too often.
    fn again(&mut self, all: Vec<Pending>) {
        for mut pending in all {
            pending.tried += 1;
            if pending.tried < self.tries {
                self.next.add(&mut self.audit, pending);
            } else {
                pending.answer(Err(SubmitError::Busy));
            }
        }
    }

    /// Answers what rests on commits that were made, and returns the rest.
    fn settle(&mut self, planned: Vec<Planned>, made: &ChainResult) -> Vec<Pending> {
        let (done, rest): (Vec<_>, Vec<_>) =
            planned.into_iter().partition(|one| one.rests_on <= made.commits);
        let mut answers = Vec::with_capacity(done.len());
        for Planned { pending, answer, state, commit, .. } in done {
            if let Some(committed) = commit {
                self.state = state;
                self.history.push(committed);
            }
            answers.push((pending, answer));
        }
        if let Some(last) = made.commits.checked_sub(1) {
            self.tree = made.trees.get(last).unwrap_or(&self.tree).clone();
            self.publish();
        }
        for (pending, answer) in answers {
            pending.answer(answer);
        }
        let mut again = Vec::new();
        for Planned { pending, rests_on, commit, .. } in rest {
            match &made.error {
                Some(StoreError::Deposed) if commit.is_some() && rests_on == made.commits + 1 => {
                    pending.answer(Err(SubmitError::Deposed));
                }
                // What was committed together may all have been made.
                Some(error @ StoreError::Failed(_)) => {
                    pending.answer(Err(SubmitError::Store(error.clone())));
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
    async fn learn(
        &mut self,
        batches: Result<Vec<Batch>, StoreError>,
    ) -> Result<(), ControllerError> {
        match batches {
            Ok(batches) => {
                for batch in batches {
                    let expected = version(&self.state).0 + 1;
                    if batch.version.0 != expected {
                        let what = format!("version {expected} should come next");
                        let key = codec::RECORD.to_owned();
                        return Err(ControllerError::Record { key, version: batch.version, what });
                    }
                    let made = codec::read_batch(batch)?;
                    self.state = self.state.followed(made.committed.revision, made.objects);
                    self.tree = made.tree.unwrap_or_else(|| self.tree.clone());
                    self.history.push(Arc::new(made.committed));
                }
            }
            Err(StoreError::Compacted(_)) => {
                let (state, tree, _) = codec::load(&*self.store, 0).await?;
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
