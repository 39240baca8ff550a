//! Requests that wait for the writer: those of people and of time in one queue, those of agents in
//! another. The writer takes from both in turns, so that who asks for a change does not wait behind
//! all that a thousand agents report when a controller starts, and reports are never left for good.
//!
//! **Who asks for much waits for himself.** Each identity has a queue of its own, and they take
//! turns. Besides, an operator has at most a share of what is on its way to the store: of the
//! commits that are being written and of those that are planned to be written next, together.
//! So whoever asks for little waits for one such share at most, and then for his own commit:
//! a second share of the same operator is planned only once the first is in the store.

use std::collections::{HashMap, VecDeque};

use tokio::sync::mpsc::{self, Receiver, Sender};

use super::{SubmitError, chain::Pending};
use crate::{audit::Who, fabric::Actor, identity::Identity, model::Name};

/// Requests that wait in each queue; who comes then waits for a place.
const PLACES: usize = 4096;
/// Requests of one operator that are on their way to the store at once.
const REQUESTS: usize = 32;
/// Changes that these ask for. A single request may have more.
const CHANGES: usize = 128;

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
    turns: Turns,
}

pub fn queue() -> (Requests, Queue) {
    let ((ask, asked), (report, reported)) = (mpsc::channel(PLACES), mpsc::channel(PLACES));
    (Requests { asked: ask, reported: report }, Queue { asked, reported, turns: Turns::default() })
}

impl Requests {
    /// Waits for a place.
    ///
    /// # Errors
    /// The writer is gone.
    pub async fn send(&self, pending: Pending) -> Result<(), SubmitError> {
        let queue = if matches!(pending.request.who, Actor::Node(_)) {
            &self.reported
        } else {
            &self.asked
        };
        queue.send(pending).await.map_err(|_| SubmitError::Closed)
    }
}

impl Queue {
    /// Takes the next request, as soon as there is one; none, once nobody can ask any more.
    /// Cancelling the wait loses nothing.
    pub async fn recv(&mut self) -> Option<Pending> {
        loop {
            self.collect();
            let next = self.turns.next();
            // Of two that are ready, chance takes one.
            tokio::select! {
                () = std::future::ready(()), if next.is_some() => {
                    return next.and_then(|who| self.turns.take(&who));
                }
                pending = self.reported.recv() => return pending,
                pending = self.asked.recv() => self.turns.add(pending?),
            }
        }
    }

    /// Takes the next request, if there is one now.
    pub fn try_recv(&mut self) -> Option<Pending> {
        self.collect();
        let next = self.turns.next().and_then(|who| self.turns.take(&who));
        next.or_else(|| self.reported.try_recv().ok())
    }

    /// Nothing is planned: whatever was taken and is not being committed has been answered.
    pub fn planned_nothing(&mut self) {
        self.turns.planned.clear();
    }

    /// What was taken so far is being committed.
    pub fn committing(&mut self) {
        self.turns.committing = std::mem::take(&mut self.turns.planned);
    }

    /// What was being committed is in the store, or will not be.
    pub fn committed(&mut self) {
        self.turns.committing.clear();
    }

    /// Sorts all that was asked into the queues of those who asked.
    fn collect(&mut self) {
        while let Ok(pending) = self.asked.try_recv() {
            self.turns.add(pending);
        }
    }
}

/// Whose requests wait in one queue. The queues take turns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Turn {
    Operator(Name),
    Owner,
    Controller,
    /// Who may ask for no changes, and did.
    Other,
}

/// The queues of those who ask.
#[derive(Debug, Default)]
struct Turns {
    /// Whose turn it is, and who comes then: those who have asked for something.
    order: VecDeque<Turn>,
    asked: HashMap<Turn, VecDeque<Pending>>,
    /// What each operator has in the commits that are planned, and in those that are being made.
    planned: HashMap<Turn, Share>,
    committing: HashMap<Turn, Share>,
}

/// How much somebody has on its way to the store.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    requests: usize,
    changes: usize,
}

impl Turns {
    fn add(&mut self, pending: Pending) {
        let who = turn(&pending);
        let own = self.asked.entry(who.clone()).or_default();
        if own.is_empty() {
            self.order.push_back(who);
        }
        own.push_back(pending);
    }

    /// Whose turn it is, of those who have not had their share.
    fn next(&self) -> Option<Turn> {
        self.order.iter().find(|who| self.has_more(who)).cloned()
    }

    /// Whether somebody's next request is within his share. The first is, however large it is,
    /// since a transaction can't be split. Only operators have a share: what the owner asks for
    /// and what time brings about concerns all of them.
    fn has_more(&self, who: &Turn) -> bool {
        if !matches!(who, Turn::Operator(_)) {
            return true;
        }
        let of = |all: &HashMap<Turn, Share>| all.get(who).copied().unwrap_or_default();
        let (planned, committing) = (of(&self.planned), of(&self.committing));
        let requests = planned.requests + committing.requests;
        let changes = planned.changes.saturating_add(committing.changes);
        let next = self.asked.get(who).and_then(VecDeque::front);
        let next = next.map_or(0, |next| next.request.changes.len());
        requests == 0 || (requests < REQUESTS && changes.saturating_add(next) <= CHANGES)
    }

    fn take(&mut self, who: &Turn) -> Option<Pending> {
        let own = self.asked.get_mut(who)?;
        let pending = own.pop_front();
        let more = !own.is_empty();
        self.order.retain(|other| other != who);
        if more {
            self.order.push_back(who.clone());
        } else {
            self.asked.remove(who);
        }
        let share = self.planned.entry(who.clone()).or_default();
        share.requests += 1;
        share.changes += pending.as_ref().map_or(0, |pending| pending.request.changes.len());
        pending
    }
}

fn turn(pending: &Pending) -> Turn {
    match (&pending.denied, &pending.request.who) {
        (Some(denied), _) => match &denied.who {
            Who::Identity(Identity::Operator(name)) => Turn::Operator(name.clone()),
            Who::Identity(Identity::Owner) => Turn::Owner,
            _ => Turn::Other,
        },
        (None, Actor::Operator(name)) => Turn::Operator(name.clone()),
        (None, Actor::Owner) => Turn::Owner,
        (None, Actor::Controller) => Turn::Controller,
        (None, Actor::Node(_)) => Turn::Other,
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::{
        controller::{Request, audit_writer::RefusalLog},
        fabric::Change,
    };

    fn pending(who: Actor) -> Pending {
        let request = Request { who, changes: Vec::new(), dry_run: false };
        let reply = oneshot::channel().0;
        Pending {
            request,
            held: None,
            denied: None,
            refusal: RefusalLog::default(),
            tried: 0,
            reply,
            span: tracing::Span::none(),
        }
    }

    fn operator(name: &str) -> Actor {
        Actor::Operator(name.parse().unwrap())
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

    #[tokio::test]
    async fn identities_take_turns_however_much_one_of_them_asks() {
        let (requests, mut queue) = queue();
        for _ in 0..REQUESTS * 2 {
            requests.send(pending(operator("alder"))).await.unwrap();
        }
        assert_eq!(queue.recv().await.unwrap().request.who, operator("alder"));
        for who in [operator("birch"), operator("birch"), Actor::Owner] {
            requests.send(pending(who)).await.unwrap();
        }
        let mut next = Vec::new();
        for _ in 0..5 {
            next.push(queue.recv().await.unwrap().request.who);
        }
        let (alder, birch) = (operator("alder"), operator("birch"));
        assert_eq!(next, [alder.clone(), birch.clone(), Actor::Owner, alder.clone(), birch]);
        // Alder has its share and no more: neither of what is committed together …
        for _ in 3..REQUESTS {
            assert_eq!(queue.try_recv().unwrap().request.who, alder);
        }
        assert!(queue.try_recv().is_none());
        requests.send(pending(operator("cedar"))).await.unwrap();
        assert_eq!(queue.recv().await.unwrap().request.who, operator("cedar"));
        // … nor of what is planned while that is being written.
        queue.committing();
        queue.planned_nothing();
        requests.send(pending(operator("cedar"))).await.unwrap();
        assert_eq!(queue.recv().await.unwrap().request.who, operator("cedar"));
        assert!(queue.try_recv().is_none());
        queue.committed();
        for _ in 0..REQUESTS {
            assert_eq!(queue.recv().await.unwrap().request.who, alder);
        }
        drop(requests);
        assert!(queue.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_request_of_many_changes_is_a_share_by_itself() {
        let (requests, mut queue) = queue();
        for _ in 0..2 {
            let mut large = pending(operator("alder"));
            large.request.changes = vec![Change::Tick; CHANGES * 10];
            requests.send(large).await.unwrap();
        }
        assert!(queue.try_recv().is_some() && queue.try_recv().is_none());
        queue.committing();
        assert!(queue.try_recv().is_none());
        queue.committed();
        assert!(queue.try_recv().is_some() && queue.try_recv().is_none());
    }
}
