//! Connections that have yet to show a certificate. Each takes a slot, and anybody can open one. So
//!
//! - a source address has few slots, and an unfinished handshake there makes room for the next
//!   one: the oldest is evicted first, but not within its first [`MOMENT`]. All agents of a site
//!   may come from one address at once, and are identified within it.
//! - if all slots are taken, the source that has most of them loses its oldest.
//!
//! Whoever has shown a certificate of the fabric gives its slot back: its connections are counted
//! by identity ([`SlotsByIdentity`]).
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
pub struct Admission {
    most: usize,
    of_one: usize,
    moment: Duration,
    here: Arc<Mutex<Here>>,
}

/// Who is here, by when he came.
#[derive(Debug, Default)]
struct Here {
    next: u64,
    all: BTreeMap<u64, Handshake>,
    of: HashMap<Source, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Handshake {
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
pub struct HandshakeSlot {
    admission: Admission,
    number: u64,
    go: CancellationToken,
}

impl Admission {
    /// So many places, and so many of one source.
    pub fn new(most: u32, of_one: u32) -> Self {
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX).max(1);
        Self { most: count(most), of_one: count(of_one), moment: MOMENT, here: Arc::default() }
    }

    /// Somebody comes, and takes a place, if need be another's.
    pub fn enter(&self, from: IpAddr) -> HandshakeSlot {
        let (source, go, mut here) = (from.into(), CancellationToken::new(), self.here());
        here.evict(source, self.of_one - 1, self.moment);
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
        here.all.insert(number, Handshake { source, since: Instant::now(), go: go.clone() });
        HandshakeSlot { admission: self.clone(), number, go }
    }

    fn here(&self) -> MutexGuard<'_, Here> {
        // Nothing that can panic happens under it.
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Here {
    /// Of a source, all but so many go, the oldest first, as far as they have been here for a
    /// moment.
    fn evict(&mut self, source: Source, but: usize, moment: Duration) {
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

impl HandshakeSlot {
    /// Returns when somebody else needs the place.
    pub async fn evicted(&self) {
        if tokio::time::timeout(self.admission.moment, self.go.cancelled()).await.is_err() {
            let mut here = self.admission.here();
            if let Some(source) = here.all.get(&self.number).map(|visitor| visitor.source) {
                here.evict(source, self.admission.of_one, self.admission.moment);
            }
        }
        self.go.cancelled().await;
    }
}

impl Drop for HandshakeSlot {
    fn drop(&mut self) {
        self.admission.here().remove(self.number);
    }
}

/// Identities of which the places are remembered, before those that have none taken are forgotten.
/// Whoever has a certificate can be one, and nobody else.
pub const MANY: usize = 1024;

/// Slots that are counted by identity.
#[derive(Debug)]
pub struct SlotsByIdentity {
    most: u32,
    taken: Mutex<HashMap<Identity, Arc<Semaphore>>>,
}

impl SlotsByIdentity {
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
        let admission = Admission { moment: Duration::from_millis(200), ..Admission::new(100, 2) };
        let other = admission.enter(source("2001:db8:0:1::1"));
        // One network, however it is written.
        let own: Vec<HandshakeSlot> =
            (1..=4).map(|host| admission.enter(source(&format!("2001:db8::{host}")))).collect();
        assert!(own.iter().all(|visit| !visit.go.is_cancelled()), "all have their moment");
        tokio::time::timeout(Duration::from_secs(20), own[0].evicted()).await.unwrap();
        // They came one after the other, and go so.
        tokio::time::timeout(Duration::from_secs(20), own[1].evicted()).await.unwrap();
        assert_eq!(
            own.iter().map(|visit| visit.go.is_cancelled()).collect::<Vec<_>>(),
            [true, true, false, false]
        );
        let _next = admission.enter(source("2001:db8::5"));
        assert!(own[2].go.is_cancelled() && !own[3].go.is_cancelled());
        assert!(!other.go.is_cancelled());
    }

    #[test]
    fn if_all_is_full_who_has_most_gives_its_oldest_and_who_leaves_gives_its_own() {
        let admission = Admission::new(4, 4);
        let many: Vec<HandshakeSlot> =
            (0..3).map(|_| admission.enter(source("192.0.2.1"))).collect();
        let one = admission.enter(source("::ffff:192.0.2.2"));
        let next = admission.enter(source("192.0.2.2"));
        assert!(many[0].go.is_cancelled() && !many[1].go.is_cancelled() && !one.go.is_cancelled());
        drop((many, one, next));
        let here = admission.here();
        assert!(here.all.is_empty() && here.of.is_empty());
    }

    #[test]
    fn places_come_back_and_are_forgotten() {
        let places = SlotsByIdentity::new(1);
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
