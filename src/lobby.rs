//! Connections of whom nobody knows yet who it is. They cost a place each, and anybody can make
//! them; so
//!
//! - a source address has few places, and who comes to no end with TLS there makes room for who
//!   comes next: the oldest goes first. Only one that has been here for a [`MOMENT`] has to go for
//!   that: all agents of a site may come from one address at once, and are gone from here within
//!   it.
//! - if all places are taken, the source that has most of them gives its oldest.
//!
//! Who has shown a certificate of the fabric is no longer here: its connections are counted by
//! identity ([`Places`]).
#![forbid(unsafe_code)]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::identity::Identity;

/// How long anybody may take to show a certificate, whoever else comes.
const MOMENT: Duration = Duration::from_millis(500);

/// The places of a listener.
#[derive(Debug, Clone)]
pub struct Lobby {
    most: usize,
    of_one: usize,
    moment: Duration,
    here: Arc<Mutex<Here>>,
}

/// Who is here, by when he came.
#[derive(Debug, Default)]
struct Here {
    next: u64,
    all: BTreeMap<u64, Visitor>,
    of: HashMap<Source, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Visitor {
    source: Source,
    since: Instant,
    go: CancellationToken,
}

/// Where somebody comes from. Of IPv6 it is the network: whoever has one address of it has all (RFC
/// 4291 section 2.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
            v4 => v4,
        })
    }
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub struct Visit {
    lobby: Lobby,
    number: u64,
    go: CancellationToken,
}

impl Lobby {
    /// So many places, and so many of one source.
    pub fn new(most: u32, of_one: u32) -> Self {
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX).max(1);
        Self { most: count(most), of_one: count(of_one), moment: MOMENT, here: Arc::default() }
    }

    /// Somebody comes, and takes a place, if need be another's.
    pub fn enter(&self, from: IpAddr) -> Visit {
        let (source, go, mut here) = (from.into(), CancellationToken::new(), self.here());
        here.send_away(source, self.of_one - 1, self.moment);
        while here.all.len() >= self.most {
            let Some(oldest) =
                here.of.values().max_by_key(|own| own.len()).and_then(BTreeSet::first).copied()
            else {
                break;
            };
            here.remove(oldest);
        }
        let number = here.next;
        here.next += 1;
        here.of.entry(source).or_default().insert(number);
        here.all.insert(number, Visitor { source, since: Instant::now(), go: go.clone() });
        Visit { lobby: self.clone(), number, go }
    }

    fn here(&self) -> MutexGuard<'_, Here> {
        // Nothing that can panic happens under it.
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Here {
    /// Of a source, all but so many go, the oldest first, as far as they have been here for a
    /// moment.
    fn send_away(&mut self, source: Source, but: usize, moment: Duration) {
        while let Some(own) = self.of.get(&source)
            && own.len() > but
            && let Some(oldest) = own.first().copied()
            && self.all.get(&oldest).is_none_or(|visitor| visitor.since.elapsed() >= moment)
        {
            self.remove(oldest);
        }
    }

    fn remove(&mut self, number: u64) {
        let Some(visitor) = self.all.remove(&number) else { return };
        visitor.go.cancel();
        if let Some(own) = self.of.get_mut(&visitor.source) {
            own.remove(&number);
            if own.is_empty() {
                self.of.remove(&visitor.source);
            }
        }
    }
}

impl Visit {
    /// Returns when somebody else needs the place.
    pub async fn sent_away(&self) {
        if tokio::time::timeout(self.lobby.moment, self.go.cancelled()).await.is_err() {
            let mut here = self.lobby.here();
            if let Some(source) = here.all.get(&self.number).map(|visitor| visitor.source) {
                here.send_away(source, self.lobby.of_one, self.lobby.moment);
            }
        }
        self.go.cancelled().await;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.lobby.here().remove(self.number);
    }
}

/// Identities of which the places are remembered, before those that have none taken are forgotten.
/// Whoever has a certificate can be one, and nobody else.
pub const MANY: usize = 1024;

/// Places that are counted by identity.
#[derive(Debug)]
pub struct Places {
    most: u32,
    taken: Mutex<HashMap<Identity, Arc<Semaphore>>>,
}

impl Places {
    /// So many for each.
    pub fn new(most: u32) -> Self {
        Self { most, taken: Mutex::default() }
    }

    /// A place, if there is one; it is given back when it is dropped.
    pub fn take(&self, who: &Identity) -> Option<OwnedSemaphorePermit> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() > MANY {
            // Who has a place keeps the semaphore alive by it.
            taken.retain(|_, places| Arc::strong_count(places) > 1);
        }
        let places = taken
            .entry(who.clone())
            .or_insert_with(|| Arc::new(Semaphore::new(self.most as usize)));
        Arc::clone(places).try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn the_oldest_of_a_source_goes_first_once_it_had_its_moment() {
        let lobby = Lobby { moment: Duration::from_millis(200), ..Lobby::new(100, 2) };
        let other = lobby.enter(source("2001:db8:0:1::1"));
        // One network, however it is written.
        let own: Vec<Visit> =
            (1..=4).map(|host| lobby.enter(source(&format!("2001:db8::{host}")))).collect();
        assert!(own.iter().all(|visit| !visit.go.is_cancelled()), "all have their moment");
        tokio::time::timeout(Duration::from_secs(20), own[0].sent_away()).await.unwrap();
        // They came one after the other, and go so.
        tokio::time::timeout(Duration::from_secs(20), own[1].sent_away()).await.unwrap();
        assert_eq!(
            own.iter().map(|visit| visit.go.is_cancelled()).collect::<Vec<_>>(),
            [true, true, false, false]
        );
        let _next = lobby.enter(source("2001:db8::5"));
        assert!(own[2].go.is_cancelled() && !own[3].go.is_cancelled());
        assert!(!other.go.is_cancelled());
    }

    #[test]
    fn if_all_is_full_who_has_most_gives_its_oldest_and_who_leaves_gives_its_own() {
        let lobby = Lobby::new(4, 4);
        let many: Vec<Visit> = (0..3).map(|_| lobby.enter(source("192.0.2.1"))).collect();
        let one = lobby.enter(source("::ffff:192.0.2.2"));
        let next = lobby.enter(source("192.0.2.2"));
        assert!(many[0].go.is_cancelled() && !many[1].go.is_cancelled() && !one.go.is_cancelled());
        drop((many, one, next));
        let here = lobby.here();
        assert!(here.all.is_empty() && here.of.is_empty());
    }

    #[test]
    fn places_come_back_and_are_forgotten() {
        let places = Places::new(1);
        let who = |index: usize| format!("operator/o{index}").parse::<Identity>().unwrap();
        let first = places.take(&who(0)).unwrap();
        assert!(places.take(&who(0)).is_none() && places.take(&who(1)).is_some());
        for index in 2..3 * MANY {
            drop(places.take(&who(index)).unwrap());
        }
        assert!(places.taken.lock().unwrap().len() <= MANY + 1);
        assert!(places.take(&who(0)).is_none(), "a place that is taken is not forgotten");
        drop(first);
        assert!(places.take(&who(0)).is_some());
    }
}
