//! One agent's stream.

use std::{collections::BTreeSet, pin::Pin, sync::Arc, time::Duration};

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::{Agents, PendingState, Projection, counters, seen::seen};
use crate::{
    controller::{LeaderTerm, Request, SubmitError},
    fabric::{Actor, Change, ProjectError, Report, Revision, Seen},
    model::{InterfaceName, Name},
    protocol::pb::{self, from_agent::What},
    service::every,
    store::Store,
};

/// The longest text of an agent's that is kept, bytes.
const LONGEST: usize = 500;
/// How often a certificate is looked at again besides: it may have ended.
pub const LOOK: Duration = Duration::from_secs(30);

/// After so long without a word on the last update, the node is told of as degraded.
const SILENT: Duration = Duration::from_secs(15);

/// Who is at the other end of a connection.
pub struct Peer {
    pub node: Name,
    pub chain: Arc<Vec<CertificateDer<'static>>>,
}

/// A stream, and what is known of who is at its other end.
pub struct Session<S> {
    agents: Agents<S>,
    node: Name,
    /// Its certificate, and what leads to a root.
    chain: Arc<Vec<CertificateDer<'static>>>,
    pending: Arc<PendingState>,
    /// What the node shall do by the last state that was looked at.
    newest: Option<Arc<Projection>>,
    /// What the agent said first that it has.
    digest: Vec<u8>,
    /// What the agent has.
    has: Option<Arc<Projection>>,
    /// What it was sent last, unless it has that.
    sent: Option<Arc<Projection>>,
    /// Whether it has yet to say what it made of it.
    waits: bool,
    /// Since when, if it is not known yet that this is long.
    since: Option<Instant>,
    /// What it said last of its maps and ports.
    said: LastReport,
    /// What is known of the node, on its way into the fabric: nothing else waits for that.
    noting: Option<Noting>,
    /// Whether there is more to note after that; and if so, whether the agent was silent for long.
    to_note: Option<bool>,
}

type Noting = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

#[derive(Clone, Default, PartialEq)]
struct LastReport {
    drift: Option<String>,
    down: BTreeSet<InterfaceName>,
    seen: Option<Seen>,
    /// Whether it has said anything yet.
    is_known: bool,
}

impl<S: Store + 'static> Session<S> {
    /// Of an agent that says that it has what `hello` says.
    pub fn new(
        agents: Agents<S>,
        Peer { node, chain }: Peer,
        pending: Arc<PendingState>,
        hello: pb::Hello,
        last: Option<Arc<Projection>>,
    ) -> Self {
        let has = last.filter(|last| hello.digest == last.digest);
        let (digest, said) = (hello.digest, LastReport::default());
        Self {
            agents,
            node,
            chain,
            pending,
            newest: None,
            digest,
            has,
            sent: None,
            waits: false,
            since: None,
            said,
            noting: None,
            to_note: None,
        }
    }

    /// Runs until either side ends the stream, or it must end.
    pub async fn run(
        mut self,
        mut from: Streaming<pb::FromAgent>,
        to: mpsc::Sender<Result<pb::Update, Status>>,
        end: CancellationToken,
    ) {
        let mut lead = self.agents.controller.lead();
        let mut files = self.agents.tls.changed();
        let mut look = every(LOOK);
        let pending = Arc::clone(&self.pending);
        let status = loop {
            let done = tokio::select! {
                () = end.cancelled() => Err(Status::unavailable("this stream is over: the controller stops, or the agent has another one")),
                _ = lead.changed() => leads(&lead).map(drop),
                _ = files.changed() => self.agents.is_let_in(&self.chain),
                _ = look.tick() => self.agents.is_let_in(&self.chain),
                message = from.message() => match message {
                    Ok(Some(pb::FromAgent { what: Some(What::Report(report)) })) => {
                        self.hear(report);
                        Ok(())
                    }
                    Ok(Some(_)) => Err(Status::invalid_argument("after hello, an agent reports")),
                    // It goes.
                    Ok(None) | Err(_) => return,
                },
                () = silence(self.since) => {
                    self.since = None;
                    self.note(true);
                    Ok(())
                }
                noted = noted(&mut self.noting) => noted.map(|()| self.note_more()),
                () = pending.told(), if !self.waits => self.offer(&to, &lead).await,
            };
            if let Err(status) = done {
                break status;
            }
        };
        tracing::info!(node = %self.node, why = status.message(), "the agent's stream ends");
        // It may be gone already.
        let _ = to.send(Err(status)).await;
    }

    /// Sends what the agent does not have, if there is anything.
    async fn offer(
        &mut self,
        to: &mpsc::Sender<Result<pb::Update, Status>>,
        lead: &watch::Receiver<Option<LeaderTerm>>,
    ) -> Result<(), Status> {
        let lead = leads(lead)?;
        let Some((state, affected)) = self.pending.take() else { return Ok(()) };
        let known = self.newest.take();
        let projection = match &known {
            Some(known) => known.follow(&state, &self.node, &affected),
            None => Projection::of(&state, &self.node),
        };
        let projection = match projection {
            Ok(projection) => Arc::new(projection),
            // It is told as soon as the owner adds it.
            Err(ProjectError::Unknown(_)) => return Ok(()),
            Err(error) => return Err(Status::internal(error.to_string())),
        };
        debug_assert_eq!(
            Ok(&*projection),
            Projection::of(&state, &self.node).as_ref(),
            "{affected:?}"
        );
        self.newest = Some(Arc::clone(&projection));
        let is_done = self.has.as_ref().is_some_and(|has| projection.is_done_with(has));
        // After hello, an agent always hears that it is heard.
        if is_done && self.said.is_known && self.sent.is_none() {
            self.has = Some(projection);
            self.note(false);
            return Ok(());
        }
        // What it has may be right although it is not known since when it has it.
        let same =
            Some(&*projection).filter(|new| self.sent.is_none() && self.digest == new.digest);
        let update = projection.update(self.has.as_deref().or(same), &lead);
        tracing::debug!(node = %self.node, revision = %projection.revision, parts = update.parts.len(), "sent");
        (self.sent, self.waits, self.since) = (Some(projection), true, Some(Instant::now()));
        to.send(Ok(update)).await.map_err(|_| Status::cancelled("the agent is gone"))
    }

    /// The agent says what it made of the last update, or what else there is.
    fn hear(&mut self, mut report: pb::Report) {
        let has_counters = !report.counters.is_empty();
        self.count(std::mem::take(&mut report.counters));
        let before = (self.said.clone(), self.sent.is_some(), self.waits);
        let is_last = |sent: &Arc<Projection>| sent.revision.0 == report.received;
        let refused = report
            .refused
            .map(|why| cut(format!("revision {} is refused: {why}", report.received)));
        if self.sent.as_ref().is_some_and(is_last) {
            (self.waits, self.since) = (false, None);
            if refused.is_none() {
                self.has = self.sent.take();
                self.has.iter().for_each(|has| self.agents.has(&self.node, has));
            }
        }
        let down = report.down.iter().filter_map(|name| name.parse().ok()).collect();
        let drift = refused.or(report.drift.map(cut));
        // Who does not say what it sees has not looked yet, or is too old to.
        let seen =
            report.has_looked.then(|| seen(report.left_out, report.devices, report.made_for));
        self.said =
            LastReport { drift, down, seen: seen.or(self.said.seen.take()), is_known: true };
        // Counters alone are nothing that the fabric's one writer has to look at, however many
        // agents report them.
        if has_counters && before == (self.said.clone(), self.sent.is_some(), self.waits) {
            return;
        }
        self.note(self.waits && self.since.is_none());
    }

    /// Keeps what the attachments have counted.
    fn count(&self, said: Vec<pb::Counters>) {
        if said.is_empty() {
            return;
        }
        let now = Timestamp::now();
        let said = said
            .into_iter()
            .filter_map(|counters| counters::decode(&self.node, now, counters))
            .collect();
        let controller = &self.agents.controller;
        controller.counters().hear(|| controller.state(), said);
    }

    /// Brings what is known of the node into the fabric, once what was known before is there: a
    /// thousand agents may have reported just now.
    fn note(&mut self, silent: bool) {
        self.to_note = Some(silent);
        self.note_more();
    }

    fn note_more(&mut self) {
        if self.noting.is_none()
            && let Some(silent) = self.to_note.take()
        {
            self.noting = Some(Box::pin(self.noting(silent)));
        }
    }

    /// What is known already changes nothing there.
    fn noting(&self, silent: bool) -> impl Future<Output = Result<(), Status>> + Send + use<S> {
        let applied = self.has.as_ref().map_or(Revision(0), |has| has.counts_as());
        let LastReport { drift, down, seen, .. } = self.said.clone();
        let report = Report { node: self.node.clone(), applied, drift, down, silent, seen };
        let who = Actor::Node(self.node.clone());
        let request = Request { who, changes: vec![Change::Report(report)], dry_run: false };
        let (controller, node) = (self.agents.controller.clone(), self.node.clone());
        async move {
            match controller.submit(request).await {
                Ok(_) => Ok(()),
                // The owner has removed the node.
                Err(SubmitError::Refused(refused)) => {
                    tracing::warn!(%node, %refused, "a report is refused");
                    Ok(())
                }
                Err(error) => Err(Status::unavailable(error.to_string())),
            }
        }
    }
}

/// Waits until it is noted; for ever, if nothing is being noted.
async fn noted(noting: &mut Option<Noting>) -> Result<(), Status> {
    let Some(under_way) = noting else { return std::future::pending().await };
    let done = under_way.await;
    *noting = None;
    done
}

/// Returns when somebody has been silent for long.
async fn silence(since: Option<Instant>) {
    match since {
        Some(since) => sleep_until(since + SILENT).await,
        None => std::future::pending().await,
    }
}

/// The leadership, if there is one now.
pub fn leads(lead: &watch::Receiver<Option<LeaderTerm>>) -> Result<LeaderTerm, Status> {
    lead.borrow()
        .clone()
        .filter(LeaderTerm::holds)
        .ok_or_else(|| Status::unavailable("this controller does not lead: ask another one"))
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LONGEST));
    text
}
