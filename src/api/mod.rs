//! The API: HTTPS and JSON under `/v1`, for the owner, the operators and the auditor.
//! `docs/openapi.json` describes it.
//!
//! It knows nothing that [`crate::authz`] does not let the asker know, and every answer that is no
//! success is a [`Problem`]. A handler takes a `ApiRequest`, in which everything has been read and
//! bounded, and does one of three things: it looks at a state, it submits changes, or it follows
//! what is committed.
#![forbid(unsafe_code)]

mod audit;
mod backend;
mod filter;
mod json;
mod limits;
mod listen;
mod objects;
pub mod openapi;
mod paths;
mod problem;
mod request;
mod routes;
mod schemas;
mod tokens;
mod transactions;
mod watch;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use self::{
    backend::Backend,
    limits::Limits,
    listen::{Gate, TlsGate, serve},
    paths::plural,
    problem::Problem,
    routes::router,
    tokens::{NoRandom, Tokens},
};
use self::{json::Viewer, limits::Throttle};
use crate::{
    audit::Archive,
    controller::{Committed, Request},
    fabric::{Change, State},
    identity::Identity,
};

/// What the handlers share. Copies are one.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    backend: Arc<dyn Backend>,
    tokens: Tokens,
    limits: Limits,
    throttle: Throttle,
    archive: tokio::sync::Mutex<Archive>,
    stop: CancellationToken,
}

impl Api {
    /// Of a controller. When `stop` is cancelled, its streams end.
    pub fn new(
        backend: Arc<dyn Backend>,
        tokens: Tokens,
        limits: Limits,
        stop: CancellationToken,
    ) -> Self {
        let throttle = Throttle::new(&limits);
        let archive = tokio::sync::Mutex::default();
        Self(Arc::new(Inner { backend, tokens, limits, throttle, archive, stop }))
    }

    fn backend(&self) -> &dyn Backend {
        &*self.0.backend
    }

    fn state(&self) -> State {
        self.0.backend.state()
    }

    fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// What requests may cost.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    fn throttle(&self) -> &Throttle {
        &self.0.throttle
    }

    /// Ends the streams, and the listener.
    pub fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    fn viewer<'a>(&'a self, who: &'a Identity, dry_run: bool) -> Viewer<'a> {
        Viewer { tokens: &self.0.tokens, who, dry_run }
    }

    /// Has the audit log say what somebody had no right to. The refusal stands, whether it can be
    /// written down or not.
    async fn denied(&self, who: Identity, message: String) {
        if let Err(error) = self.0.backend.deny(who.clone(), message.clone()).await {
            tracing::error!(%error, %who, message, "a refusal could not be written to the audit log");
        }
    }

    /// Makes changes that were found to be allowed, or tries them.
    async fn submit(
        &self,
        who: &Identity,
        changes: Vec<Change>,
        dry_run: bool,
    ) -> Result<Committed, Problem> {
        let actor =
            who.actor().ok_or_else(|| Problem::forbidden(format!("{who} changes nothing")))?;
        let submitted = self.0.backend.submit(Request { who: actor, changes, dry_run }).await;
        submitted.map_err(|error| Problem::submit(who, error, &self.state()))
    }
}
