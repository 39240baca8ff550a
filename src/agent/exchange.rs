//! The agent's part in the exchange of addresses: from the programs' learn events and the FDB to the
//! controller, and from there into the FDB.
#![forbid(unsafe_code)]

use std::{io, time::Instant};

use sillon_abi::MacLocation;
use tracing::warn;

use super::{Agent, addresses::ToDo, reconciler::PurgeTarget, remote::Shared};
use crate::dataplane::{DataplaneError, inject::How, learn_events::LearnEvents};

/// The next learn events; never any, if nobody is to be told.
pub async fn next_events(events: &mut Option<LearnEvents>) -> io::Result<Vec<MacLocation>> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

impl Agent {
    /// Begins to take part.
    pub(super) fn share(&mut self) -> anyhow::Result<()> {
        self.reconciler.share()?;
        self.events = Some(self.reconciler.learn_events()?);
        self.follow_index();
        Ok(())
    }

    /// The node may be another one than it was.
    pub(super) fn follow_index(&mut self) {
        let to_do = self.addresses.follow(self.reconciler.index());
        self.bring_in(&to_do);
    }

    /// The programs have learned something.
    pub(super) fn heard(&mut self, events: io::Result<Vec<MacLocation>>) {
        match events {
            Ok(all) => all.iter().for_each(|location| self.addresses.heard(location)),
            Err(error) => {
                warn!(%error, "the learn events can't be read; new addresses are found when the FDB is walked through");
                self.events = None;
            }
        }
        self.say();
    }

    /// Something came by the stream of addresses, or became of it.
    pub(super) fn exchange(&mut self, event: Shared) {
        match event {
            Shared::Begins(to) => {
                self.addresses.begin();
                self.to = Some(to);
            }
            Shared::Ends => {
                self.addresses.end();
                self.to = None;
            }
            Shared::There(there) => {
                // A controller that leads no more is left by the other stream.
                if self.remote.as_ref().is_some_and(|remote| there.term < remote.term()) {
                    return;
                }
                let to_do = self.addresses.take(there);
                self.bring_in(&to_do);
            }
        }
        self.say();
    }

    /// What was purged is published no more, and not believed.
    pub(super) fn purged(&mut self, purges: &[(String, PurgeTarget)], revision: u64) {
        for (segment, place) in purges {
            match place {
                PurgeTarget::Port(port) => self.addresses.purge_port(segment, port),
                PurgeTarget::Remote(remote) => {
                    self.addresses.purge_remote(segment, *remote, revision)
                }
            }
        }
    }

    /// Whether there is something to say to somebody.
    pub(super) fn has_unsaid(&self) -> bool {
        self.to.is_some() && self.addresses.has_unsaid()
    }

    /// Says what can be said now.
    pub(super) fn say(&mut self) {
        let (Some(to), Some(remote)) = (&self.to, &self.remote) else { return };
        let applied = remote.applied();
        while let Ok(place) = to.try_reserve() {
            let Some(here) = self.addresses.say(applied, Instant::now()) else { return };
            place.send(here);
        }
    }

    /// What others have learned. One that fails does not keep the rest.
    fn bring_in(&mut self, ToDo { learn, remove, bind, unbind }: &ToDo) {
        let injected = self.reconciler.inject_all(learn);
        self.note(injected);
        let removed = self.reconciler.withdraw(remove).map(drop);
        self.note(removed);
        let newer = self.reconciler.bind(bind, |bound| self.addresses.is_newer(bound));
        let bound = newer.map(|newer| self.addresses.moved_bound(bind, &newer));
        self.note(bound);
        let unbound = self.reconciler.unbind(unbind);
        self.note(unbound);
    }

    fn note(&self, result: Result<(), DataplaneError>) {
        if let Err(error) = result {
            warn!(%error, "what others have learned can't be brought into the maps");
        }
    }
}

impl super::Reconciler {
    /// As if a frame had come from each.
    fn inject_all(&mut self, all: &[MacLocation]) -> Result<(), DataplaneError> {
        if all.is_empty() { Ok(()) } else { self.inject(all, How::Learn) }
    }
}
