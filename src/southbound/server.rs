//! The agents' listener: TLS, who it is, and a session for each.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, mpsc},
    time::timeout,
};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming, transport::server::Connected};
use tracing::Instrument;

use super::{
    Agents,
    address_sync::AddressSession,
    session::{Peer, Session, leads},
};
use crate::{
    admission::{Admission, SlotsByIdentity},
    controller::Controller,
    identity::Identity,
    pki::{Tls, TlsError},
    protocol::{
        LONGEST_REPORT,
        pb::{self, agents_server, from_agent::What},
    },
    store::Store,
    tls_listener::{Secured, TlsListener},
};

/// How long a peer may take to say who it is: in TLS, and then in words.
const PATIENCE: Duration = Duration::from_secs(5);
/// Handshakes under way at a time, and those of one source address that have lasted for a moment.
const HANDSHAKES: (u32, u32) = (1024, 32);
/// Connections of one identity. An agent has one or two, and may have the next before we know that
/// they are gone.
const OF_ONE: u32 = 8;
/// After so long without a word, a peer is asked whether it is there, and so long it may take to
/// say so.
const ALIVE: Duration = Duration::from_secs(5);

/// Why the listener ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener failed.
    #[error("agents can't be served: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// TLS can't begin.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Serves agents until it is told to stop.
///
/// # Errors
/// The listener fails.
pub async fn serve<S: Store + 'static>(
    controller: Controller<S>,
    listeners: Vec<TcpListener>,
    tls: Tls,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    // Whatever ends this ends the sessions.
    let stop = stop.child_token();
    let _guard = stop.clone().drop_guard();
    let config = tls.server(&[b"h2"])?;
    let agents = Agents::new(controller, tls, stop.clone());
    let service =
        agents_server::AgentsServer::new(agents.clone()).max_decoding_message_size(LONGEST_REPORT);
    let (send, incoming) = mpsc::channel(1);
    let listener = TlsListener {
        admission: Admission::new(HANDSHAKES.0, HANDSHAKES.1),
        handshake_time: PATIENCE,
    };
    let door = Arc::new(Door { places: SlotsByIdentity::new(OF_ONE), send });
    let accepting = listeners.into_iter().map(|tcp| {
        let (listener, config, stop) = (listener.clone(), Arc::clone(&config), stop.clone());
        let door = Arc::clone(&door);
        let serve = move |secured| {
            let door = Arc::clone(&door);
            async move { door.admit(secured).await }
        };
        tokio::spawn(async move {
            let tasks = TaskTracker::new();
            listener.accept(tcp, || Arc::clone(&config), &stop, &tasks, serve).await;
        })
    });
    let accepting: Vec<_> = accepting.collect();
    drop(door);
    let telling = tokio::spawn(agents.tell());
    let done = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(ALIVE))
        .http2_keepalive_timeout(Some(ALIVE))
        // An agent has one, and may open the next before we know that it is gone.
        .max_concurrent_streams(4)
        .add_service(service)
        .serve_with_incoming_shutdown(ReceiverStream::new(incoming), stop.cancelled())
        .await;
    stop.cancel();
    let _ = futures::join!(futures::future::join_all(accepting), telling);
    Ok(done?)
}

/// What all connections of the listeners go through.
struct Door {
    places: SlotsByIdentity,
    send: mpsc::Sender<Result<Guest, io::Error>>,
}

impl Door {
    /// Hands a connection to the server. Whoever is no node is told so there, if it asks.
    async fn admit(&self, Secured { stream, peer, who, slot }: Secured) {
        let Some(who) = who else { return };
        let Some(place) = self.places.take(&who) else {
            return tracing::info!(%peer, %who, "one connection too many");
        };
        drop(slot);
        let _ = self.send.send(Ok(Guest { stream, _place: place })).await;
    }
}

/// A connection that is secured, with its place.
struct Guest {
    stream: TlsStream<TcpStream>,
    _place: OwnedSemaphorePermit,
}

impl Connected for Guest {
    type ConnectInfo = <TlsStream<TcpStream> as Connected>::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[tonic::async_trait]
impl<S: Store + 'static> agents_server::Agents for Agents<S> {
    type FollowStream = ReceiverStream<Result<pb::Update, Status>>;

    async fn follow(
        &self,
        request: Request<Streaming<pb::FromAgent>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let peer = peer(&request)?;
        let node = peer.node.clone();
        leads(&self.controller.lead())?;
        let mut from = request.into_inner();
        let hello = match timeout(PATIENCE, from.message()).await {
            Ok(Ok(Some(pb::FromAgent { what: Some(What::Hello(hello)) }))) => hello,
            Ok(Err(status)) => return Err(status),
            Ok(Ok(_)) => return Err(Status::invalid_argument("an agent says hello first")),
            Err(_) => return Err(Status::deadline_exceeded("no hello came")),
        };
        if hello.node != node.as_str() {
            let what =
                format!("the certificate is of node {node}, and the agent of node {}", hello.node);
            return Err(Status::permission_denied(what));
        }
        tracing::info!(
            node = %node, abi = hello.abi, applied = hello.applied, boot = hello.boot, "an agent \
                is here"
        );
        let (pending, end, last) = self.enter(&node);
        let (to, updates) = mpsc::channel(1);
        let session = Session::new(self.clone(), peer, pending, hello, last).run(from, to, end);
        tokio::spawn(session.instrument(tracing::info_span!("session", %node)));
        Ok(Response::new(ReceiverStream::new(updates)))
    }

    type ShareStream = ReceiverStream<Result<pb::There, Status>>;

    async fn share(
        &self,
        request: Request<Streaming<pb::Here>>,
    ) -> Result<Response<Self::ShareStream>, Status> {
        let peer = peer(&request)?;
        leads(&self.controller.lead())?;
        let (to, there) = mpsc::channel(1);
        let span = tracing::info_span!("addresses", node = %peer.node);
        let session = AddressSession::new(self.clone(), peer).run(request.into_inner(), to);
        tokio::spawn(session.instrument(span));
        Ok(Response::new(ReceiverStream::new(there)))
    }
}

/// The node whose certificate it is.
fn peer<T>(request: &Request<T>) -> Result<Peer, Status> {
    let chain =
        request.peer_certs().ok_or_else(|| Status::unauthenticated("there is no certificate"))?;
    let end = chain.first().ok_or_else(|| Status::unauthenticated("there is no certificate"))?;
    match Identity::of_certificate(end) {
        Ok(Identity::Node(node)) => Ok(Peer { node, chain }),
        Ok(other) => Err(Status::permission_denied(format!(
            "{other} is no node: only agents are served here"
        ))),
        Err(error) => Err(Status::unauthenticated(error.to_string())),
    }
}
