//! The agents' side of the controller: each node's agent has one stream, on which it gets its own
//! node's file, and says what it made of it.
//!
//! - **Who.** The certificate says which node it is; any other identity, and another node's name,
//!   is refused. Of two streams of one node the newer one counts.
//! - **What.** [`Projection`] is what a node shall do at one revision. A session compares it with
//!   what its agent has and sends the difference, if there is one. It makes only those tables
//!   of the node's file anew that commits may have changed (`pending`). What affects nobody on a
//!   node is not sent there, and its revision counts as applied as soon as nothing is under way.
//! - **How fast.** One update is under way at a time. What changes meanwhile waits as the state
//!   that it is, not as a queue: a slow agent gets the newest state next.
//! - **Under whom.** Only the controller that leads serves, and each update has its term. When it
//!   no longer leads, its streams end.
//! - **Addresses** have a stream of their own (`address_sync`): what a node learned at its
//!   attachments goes to the others of the segment.
//! - **Counters** of attachments come with reports, and go no further than the memory of who leads
//!   (`counters`).
//! - **Purges** of what was learned of a server go to a node once the server's own node has
//!   detached it; until then, no revision that asked for one counts as applied.
#![forbid(unsafe_code)]

mod address_sync;
mod counters;
mod pending;
mod projection;
mod seen;
mod server;
mod session;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt};
use rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use self::{address_sync::Registry, pending::PendingState};
pub use self::{
    projection::Projection,
    server::{ServeError, serve},
};
use crate::{
    controller::{Committed, Controller},
    fabric::{Affected, Owned, Revision, State, affected_nodes},
    model::Name,
    pki::Tls,
    protocol::REVOKED,
    service::every,
    store::Store,
};

/// After how long the commits are followed anew.
const PAUSE: Duration = Duration::from_millis(100);

/// The sessions of a controller.
struct Agents<S> {
    controller: Controller<S>,
    nodes: Arc<Mutex<Nodes>>,
    addresses: Arc<Mutex<Registry>>,
    tls: Tls,
    stop: CancellationToken,
}

impl<S> Clone for Agents<S> {
    fn clone(&self) -> Self {
        Self {
            controller: self.controller.clone(),
            nodes: Arc::clone(&self.nodes),
            addresses: Arc::clone(&self.addresses),
            tls: self.tls.clone(),
            stop: self.stop.clone(),
        }
    }
}

/// All nodes whose agent has had a session here.
struct Nodes {
    /// The state up to which all sessions were told.
    told: State,
    all: BTreeMap<Name, Entry>,
}

/// What is known of a node's agent.
struct Entry {
    /// What its session has yet to look at.
    pending: Arc<PendingState>,
    /// Ends its session.
    session: CancellationToken,
    /// What its agent had when it was heard of last.
    has: Option<Arc<Projection>>,
}

impl<S: Store + 'static> Agents<S> {
    fn new(controller: Controller<S>, tls: Tls, stop: CancellationToken) -> Self {
        let nodes = Nodes { told: controller.state(), all: BTreeMap::new() };
        Self {
            controller,
            nodes: Arc::new(Mutex::new(nodes)),
            addresses: Arc::default(),
            tls,
            stop,
        }
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        // Nothing that can panic happens under it.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session of a node begins, and the one before it ends.
    fn enter(
        &self,
        node: &Name,
    ) -> (Arc<PendingState>, CancellationToken, Option<Arc<Projection>>) {
        let mut nodes = self.nodes();
        let (pending, session) =
            (Arc::new(PendingState::new(nodes.told.clone())), self.stop.child_token());
        let has = nodes.all.remove(node).and_then(|before| {
            before.session.cancel();
            before.has
        });
        let entry =
            Entry { pending: Arc::clone(&pending), session: session.clone(), has: has.clone() };
        nodes.all.insert(node.clone(), entry);
        (pending, session, has)
    }

    /// Whether who came with a certificate would still be let in with it.
    fn is_let_in(&self, chain: &[CertificateDer<'static>]) -> Result<(), Status> {
        match self.tls.check(chain) {
            Ok(_) => Ok(()),
            Err(_) if self.tls.is_revoked(chain) => Err(Status::unauthenticated(REVOKED)),
            Err(error) => {
                Err(Status::unauthenticated(format!("the certificate is good no more: {error}")))
            }
        }
    }

    fn has(&self, node: &Name, projection: &Arc<Projection>) {
        if let Some(entry) = self.nodes().all.get_mut(node) {
            entry.has = Some(Arc::clone(projection));
        }
    }

    /// Tells the sessions of the nodes that each commit concerns.
    async fn tell(self) {
        let mut second = every(Duration::from_secs(1));
        loop {
            let state = self.controller.state();
            let mut at = state.revision();
            self.addresses().renew(&state);
            self.controller.counters().renew(&state);
            // Of what happened before that, everybody may have missed something.
            self.nodes().tell_all(state);
            if let Ok(mut commits) = self.controller.watch(at) {
                loop {
                    let commit = tokio::select! {
                        () = self.stop.cancelled() => return,
                        _ = second.tick() => {
                            self.addresses().expire(&self.controller.state(), Instant::now());
                            continue;
                        }
                        commit = commits.next() => commit,
                    };
                    match self.tell_of(commit, &mut commits).await {
                        Some(revision) => at = revision,
                        None => break,
                    }
                }
            }
            tracing::warn!(revision = %at, "the commits can't be followed from here; all nodes \
                are looked at");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Tells of a commit, and of those after it that the state has already: a state is told with
    /// all that led to it. Gives its revision, if the commits could be followed so far.
    async fn tell_of(
        &self,
        mut commit: Option<Arc<Committed>>,
        commits: &mut (impl Stream<Item = Arc<Committed>> + Unpin),
    ) -> Option<Revision> {
        let state = self.controller.state();
        let mut untold: BTreeMap<Name, Affected> = BTreeMap::new();
        loop {
            let Committed { revision, events, .. } = &*commit?;
            for (node, affected) in affected_nodes(&state, events) {
                untold.entry(node).or_default().merge(affected);
            }
            self.addresses().follow(&state, *revision, events);
            self.controller.counters().follow(&state, events);
            if *revision >= state.revision() {
                self.nodes().tell(&state, untold);
                return Some(*revision);
            }
            commit = commits.next().await;
        }
    }
}

impl Nodes {
    /// These tables may be others in this state than in the one that was told before.
    fn tell(&mut self, state: &State, untold: BTreeMap<Name, Affected>) {
        self.told = state.clone();
        for (node, affected) in untold {
            if let Some(entry) = self.all.get(&node) {
                entry.pending.tell(state.clone(), affected);
            }
        }
    }

    /// Everything may be another.
    fn tell_all(&mut self, state: State) {
        self.all.values().for_each(|entry| entry.pending.tell(state.clone(), Affected::All));
        self.told = state;
    }
}

/// A segment as a node knows it; an operator's name has no dot.
fn segment(joined: &str) -> Option<Owned> {
    let (operator, name) = joined.split_once('.')?;
    Some(Owned { operator: operator.parse().ok()?, name: name.parse().ok()? })
}
