//! The agent's side of address sync: from the learn events of the programs and the FDB to the
//! controller, and from there into the FDB.
#![forbid(unsafe_code)]

use std::{io, time::Instant};

use sillon_abi::MacLocation;
use tracing::warn;

use super::{
    Agent, addresses::ToDo, reconciler::PurgeTarget, remote::SyncEvent, upstream::Followed,
};
use crate::dataplane::{DataplaneError, inject::How};

impl Agent {
    /// Follows the tables, which may have changed.
    pub(super) fn follow_index(&mut self) {
        let to_do = self.addresses.follow(self.reconciler.index());
        self.apply_published(&to_do);
    }

    /// Records what the programs have learned.
    pub(super) fn record(&mut self, events: io::Result<Vec<MacLocation>>) {
        match events {
            Ok(all) => all.iter().for_each(|location| self.addresses.record(location)),
            Err(error) => {
                warn!(%error, "the learn events can't be read; new addresses are found when the \
                               FDB is walked through");
                if let Some(followed) = self.upstream.followed_mut() {
                    followed.events = None;
                }
            }
        }
        self.publish();
    }

    /// An event of the address stream.
    pub(super) fn sync_addresses(&mut self, event: SyncEvent) {
        let Some(followed) = self.upstream.followed_mut() else { return };
        match event {
            SyncEvent::Connected(to) => {
                self.addresses.begin();
                followed.publish_to = Some(to);
            }
            SyncEvent::Disconnected => {
                self.addresses.end();
                followed.publish_to = None;
            }
            SyncEvent::Published(there) => {
                // A controller that leads no more is left by the other stream.
                if there.term < followed.remote.term() {
                    return;
                }
                let to_do = self.addresses.accept(there);
                self.apply_published(&to_do);
            }
        }
        self.publish();
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

    /// Whether there is something to publish, and somebody to publish it to.
    pub(super) fn has_unpublished(&self) -> bool {
        let followed = self.upstream.followed();
        followed.is_some_and(|followed| followed.publish_to.is_some())
            && self.addresses.has_unpublished()
    }

    /// Publishes what can be published now.
    pub(super) fn publish(&mut self) {
        let Some(Followed { remote, publish_to: Some(to), .. }) = self.upstream.followed() else {
            return;
        };
        let applied = remote.applied();
        while let Ok(place) = to.try_reserve() {
            let Some(here) = self.addresses.publish(applied, Instant::now()) else { return };
            place.send(here);
        }
    }

    /// Brings what other nodes have published into the maps. One that fails does not keep the rest.
    fn apply_published(&mut self, ToDo { learn, remove, bind, unbind }: &ToDo) {
        let injected = self.reconciler.inject(learn, How::Learn);
        warn_of(injected);
        let removed = self.reconciler.withdraw(remove).map(drop);
        warn_of(removed);
        let newer = self.reconciler.bind(bind, |bound| self.addresses.is_newer(bound));
        let bound = newer.map(|newer| self.addresses.moved_bindings(bind, &newer));
        warn_of(bound);
        let unbound = self.reconciler.unbind(unbind);
        warn_of(unbound);
    }
}

fn warn_of(result: Result<(), DataplaneError>) {
    if let Err(error) = result {
        warn!(%error, "addresses of other nodes can't be written into the maps");
    }
}
