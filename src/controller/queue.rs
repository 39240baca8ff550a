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

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::controller::Request;

    fn pending(who: Actor) -> Pending {
        let request = Request { who, changes: Vec::new(), dry_run: false };
        let reply = oneshot::channel().0;
        Pending { request, held: None, denied: None, refusal: None, tried: 0, reply }
    }

    #[tokio::test]
    async fn who_asks_does_not_wait_behind_a_thousand_reports_nor_they_behind_who_asks() {
        let (requests, mut queue) = queue();
        let node = || Actor::Node("edge1".parse().unwrap());
        for (many, one) in [(node as fn() -> Actor, Actor::Owner), (|| Actor::Owner, node())] {
            for _ in 0..1000 {
                requests.send(pending(many())).await.unwrap();
            }
            requests.send(pending(one.clone())).await.unwrap();
            let mut before = 0;
            while queue.recv().await.unwrap().request.who != one {
                before += 1;
            }
            // It is as likely as that a coin shows the same side 100 times.
            assert!(before < 100, "{before} came before it");
            for _ in before..1000 {
                assert_eq!(queue.try_recv().unwrap().request.who, many());
            }
            assert!(queue.try_recv().is_none());
        }
    }
}
