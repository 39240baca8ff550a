//! What a session has yet to look at: a state of the fabric, and what of its node's file may be
//! another one there than in the last one that it looked at.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::fabric::{Stale, State};

/// One session's.
#[derive(Debug)]
pub struct News {
    /// No state is kept that nobody has to look at.
    untold: Mutex<Option<(State, Stale)>>,
    wake: Notify,
}

impl News {
    /// Of a session that knows nothing.
    pub fn new(state: State) -> Self {
        let news = Self { untold: Mutex::new(None), wake: Notify::new() };
        news.tell(state, Stale::All);
        news
    }

    fn untold(&self) -> MutexGuard<'_, Option<(State, Stale)>> {
        // Nothing that can panic happens under it.
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a later state, and this is stale since the one that was told before.
    pub fn tell(&self, state: State, stale: Stale) {
        let mut untold = self.untold();
        let mut all = untold.take().map_or_else(Stale::default, |(_, stale)| stale);
        all.merge(stale);
        *untold = Some((state, all));
        drop(untold);
        self.wake.notify_one();
    }

    /// Returns when there is something.
    pub async fn told(&self) {
        self.wake.notified().await;
    }

    /// What there is, once.
    pub fn take(&self) -> Option<(State, Stale)> {
        self.untold().take()
    }
}
