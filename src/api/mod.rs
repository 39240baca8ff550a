//! The API: HTTPS and JSON under `/v1`, for the owner, the operators and the auditor.
//! `docs/openapi.json` describes it.
//!
//! It shows nothing that [`crate::authz`] does not let the asker see, and every failure is a
//! [`Problem`]. A handler takes an `ApiRequest`, in which everything has been read and bounded. It
//! does one of three things: it reads a state, submits changes, or follows what is committed.
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

/// What the handlers share. A clone is the same one.
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
    /// Serves a controller. When `stop` is cancelled, the streams end.
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

    /// Ends the streams and the listener when it is cancelled.
    pub fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    fn viewer<'a>(&'a self, who: &'a Identity, dry_run: bool) -> Viewer<'a> {
        Viewer { tokens: &self.0.tokens, who, dry_run }
    }

    /// Writes to the audit log what somebody had no right to. The request is refused even if that
    /// fails.
    async fn denied(&self, who: Identity, message: String) {
        if let Err(error) = self.0.backend.deny(who.clone(), message.clone()).await {
            tracing::error!(
                %error, %who, message, "a refusal could not be written to the audit log"
            );
        }
    }

    /// Makes changes that authorization has allowed, or tries them.
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
