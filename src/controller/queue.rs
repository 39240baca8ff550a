//! Requests that wait for the writer: those of people and of time in one queue, those of agents in another. The writer takes from both in turns, so
//! that who asks for a change does not wait behind all that a thousand agents report when a controller starts, and reports are never left for good.

use tokio::sync::mpsc::{self, Receiver, Sender};

use super::SubmitError;
use super::plan::Pending;
use crate::fabric::Actor;

/// Requests that wait in each queue; who comes then waits for a place.
const PLACES: usize = 4096;

/// Where requests are put.
#[derive(Debug, Clone)]
pub struct Requests {
    asked: Sender<Pending>,
    reported: Sender<Pending>,
}

/// Where the writer finds them.
#[derive(Debug)]
pub struct Queue {
    asked: Receiver<Pending>,
    reported: Receiver<Pending>,
}

/// Both ends.
pub fn queue() -> (Requests, Queue) {
    let ((ask, asked), (report, reported)) = (mpsc::channel(PLACES), mpsc::channel(PLACES));
    (Requests { asked: ask, reported: report }, Queue { asked, reported })
}

impl Requests {
    /// Waits for a place.
    ///
    /// # Errors
    /// The writer is gone.
    pub async fn send(&self, pending: Pending) -> Result<(), SubmitError> {
        let queue = if matches!(pending.request.who, Actor::Node(_)) { &self.reported } else { &self.asked };
        queue.send(pending).await.map_err(|_| SubmitError::Closed)
    }
}

impl Queue {
    /// The next, as soon as there is one; none, if nobody can ask any more. Whoever gives up waiting has taken none.
    pub async fn recv(&mut self) -> Option<Pending> {
        // Of two that are ready, chance takes one.
        tokio::select! {
            pending = self.asked.recv() => pending,
            pending = self.reported.recv() => pending,
        }
    }

    /// The next, if there is one now.
    pub fn try_recv(&mut self) -> Option<Pending> {
        self.asked.try_recv().or_else(|_| self.reported.try_recv()).ok()
    }
}
