//! Accepts TLS connections: a slot for each handshake, a limited time for it, and the identity that
//! the certificate gives. The API and the agents' server both listen by this.
#![forbid(unsafe_code)]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admission::{Admission, HandshakeSlot},
    identity::Identity,
};

/// How long to wait when the process has no more file descriptors: others are closed meanwhile.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections.
#[derive(Debug, Clone)]
pub struct TlsListener {
    /// Who may be unidentified at once.
    pub admission: Admission,
    /// How long a handshake may take.
    pub handshake_time: Duration,
}

/// A connection after its handshake.
pub struct Secured {
    pub stream: TlsStream<TcpStream>,
    pub peer: SocketAddr,
    /// None, if the certificate names nobody.
    pub who: Option<Identity>,
    /// The connection counts as unidentified until this is dropped.
    pub slot: HandshakeSlot,
}

impl TlsListener {
    /// Accepts connections until it is told to stop, and serves each in a task of its own once it
    /// is secured. What is wrong with a connection ends that one.
    pub async fn accept<F>(
        &self,
        listener: TcpListener,
        config: impl Fn() -> Arc<ServerConfig>,
        stop: &CancellationToken,
        tasks: &TaskTracker,
        serve: impl Fn(Secured) -> F + Clone + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (this, config, serve) = (self.clone(), config(), serve.clone());
                    let slot = self.admission.enter(peer.ip());
                    tasks.spawn(async move {
                        if let Some(secured) = this.secure(stream, peer, config, slot).await {
                            serve(secured).await;
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection can't be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn secure(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        config: Arc<ServerConfig>,
        slot: HandshakeSlot,
    ) -> Option<Secured> {
        // Without it answers come later than they could, and no worse.
        let _ = stream.set_nodelay(true);
        let handshake = timeout(self.handshake_time, TlsAcceptor::from(config).accept(stream));
        let secured = tokio::select! {
            secured = handshake => secured,
            () = slot.evicted() => {
                tracing::debug!(%peer, "a handshake makes room for newer ones");
                return None;
            }
        };
        match secured {
            Ok(Ok(stream)) => {
                let who = identity(&stream, peer);
                Some(Secured { stream, peer, who, slot })
            }
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "a handshake failed");
                None
            }
            Err(_) => {
                tracing::debug!(%peer, "a handshake took too long");
                None
            }
        }
    }
}

/// Returns whom the peer's certificate names.
fn identity(stream: &TlsStream<TcpStream>, peer: SocketAddr) -> Option<Identity> {
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates()?.first()?;
    match Identity::of_certificate(certificate) {
        Ok(who) => Some(who),
        Err(error) => {
            tracing::info!(%peer, %error, "somebody connected with a certificate that says nobody");
            None
        }
    }
}
