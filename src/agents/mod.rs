//! The agents' side of the controller: each node's agent has one stream, on which it gets its own node's file, and says what it made of it.
//!
//! - **Who.** The certificate says which node it is; any other identity, and another node's name, is refused. Of two streams of one node the
//!   newer one counts.
//! - **What.** [`Projection`] is what a node shall do at one revision. A session compares it with what its agent has and sends the difference,
//!   if there is one. What concerns nobody on a node is not sent there, and its revision counts as applied as soon as nothing is under way.
//! - **How fast.** One update is under way at a time. What changes meanwhile waits as the state that it is, not as a queue: a slow agent gets the
//!   newest state next.
//! - **Under whom.** Only the controller that leads serves, and each update has its term. When it no longer leads, its streams end.
//! - **Addresses** have a stream of their own (`learned`): what a node learned at its attachments goes to the others of the segment.
//! - **Counters** of attachments come with reports, and go no further than the memory of who leads (`counted`).
//! - **Purges** go to a node once the node where the server was lets it in no more; until then, no revision counts as applied that asked for one.
#![forbid(unsafe_code)]

mod counted;
mod learned;
mod projection;
mod server;
mod session;
mod share;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use self::learned::Registry;
pub use self::projection::Projection;
pub use self::server::{ServeError, serve};
use crate::controller::Controller;
use crate::fabric::{Owned, concerned};
use crate::model::Name;
use crate::pki::Tls;
use crate::protocol::REVOKED;
use crate::service::every;
use crate::store::Store;

/// After how long the commits are followed anew.
const PAUSE: Duration = Duration::from_millis(100);

/// The sessions of a controller.
struct Agents<S> {
    controller: Controller<S>,
    nodes: Arc<Mutex<BTreeMap<Name, Entry>>>,
    learned: Arc<Mutex<Registry>>,
    tls: Tls,
    stop: CancellationToken,
}

impl<S> Clone for Agents<S> {
    fn clone(&self) -> Self {
        Self {
            controller: self.controller.clone(),
            nodes: Arc::clone(&self.nodes),
            learned: Arc::clone(&self.learned),
            tls: self.tls.clone(),
            stop: self.stop.clone(),
        }
    }
}

/// What is known of a node's agent.
struct Entry {
    /// Says that there may be something new for it.
    wake: watch::Sender<()>,
    /// Ends the session that there is.
    session: CancellationToken,
    /// What its agent had when it was heard of last.
    has: Option<Arc<Projection>>,
}

impl<S: Store + 'static> Agents<S> {
    fn new(controller: Controller<S>, tls: Tls, stop: CancellationToken) -> Self {
        Self { controller, nodes: Arc::default(), learned: Arc::default(), tls, stop }
    }

    fn nodes(&self) -> std::sync::MutexGuard<'_, BTreeMap<Name, Entry>> {
        // Nothing that can panic happens under it.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session of a node begins, and the one before it ends.
    fn enter(&self, node: &Name) -> (watch::Receiver<()>, CancellationToken, Option<Arc<Projection>>) {
        let session = self.stop.child_token();
        let mut nodes = self.nodes();
        let entry = nodes.entry(node.clone()).or_insert_with(|| Entry {
            wake: watch::channel(()).0,
            session: CancellationToken::new(),
            has: None,
        });
        std::mem::replace(&mut entry.session, session.clone()).cancel();
        (entry.wake.subscribe(), session, entry.has.clone())
    }

    /// Whether who came with a certificate would still be let in with it.
    fn is_let_in(&self, chain: &[CertificateDer<'static>]) -> Result<(), Status> {
        match self.tls.check(chain) {
            Ok(_) => Ok(()),
            Err(_) if self.tls.is_revoked(chain) => Err(Status::unauthenticated(REVOKED)),
            Err(error) => Err(Status::unauthenticated(format!("the certificate is good no more: {error}"))),
        }
    }

    fn has(&self, node: &Name, projection: &Arc<Projection>) {
        if let Some(entry) = self.nodes().get_mut(node) {
            entry.has = Some(Arc::clone(projection));
        }
    }

    /// Wakes the sessions of the nodes that each commit concerns.
    async fn tell(self) {
        let mut second = every(Duration::from_secs(1));
        loop {
            let mut at = self.controller.state().revision();
            // Of what happened before that, everybody may have missed something.
            self.nodes().values().for_each(|entry| entry.wake.send_replace(()));
            self.learned().renew(&self.controller.state());
            self.controller.counters().renew(&self.controller.state());
            if let Ok(mut commits) = self.controller.watch(at) {
                loop {
                    let commit = tokio::select! {
                        () = self.stop.cancelled() => return,
                        _ = second.tick() => {
                            self.learned().expire(&self.controller.state(), Instant::now());
                            continue;
                        }
                        commit = commits.next() => commit,
                    };
                    let Some(commit) = commit else { break };
                    at = commit.revision;
                    let state = self.controller.state();
                    let told: BTreeSet<Name> = concerned(&state, &commit.events);
                    self.learned().follow(&state, commit.revision, &commit.events);
                    self.controller.counters().follow(&state, &commit.events);
                    let nodes = self.nodes();
                    let entries = told.iter().filter_map(|name| nodes.get(name));
                    entries.for_each(|entry| entry.wake.send_replace(()));
                }
            }
            tracing::warn!(revision = %at, "the commits can't be followed from here; all nodes are looked at");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// A segment as a node knows it; an operator's name has no dot.
fn segment(joined: &str) -> Option<Owned> {
    let (operator, name) = joined.split_once('.')?;
    Some(Owned { operator: operator.parse().ok()?, name: name.parse().ok()? })
}
