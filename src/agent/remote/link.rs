//! The stream to a controller: one of them at a time, and again and again.

use std::{pin::pin, sync::Arc, time::Duration};

use anyhow::Context;
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;
use tracing::{debug, info, warn};

use super::{
    Url,
    address_stream::{self, SyncEvent},
    counter_delta::CounterDelta,
};
use crate::{
    agent::reconciler::Counters,
    pki::Tls,
    protocol::{
        LONGEST_UPDATE, REVOKED,
        pb::{self, agents_client::AgentsClient, from_agent::What},
    },
};

/// How long a controller may take to be reached, and then to take the stream.
const PATIENCE: Duration = Duration::from_secs(5);
/// After so long without a word, a controller is asked whether it is there, and so long it may take
/// to say so.
const ALIVE: Duration = Duration::from_secs(3);
/// How long is waited after all controllers were tried: at first, and at most. A fabric's agents
/// come back within two seconds of their controller, and not all at once.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What the agent says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// To whom it comes new.
    pub hello: pb::Hello,
    /// What it made of what it was sent.
    pub report: pb::Report,
    /// Counts how often a controller was to be left: what it sent can't be used.
    pub left: u64,
}

/// All that the agent says.
#[derive(Debug, Clone)]
pub struct Says {
    /// Each change of it is said.
    pub status: watch::Receiver<Status>,
    /// The newest is said when there is time for it.
    pub counters: watch::Receiver<Arc<Counters>>,
}

/// Follows one controller or another until nobody wants its updates.
pub async fn run(
    (urls, tls): (Vec<Url>, Tls),
    mut says: Says,
    updates: mpsc::Sender<pb::Update>,
    shared: mpsc::Sender<SyncEvent>,
    revoked: watch::Sender<Option<bool>>,
) {
    let mut pause = PAUSES.0;
    let mut trouble = None;
    loop {
        let mut was_served = false;
        for url in &urls {
            let ended = tokio::select! {
                () = updates.closed() => return,
                ended = follow((url, &tls), &mut says, &updates, &shared, &mut was_served) => ended,
            };
            // What that stream had is over with it.
            let _ = shared.send(SyncEvent::Disconnected).await;
            let Err(error) = ended else { return };
            if error.is::<Revoked>() {
                revoked.send_replace(Some(true));
            } else if was_served {
                revoked.send_replace(Some(false));
            }
            let now = format!("{error:#}");
            // A controller that stays away is told of once.
            if trouble.as_ref() != Some(&(url.to_string(), now.clone())) || was_served {
                warn!(controller = %url, error = now, "no stream; the node goes on as it is");
            }
            trouble = Some((url.to_string(), now));
        }
        pause = if was_served { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
        // Between a half and the whole of it.
        sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
    }
}

/// One stream, to its end. It ends well only if nobody wants what comes.
async fn follow(
    (url, tls): (&Url, &Tls),
    Says { status, counters }: &mut Says,
    updates: &mpsc::Sender<pb::Update>,
    shared: &mpsc::Sender<SyncEvent>,
    was_served: &mut bool,
) -> anyhow::Result<()> {
    let channel = connect(url, tls).await?;
    let mut client = AgentsClient::new(channel.clone()).max_decoding_message_size(LONGEST_UPDATE);
    let (say, said) = mpsc::channel(4);
    let Status { hello, left, .. } = status.borrow_and_update().clone();
    say.send(pb::FromAgent { what: Some(What::Hello(hello)) }).await?;
    let stream = timeout(PATIENCE, client.follow(ReceiverStream::new(said))).await;
    let mut stream = stream.context("it does not answer")?.map_err(told)?.into_inner();
    info!(controller = %url, "a controller is followed");
    let since = Instant::now();
    let (mut delta, mut is_heard) = (CounterDelta::default(), false);
    counters.mark_changed();
    let mut address_stream = pin!(address_stream::run(channel, shared.clone()));
    loop {
        tokio::select! {
            never = &mut address_stream => match never {},
            update = stream.message() => {
                let update = update.map_err(told)?.context("the controller has ended the stream")?;
                debug!(revision = update.revision, term = update.term, "an update");
                // One is under way at a time, so that it waits only for one of an older stream.
                if updates.send(update).await.is_err() {
                    return Ok(());
                }
                *was_served = true;
                is_heard = true;
            }
            changed = status.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let now = status.borrow_and_update().clone();
                anyhow::ensure!(
                    now.left == left,
                    "left after {:?}: it sent what can't be used",
                    since.elapsed()
                );
                let report = pb::FromAgent { what: Some(What::Report(now.report)) };
                say.send(report).await.context("the stream has ended")?;
            }
            changed = counters.changed(), if delta.is_empty() => match changed {
                Ok(()) => delta.follow(counters.borrow_and_update().clone()),
                Err(_) => return Ok(()),
            },
            // Not before the first update: what an agent reports first is taken for its answer to
            // that.
            place = say.reserve(), if is_heard && !delta.is_empty() => {
                let report = status.borrow().report.clone();
                let report = pb::Report { counters: delta.take(), ..report };
                let report = pb::FromAgent { what: Some(What::Report(report)) };
                place.context("the stream has ended")?.send(report);
            }
        }
    }
}

/// A controller has said that the node's certificate was revoked.
#[derive(Debug, thiserror::Error)]
#[error("{REVOKED}")]
struct Revoked;

/// Whether that is why something failed: in words, or by TLS' own alert, which comes encrypted once
/// the controller has shown its certificate. Of that, hyper and h2 keep only the text.
fn is_revoked(error: &(dyn std::error::Error + 'static)) -> bool {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.map(ToString::to_string).any(|text| text.contains("CertificateRevoked"))
}

/// What the controller says, without what tonic says around it.
fn told(status: tonic::Status) -> anyhow::Error {
    if status.message() == REVOKED || is_revoked(&status) {
        return Revoked.into();
    }
    anyhow::anyhow!("{} ({:?})", status.message(), status.code())
}

async fn connect(url: &Url, tls: &Tls) -> anyhow::Result<Channel> {
    let config = tls.client(&[b"h2"])?;
    let connect = move |url: Url| {
        let config = config.clone();
        async move {
            io(&url, TlsConnector::from(config))
                .await
                .map(TokioIo::new)
                .map_err(std::io::Error::other)
        }
    };
    // tonic must not want to do TLS itself: ours follows its files.
    let endpoint = Endpoint::from_shared(format!("http://{}", url.authority()))?
        .http2_keep_alive_interval(ALIVE)
        .keep_alive_timeout(ALIVE)
        .keep_alive_while_idle(true);
    let there = url.clone();
    let connected =
        endpoint.connect_with_connector(service_fn(move |_| connect(there.clone()))).await;
    connected.map_err(|error| root(&error))
}

/// tonic's own words are "transport error"; why is behind them.
fn root(error: &(dyn std::error::Error + 'static)) -> anyhow::Error {
    if is_revoked(error) {
        return Revoked.into();
    }
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    anyhow::anyhow!("{at}")
}

async fn io(url: &Url, tls: TlsConnector) -> anyhow::Result<TlsStream<TcpStream>> {
    let reached = timeout(PATIENCE, async {
        let stream = TcpStream::connect(url.authority()).await?;
        stream.set_nodelay(true)?;
        Ok::<_, anyhow::Error>(tls.connect(url.server_name()?, stream).await?)
    });
    reached.await.context("it does not answer in time")?
}
