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
    /// What became of the last update.
    phase: Phase,
    /// What it said last of its maps and ports.
    said: LastReport,
    reporting: Reporting,
}

/// What became of the last update. One is under way at a time.
enum Phase {
    /// The agent has applied it, or none was sent.
    Idle,
    /// The agent has yet to say what it made of this.
    AwaitingAck { sent: Arc<Projection>, since: Instant },
    /// It has said nothing for so long that the node is reported as silent.
    Silent { sent: Arc<Projection> },
    /// It refused this, and is sent the next change.
    Refused { sent: Arc<Projection> },
}

impl Phase {
    /// Returns what the agent was sent last, unless it has applied that.
    const fn sent(&self) -> Option<&Arc<Projection>> {
        match self {
            Self::Idle => None,
            Self::AwaitingAck { sent, .. } | Self::Silent { sent } | Self::Refused { sent } => {
                Some(sent)
            }
        }
    }

    const fn is_waiting(&self) -> bool {
        matches!(self, Self::AwaitingAck { .. } | Self::Silent { .. })
    }

    const fn is_silent(&self) -> bool {
        matches!(self, Self::Silent { .. })
    }

    /// Returns since when the agent is waited for, while that is not too long yet.
    const fn awaited_since(&self) -> Option<Instant> {
        match self {
            Self::AwaitingAck { since, .. } => Some(*since),
            _ => None,
        }
    }

    /// The agent has been waited for too long.
    fn time_out(&mut self) {
        *self = match std::mem::replace(self, Self::Idle) {
            Self::AwaitingAck { sent, .. } => Self::Silent { sent },
            other => other,
        };
    }
}

/// What is known of the node, on its way into the fabric. The session goes on meanwhile.
enum Reporting {
    Idle,
    UnderWay {
        submitted: Submitted,
        /// Whether something has changed since, and another report has to follow.
        is_outdated: bool,
    },
}

type Submitted = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

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
            phase: Phase::Idle,
            said,
            reporting: Reporting::Idle,
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
                () = end.cancelled() => Err(Status::unavailable("this stream is over: the \
                    controller stops, or the agent has another one")),
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
                () = silence(self.phase.awaited_since()) => {
                    self.phase.time_out();
                    self.report();
                    Ok(())
                }
                reported = reported(&mut self.reporting) => reported.map(|is_outdated| {
                    if is_outdated {
                        self.report();
                    }
                }),
                () = pending.told(), if !self.phase.is_waiting() => self.offer(&to, &lead).await,
            };
            if let Err(status) = done {
                break status;
            }
        };
        tracing::info!(why = status.message(), "the agent's stream ends");
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
        let is_idle = matches!(self.phase, Phase::Idle);
        if is_done && self.said.is_known && is_idle {
            self.has = Some(projection);
            self.report();
            return Ok(());
        }
        // What it has may be right although it is not known since when it has it.
        let same = Some(&*projection).filter(|new| is_idle && self.digest == new.digest);
        let update = projection.update(self.has.as_deref().or(same), &lead);
        let (revision, parts) = (&projection.revision, update.parts.len());
        tracing::debug!(%revision, parts, "sent");
        self.phase = Phase::AwaitingAck { sent: projection, since: Instant::now() };
        to.send(Ok(update)).await.map_err(|_| Status::cancelled("the agent is gone"))
    }

    /// The agent says what it made of the last update, or what else there is.
    fn hear(&mut self, mut report: pb::Report) {
        let has_counters = !report.counters.is_empty();
        self.count(std::mem::take(&mut report.counters));
        let phase = |phase: &Phase| (phase.sent().is_some(), phase.is_waiting());
        let before = (self.said.clone(), phase(&self.phase));
        let refused = report
            .refused
            .map(|why| cut(format!("revision {} is refused: {why}", report.received)));
        if let Some(sent) = self.phase.sent().cloned()
            && sent.revision.0 == report.received
        {
            if refused.is_some() {
                self.phase = Phase::Refused { sent };
            } else {
                self.agents.has(&self.node, &sent);
                (self.has, self.phase) = (Some(sent), Phase::Idle);
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
        if has_counters && before == (self.said.clone(), phase(&self.phase)) {
            return;
        }
        self.report();
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

    /// Reports what is known of the node to the fabric, once the report before is there: a thousand
    /// agents may have said something just now.
    fn report(&mut self) {
        match &mut self.reporting {
            Reporting::UnderWay { is_outdated, .. } => *is_outdated = true,
            Reporting::Idle => {
                let submitted = Box::pin(self.submit_report());
                self.reporting = Reporting::UnderWay { submitted, is_outdated: false };
            }
        }
    }

    /// What is known already changes nothing there.
    fn submit_report(&self) -> impl Future<Output = Result<(), Status>> + Send + use<S> {
        let silent = self.phase.is_silent();
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

/// Waits until a report is in the fabric, and returns whether it is outdated by then. Waits for
/// ever, if none is under way.
async fn reported(reporting: &mut Reporting) -> Result<bool, Status> {
    let Reporting::UnderWay { submitted, is_outdated } = reporting else {
        return std::future::pending().await;
    };
    submitted.await?;
    let is_outdated = *is_outdated;
    *reporting = Reporting::Idle;
    Ok(is_outdated)
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
