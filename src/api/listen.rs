//! The API's listener: TLS with a certificate of whoever connects, HTTP/1.1 and HTTP/2.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{Router, body::Body, http::Request};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
use rustls::{ServerConfig, pki_types::CertificateDer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_rustls::server::TlsStream;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::{Api, Limits, router};
use crate::{
    admission::{Admission, SlotsByIdentity},
    identity::Identity,
    pki::{HTTP, Tls, TlsError},
    tls_listener::{Secured, TlsListener},
};

/// How long requests in flight may take once their connection has to end.
const GRACE: Duration = Duration::from_secs(10);

/// How long a peer may leave data unacknowledged, so that a dead reader of events frees its slot.
const UNACKNOWLEDGED_MS: u32 = 60_000;

/// How often a peer is pinged, and how long it may take to answer.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(20));

/// Requests of one connection at once, in HTTP/2.
const STREAMS: u32 = 128;

/// Decides who is let in. It has to demand a client certificate.
pub trait Gate: Send + Sync + 'static {
    /// Returns the TLS configuration for a new connection.
    fn config(&self) -> Arc<ServerConfig>;

    /// Checks whether the holder of these certificates would be let in now.
    fn admits(&self, chain: &[CertificateDer<'_>]) -> bool;

    /// Changes whenever [`Self::admits`] may answer otherwise than before.
    fn changed(&self) -> watch::Receiver<u64>;
}

/// A gate whose certificates may be renewed and revoked while it stands.
pub struct TlsGate {
    tls: Tls,
    config: Arc<ServerConfig>,
}

impl TlsGate {
    /// Of these files.
    ///
    /// # Errors
    /// Fails only if the cryptography provider has no TLS 1.3; the one that is built in does.
    pub fn new(tls: Tls) -> Result<Self, TlsError> {
        let config = tls.server(&HTTP)?;
        Ok(Self { tls, config })
    }
}

impl Gate for TlsGate {
    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    fn admits(&self, chain: &[CertificateDer<'_>]) -> bool {
        self.tls.check(chain).is_ok()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.tls.changed()
    }
}

/// A gate of a fixed configuration.
impl Gate for Arc<ServerConfig> {
    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(self)
    }

    fn admits(&self, _: &[CertificateDer<'_>]) -> bool {
        true
    }

    fn changed(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }
}

/// Accepts connections until the API is stopped, and returns when the last has ended. An error of a
/// connection ends that one only.
pub async fn serve(tcp: TcpListener, gate: impl Gate, api: Api) {
    let limits = api.limits().clone();
    let listener = TlsListener {
        admission: Admission::new(limits.unsecured, limits.unsecured_of_one),
        handshake_time: limits.handshake_time,
    };
    let door = Arc::new(Door {
        router: router(api.clone()),
        places: SlotsByIdentity::new(limits.connections_of_one),
        all: Semaphore::new(limits.connections as usize),
        api: api.clone(),
        gate,
    });
    let tasks = TaskTracker::new();
    let serving = Arc::clone(&door);
    let serve = move |secured| {
        let door = Arc::clone(&serving);
        async move { door.connection(secured).await }
    };
    let config = || with_protocols(door.gate.config());
    listener.accept(tcp, config, api.stop(), &tasks, serve).await;
    tasks.close();
    tasks.wait().await;
}

/// Offers HTTP by ALPN, unless the configuration does so already.
fn with_protocols(config: Arc<ServerConfig>) -> Arc<ServerConfig> {
    if !config.alpn_protocols.is_empty() {
        return config;
    }
    let mut config = ServerConfig::clone(&config);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// What connections share.
struct Door<G> {
    router: Router,
    /// The slots of identities: each one's, and all together.
    places: SlotsByIdentity,
    all: Semaphore,
    api: Api,
    gate: G,
}

impl<G: Gate> Door<G> {
    async fn connection(&self, secured: Secured) {
        let Secured { stream, who, slot, .. } = secured;
        if let Err(error) = setsockopt(stream.get_ref().0, TcpUserTimeout, &UNACKNOWLEDGED_MS) {
            return tracing::debug!(%error, "a connection was gone at once");
        }
        let limits = self.api.limits();
        let Some(who) = who else {
            // Each request is answered with the reason. The connection stays unidentified, and
            // does not stay for long.
            let told = timeout(limits.handshake_time, self.requests(stream, None, limits));
            return tokio::select! { _ = told => {}, () = slot.evicted() => {} };
        };
        drop(slot);
        match (self.places.take(&who), self.all.try_acquire()) {
            (Some(_place), Ok(_one_of_all)) => self.requests(stream, Some(who), limits).await,
            _ => tracing::info!(%who, "one connection too many"),
        }
    }

    async fn requests(&self, stream: TlsStream<TcpStream>, who: Option<Identity>, limits: &Limits) {
        let chain: Vec<CertificateDer<'static>> = stream
            .get_ref()
            .1
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|one| one.clone().into_owned())
            .collect();
        let shut = self.shut_out(&chain);
        let service = service_fn(move |mut request: Request<Incoming>| {
            if let Some(who) = &who {
                request.extensions_mut().insert(who.clone());
            }
            let answer = self.router.clone().oneshot(request.map(Body::new));
            async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
        });
        let builder = protocols(limits);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = shut => {
                return tracing::info!("a connection is cut: its certificate is no longer taken");
            }
            () = self.api.stop().cancelled() => None,
            () = tokio::time::sleep(limits.connection_time) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                timeout(GRACE, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke off");
        }
    }
}

/// How often a connection's certificates are checked without a change: they expire by themselves.
const LOOK: Duration = Duration::from_secs(60);

impl<G: Gate> Door<G> {
    /// Waits until the holder of these certificates would no longer be let in.
    async fn shut_out(&self, chain: &[CertificateDer<'static>]) {
        let mut changed = self.gate.changed();
        while self.gate.admits(chain) {
            match timeout(LOOK, changed.changed()).await {
                Ok(Ok(())) | Err(_) => {}
                // Nobody can change it any more; it may still end.
                Ok(Err(_)) => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

fn protocols(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(limits.header_bytes.max(8192));
    let (every, within) = PING;
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(every)
        .keep_alive_timeout(within);
    builder
}
