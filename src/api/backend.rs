//! What the API needs of a controller, whatever store it has.

use std::sync::Arc;

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};

use crate::{
    controller::{
        Committed, Compacted, Controller, LeaderTerm, Request, SubmitError, counters::Counters,
    },
    fabric::{Owned, Revision, State},
    identity::Identity,
    store::{Store, StoreError},
};

/// A controller.
pub trait Backend: Send + Sync {
    /// The newest state that is known.
    fn state(&self) -> State;

    /// Checks that it is ready to serve.
    ///
    /// # Errors
    /// Returns why it is not.
    fn health(&self) -> Result<(), String>;

    /// Makes a transaction, or tries it.
    fn submit(&self, request: Request) -> BoxFuture<'_, Result<Committed, SubmitError>>;

    /// Writes to the audit log what somebody had no right to.
    ///
    /// # Errors
    /// Fails if it can't be written.
    fn deny(&self, who: Identity, message: String) -> BoxFuture<'_, Result<(), SubmitError>>;

    /// Returns the counters of an attachment, if this controller leads and its node has reported.
    fn counters(&self, attachment: &Owned, state: &State) -> Option<Counters>;

    /// Reads a range of the store, from a key and before another: as many entries as fit in
    /// `bytes`, and one at least.
    ///
    /// # Errors
    /// Fails if the store does.
    fn range(
        &self,
        from: String,
        before: String,
        bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, String)>, StoreError>>;

    /// Follows what was committed after a revision and what will be. The stream ends when its
    /// reader is too slow.
    ///
    /// # Errors
    /// Fails if what was committed since is no longer known.
    fn watch(&self, after: Revision) -> Result<BoxStream<'static, Arc<Committed>>, Compacted>;
}

impl<S: Store + 'static> Backend for Controller<S> {
    fn state(&self) -> State {
        Self::state(self)
    }

    fn health(&self) -> Result<(), String> {
        Self::health(self).map_err(|error| error.to_string())
    }

    fn submit(&self, request: Request) -> BoxFuture<'_, Result<Committed, SubmitError>> {
        Self::submit(self, request).boxed()
    }

    fn deny(&self, who: Identity, message: String) -> BoxFuture<'_, Result<(), SubmitError>> {
        // What was asked is in the message: its kind and name were enough to refuse it, and nothing
        // more was read.
        Self::deny(self, who, Vec::new(), message).boxed()
    }

    fn counters(&self, attachment: &Owned, state: &State) -> Option<Counters> {
        // What one that was deposed was told is old.
        let leads = self.lead().borrow().as_ref().is_some_and(LeaderTerm::holds);
        if leads { Self::counters(self).of(attachment, state) } else { None }
    }

    fn range(
        &self,
        from: String,
        before: String,
        bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, String)>, StoreError>> {
        async move { self.store().range(&from, &before, bytes).await }.boxed()
    }

    fn watch(&self, after: Revision) -> Result<BoxStream<'static, Arc<Committed>>, Compacted> {
        Self::watch(self, after).map(StreamExt::boxed)
    }
}
