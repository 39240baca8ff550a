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

    /// Why it is not ready to serve, if it is not.
    ///
    /// # Errors
    /// That.
    fn health(&self) -> Result<(), String>;

    /// Makes a transaction, or tries it.
    fn submit(&self, request: Request) -> BoxFuture<'_, Result<Committed, SubmitError>>;

    /// Writes to the audit log what somebody had no right to.
    ///
    /// # Errors
    /// It could not.
    fn deny(&self, who: Identity, message: String) -> BoxFuture<'_, Result<(), SubmitError>>;

    /// What an attachment has counted, if this controller leads and was told.
    fn counters(&self, attachment: &Owned, state: &State) -> Option<Counters>;

    /// A range of the store: from a key, before another, up to so many bytes, and one entry at
    /// least.
    ///
    /// # Errors
    /// The store fails.
    fn range(
        &self,
        from: String,
        before: String,
        bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, String)>, StoreError>>;

    /// What was committed after a revision, and what will be. It ends when the reader is too slow.
    ///
    /// # Errors
    /// It is not known what was.
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
