//! What a session has yet to look at: the newest state of the fabric, and which tables of its
//! node's file may differ from those of the state that it looked at last.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::fabric::{Affected, State};

/// The pending state of one session.
#[derive(Debug)]
pub struct PendingState {
    /// No state is kept that nobody has to look at.
    untold: Mutex<Option<(State, Affected)>>,
    wake: Notify,
}

impl PendingState {
    /// Of a session that knows nothing.
    pub fn new(state: State) -> Self {
        let pending = Self { untold: Mutex::new(None), wake: Notify::new() };
        pending.tell(state, Affected::All);
        pending
    }

    fn untold(&self) -> MutexGuard<'_, Option<(State, Affected)>> {
        // Nothing that can panic happens under it.
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over a later state, in which this may differ from the one before.
    pub fn tell(&self, state: State, affected: Affected) {
        let mut untold = self.untold();
        let mut all = untold.take().map_or_else(Affected::default, |(_, affected)| affected);
        all.merge(affected);
        *untold = Some((state, all));
        drop(untold);
        self.wake.notify_one();
    }

    /// Returns when there is something.
    pub async fn told(&self) {
        self.wake.notified().await;
    }

    /// What there is, once.
    pub fn take(&self) -> Option<(State, Affected)> {
        self.untold().take()
    }
}
