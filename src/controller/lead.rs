//! The leadership, and what only the leader does: it lets time pass, for leases and for what is on
//! trial.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Now, Request, Settings, SubmitError, ask, queue::Requests};
use crate::{
    fabric::{Actor, Body, Change, Key, Kind, Refused, State},
    model::Name,
    service::every,
    store::{Leadership, Store},
};

/// What controllers lead.
const NAME: &str = "controller";

/// A leadership, and for how long it is sure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderTerm {
    /// What was held when it was last asked for.
    pub held: Leadership,
    until: Instant,
}

impl LeaderTerm {
    /// Whether nobody else can lead yet. Asked anew each time: a process may have slept.
    pub fn holds(&self) -> bool {
        Instant::now() < self.until
    }

    /// Grows with each other leader.
    pub fn term(&self) -> u64 {
        self.held.term
    }
}

/// The task that leads.
pub struct Leader<S> {
    pub store: Arc<S>,
    pub settings: Settings,
    pub requests: Requests,
    pub now: watch::Receiver<Now>,
    pub say: watch::Sender<Option<LeaderTerm>>,
}

impl<S: Store> Leader<S> {
    /// Asks for the leadership once. So a controller that is alone leads from the beginning.
    pub async fn first(&self) {
        lead(&*self.store, &self.settings, &self.say).await;
    }

    /// Leads whenever nobody else does, until it is told to stop, or the controller can't go on:
    /// then another one shall.
    pub async fn run(self, stop: CancellationToken) {
        let Self { store, settings, requests, mut now, say } = self;
        let known = now.clone();
        let mut renew = every((settings.lead / 3).max(Duration::from_millis(1)));
        let mut tick = every(settings.tick.max(Duration::from_millis(1)));
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = broken(&mut now) => break,
                _ = renew.tick() => lead(&*store, &settings, &say).await,
                _ = tick.tick() => let_time_pass(&requests, &known, &say).await,
            }
        }
        let held = say.send_replace(None).map(|lead| lead.held);
        if let Some(held) = held
            && let Ok(Err(error)) = timeout(settings.lead, store.resign(held)).await
        {
            tracing::warn!(%error, "the leadership was not given back; it runs out by itself");
        }
    }
}

/// Returns when the controller can't go on, or has ended.
async fn broken(now: &mut watch::Receiver<Now>) {
    let _ = now.wait_for(|now| now.broken.is_some()).await;
}

async fn lead(store: &impl Store, settings: &Settings, say: &watch::Sender<Option<LeaderTerm>>) {
    let asked = Instant::now();
    let was = say.borrow().clone();
    // A store that does not answer must not keep a leader from noticing that it may be none any
    // more.
    let patience =
        was.as_ref().map_or(settings.lead, |lead| lead.until.saturating_duration_since(asked));
    let answer = timeout(patience, store.lead(NAME, &settings.name, settings.lead)).await;
    let now = match answer {
        // It was given after it was asked for.
        Ok(Ok(Some(held))) => {
            asked.checked_add(settings.lead).map(|until| LeaderTerm { held, until })
        }
        Ok(Ok(None)) => None,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the leadership can't be asked for");
            was.clone().filter(LeaderTerm::holds)
        }
        Err(_) => was.clone().filter(LeaderTerm::holds),
    };
    let term = |lead: &Option<LeaderTerm>| lead.as_ref().map(LeaderTerm::term);
    match (term(&was), term(&now)) {
        (was, Some(term)) if was != Some(term) => tracing::info!(term, "this controller leads"),
        (Some(term), None) => tracing::warn!(term, "this controller no longer leads"),
        _ => {}
    }
    say.send_replace(now);
}

/// Leases go on, and what is on trial too long is taken back; nothing is written if there is no
/// such thing.
async fn let_time_pass(
    requests: &Requests,
    now: &watch::Receiver<Now>,
    say: &watch::Sender<Option<LeaderTerm>>,
) {
    let Some(lead) = say.borrow().clone().filter(LeaderTerm::holds) else { return };
    does(requests, &lead, Change::Tick).await;
    // One by one: what is against one of them is not against the others.
    let state = now.borrow().state.clone();
    for of in overdue(&state, Timestamp::now()) {
        if let Some(refused) = does(requests, &lead, Change::RollBack(of.clone())).await {
            does(requests, &lead, Change::Hold(of, refused.message)).await;
        }
    }
}

/// Whose trials are over.
fn overdue(state: &State, now: Timestamp) -> Vec<Option<Name>> {
    let all = state.of_kind(Kind::Trial).filter_map(|key| match (key, &state.get(key)?.body) {
        (Key::Trial(of), Body::Trial(trial)) if trial.deadline <= now => Some(of.clone()),
        _ => None,
    });
    all.collect()
}

/// Gives the rule that is against it, if one is.
async fn does(requests: &Requests, lead: &LeaderTerm, change: Change) -> Option<Refused> {
    let request = Request { who: Actor::Controller, changes: vec![change], dry_run: false };
    match ask(requests, request, Some(lead.held.clone())).await {
        Err(SubmitError::Refused(refused)) => return Some(refused),
        // It is asked again soon.
        Ok(_) | Err(SubmitError::Busy | SubmitError::Deposed | SubmitError::Closed) => {}
        Err(error) => tracing::error!(%error, "what time brings about is not done"),
    }
    None
}
