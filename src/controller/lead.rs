//! The leadership, and what only the leader does: it lets time pass.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::writer::Pending;
use super::{Now, Request, Settings, SubmitError, ask};
use crate::fabric::{Actor, Change};
use crate::service::every;
use crate::store::{Held, Store};

/// What controllers lead.
const NAME: &str = "controller";

/// A leadership, and for how long it is sure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// What was held when it was last asked for.
    pub held: Held,
    until: Instant,
}

impl Lead {
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
    pub requests: mpsc::Sender<Pending>,
    pub now: watch::Receiver<Now>,
    pub say: watch::Sender<Option<Lead>>,
}

impl<S: Store> Leader<S> {
    /// Asks for the leadership once. So a controller that is alone leads from the beginning.
    pub async fn first(&self) {
        lead(&*self.store, &self.settings, &self.say).await;
    }

    /// Leads whenever nobody else does, until it is told to stop, or the controller can't go on: then another one shall.
    pub async fn run(self, stop: CancellationToken) {
        let Self { store, settings, requests, mut now, say } = self;
        let mut renew = every((settings.lead / 3).max(Duration::from_millis(1)));
        let mut tick = every(settings.tick.max(Duration::from_millis(1)));
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = broken(&mut now) => break,
                _ = renew.tick() => lead(&*store, &settings, &say).await,
                _ = tick.tick() => let_time_pass(&requests, &say).await,
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

async fn lead(store: &impl Store, settings: &Settings, say: &watch::Sender<Option<Lead>>) {
    let asked = Instant::now();
    let was = say.borrow().clone();
    // A store that does not answer must not keep a leader from noticing that it may be none any more.
    let patience = was.as_ref().map_or(settings.lead, |lead| lead.until.saturating_duration_since(asked));
    let answer = timeout(patience, store.lead(NAME, &settings.name, settings.lead)).await;
    let now = match answer {
        // It was given after it was asked for.
        Ok(Ok(Some(held))) => asked.checked_add(settings.lead).map(|until| Lead { held, until }),
        Ok(Ok(None)) => None,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the leadership can't be asked for");
            was.clone().filter(Lead::holds)
        }
        Err(_) => was.clone().filter(Lead::holds),
    };
    let term = |lead: &Option<Lead>| lead.as_ref().map(Lead::term);
    match (term(&was), term(&now)) {
        (was, Some(term)) if was != Some(term) => tracing::info!(term, "this controller leads"),
        (Some(term), None) => tracing::warn!(term, "this controller no longer leads"),
        _ => {}
    }
    say.send_replace(now);
}

/// Leases go on; nothing is written if none does.
async fn let_time_pass(requests: &mpsc::Sender<Pending>, say: &watch::Sender<Option<Lead>>) {
    let Some(lead) = say.borrow().clone().filter(Lead::holds) else { return };
    let request = Request { who: Actor::Controller, changes: vec![Change::Tick], dry_run: false };
    match ask(requests, request, Some(lead.held)).await {
        // It is asked again soon.
        Ok(_) | Err(SubmitError::Busy | SubmitError::Deposed | SubmitError::Closed) => {}
        Err(error) => tracing::error!(%error, "leases do not go on"),
    }
}
