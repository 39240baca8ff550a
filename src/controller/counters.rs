//! What attachments have counted, as their nodes say: the newest only, in memory only. A controller
//! that does not lead hears of none, and a new leader is told all anew.
//!
//! A node speaks for its own attachments, by port, encapsulation and segment: what it says of one
//! that is not there at the newest revision is not kept, so that there are no more than
//! attachments, and what was counted for one operator is never shown to the next.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    fabric::{self, Body, Event, Key, Owned, PortKey, State},
    model::Encap,
};

/// What an attachment has counted since its node made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Counters {
    /// When its node last said something new of them.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// Frames received from it.
    pub in_frames: u64,
    /// Bytes received from it.
    pub in_bytes: u64,
    /// Frames sent to it.
    pub out_frames: u64,
    /// Bytes sent to it.
    pub out_bytes: u64,
    /// Its questions that were answered for others.
    pub answered: Answered,
    /// Its frames that were dropped, by reason.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub dropped: BTreeMap<&'static str, u64>,
    /// What its profile made of frames from it, while it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_colours: Option<Colours>,
    /// What its profile made of frames to it, while it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_colours: Option<Colours>,
    /// Its addresses.
    pub macs: Macs,
}

/// What a profile made of frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Colours {
    /// Guaranteed.
    pub green: Tally,
    /// Carried as long as there was room.
    pub yellow: Tally,
    /// Dropped.
    pub red: Tally,
}

/// So many frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Tally {
    /// Frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Addresses that were learned at an attachment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Macs {
    /// How many it has now, beside those that are configured.
    pub learned: u64,
    /// Frames whose source was not learned, since it had as many as it may.
    pub refused: u64,
}

/// Questions that were answered for others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Answered {
    /// ARP requests.
    pub arp: u64,
    /// IPv6 neighbour solicitations.
    pub nd: u64,
}

/// What a node says of an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    pub port: PortKey,
    /// Its encapsulation.
    pub encap: Encap,
    pub segment: Owned,
    /// What it has counted.
    pub counters: Counters,
}

/// Those of all attachments. Copies are one.
#[derive(Debug, Clone, Default)]
pub struct Newest(Arc<Mutex<HashMap<Owned, Counted>>>);

impl Newest {
    fn all(&self) -> MutexGuard<'_, HashMap<Owned, Counted>> {
        // Nothing that can panic happens under it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node has said something. `state` is asked for the newest one while nobody follows what
    /// changes: so nothing stays that is removed just now.
    pub fn hear(&self, state: impl FnOnce() -> State, said: Vec<Counted>) {
        let mut all = self.all();
        let state = state();
        for counted in said {
            let Counted { port, encap, segment, .. } = &counted;
            if let Some(attachment) = fabric::attachment_at(&state, port, *encap, segment) {
                all.insert(attachment.clone(), counted);
            }
        }
    }

    /// What an attachment has counted, as it is in this state.
    pub fn of(&self, attachment: &Owned, state: &State) -> Option<Counters> {
        let all = self.all();
        let counted = all.get(attachment).filter(|counted| is_of(counted, attachment, state))?;
        Some(counted.counters.clone())
    }

    /// Attachments that are others now, or are there no more, have counted nothing; `state` has
    /// these events behind it.
    pub fn follow(&self, state: &State, events: &[Event]) {
        let was = |event: &Event| {
            matches!(event.before.as_deref().map(|object| &object.body), Some(Body::Attachment(_)))
        };
        let mut all = self.all();
        for event in events.iter().filter(|event| was(event)) {
            let Key::Attachment(owned) = &event.key else { continue };
            if all.get(owned).is_some_and(|counted| !is_of(counted, owned, state)) {
                all.remove(owned);
            }
        }
    }

    /// As [`Self::follow`], of events that are not known.
    pub fn renew(&self, state: &State) {
        self.all().retain(|attachment, counted| is_of(counted, attachment, state));
    }
}

/// Whether it is still the same attachment that was spoken of.
fn is_of(counted: &Counted, attachment: &Owned, state: &State) -> bool {
    let Counted { port, encap, segment, .. } = counted;
    fabric::attachment_at(state, port, *encap, segment) == Some(attachment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::{Actor, Change, Expect, LeaseStep, Transaction, transact};

    fn put(key: &str, spec: &str) -> Change {
        let key: Key = key.parse().unwrap();
        let spec = format!(r#"{{"kind":"{}","spec":{spec}}}"#, key.kind());
        Change::Put(key, serde_json::from_str(&spec).unwrap(), Expect::Any)
    }

    fn owned(operator: &str, name: &str) -> Owned {
        Owned { operator: operator.parse().unwrap(), name: name.parse().unwrap() }
    }

    fn does(state: &State, changes: Vec<Change>) -> (State, Vec<Event>) {
        let when = Timestamp::from_second(1_000_000).unwrap();
        let outcome =
            transact(state, &Transaction { who: Actor::Owner, when, seed: 7, changes }).unwrap();
        (outcome.state, outcome.events)
    }

    /// Alder has p1 of edge1, untagged, in its segment; birch has an offer of the same server.
    fn site() -> State {
        let changes = vec![
            put("operator/alder", r#"{"vnis":[[100,105]]}"#),
            put("operator/birch", r#"{"vnis":[[200,209]]}"#),
            put("node/edge1", r#"{"vtep":["10.99.0.1"]}"#),
            put("port/edge1/p1", r#"{"role":"access"}"#),
            put("server/s1", r#"{"ports":["edge1/p1"]}"#),
            put("lease/alder/l1", r#"{"server":"s1"}"#),
            Change::Lease(owned("alder", "l1"), LeaseStep::Accept),
            put("segment/alder/lan", r#"{"service":"lan"}"#),
            put("segment/birch/lan", r#"{"service":"lan"}"#),
            put("attachment/alder/a1", r#"{"segment":"lan","port":"edge1/p1","encap":"untagged"}"#),
        ];
        does(&State::default(), changes).0
    }

    fn said(node: &str, encap: &str, operator: &str, in_frames: u64) -> Vec<Counted> {
        let (in_bytes, out_frames, out_bytes) = (0, 0, 0);
        let at = Timestamp::UNIX_EPOCH;
        let (in_colours, out_colours, macs) = (None, None, Macs::default());
        let (answered, dropped) = (Answered::default(), BTreeMap::new());
        let counters = Counters {
            at,
            in_frames,
            in_bytes,
            out_frames,
            out_bytes,
            answered,
            dropped,
            in_colours,
            out_colours,
            macs,
        };
        vec![Counted {
            port: PortKey { node: node.parse().unwrap(), port: "p1".parse().unwrap() },
            encap: encap.parse().unwrap(),
            segment: owned(operator, "lan"),
            counters,
        }]
    }

    #[test]
    fn the_newest_is_kept_of_what_is_attached_and_nothing_of_what_is_not() {
        let (state, newest, a1) = (site(), Newest::default(), owned("alder", "a1"));
        newest.hear(|| state.clone(), said("edge1", "untagged", "alder", 5));
        newest.hear(|| state.clone(), said("edge1", "untagged", "alder", 7));
        for strange in [
            said("edge2", "untagged", "alder", 1),
            said("edge1", "dot1q 5", "alder", 1),
            said("edge1", "untagged", "birch", 1),
        ] {
            newest.hear(|| state.clone(), strange);
        }
        assert_eq!(newest.of(&a1, &state).map(|counters| counters.in_frames), Some(7));
        assert_eq!(newest.all().len(), 1);
    }

    #[test]
    fn what_was_counted_for_one_operator_goes_with_its_attachment() {
        let (state, newest, a1) = (site(), Newest::default(), owned("alder", "a1"));
        newest.hear(|| state.clone(), said("edge1", "untagged", "alder", 5));
        let gone = Change::Delete(Key::Attachment(a1.clone()), Expect::Any);
        let again = r#"{"segment":"lan","port":"edge1/p1","encap":"dot1q 9"}"#;
        let (moved, events) = does(&state, vec![gone.clone(), put("attachment/alder/a1", again)]);
        // Also before the events are followed.
        assert_eq!(newest.of(&a1, &moved), None);
        newest.follow(&moved, &events);
        assert!(newest.all().is_empty());

        newest.hear(|| state.clone(), said("edge1", "untagged", "alder", 5));
        let (after, events) = does(&state, vec![gone]);
        assert_eq!(newest.of(&a1, &after), None);
        newest.follow(&after, &events);
        assert!(newest.all().is_empty());
        // What its node says too late.
        newest.hear(|| after.clone(), said("edge1", "untagged", "alder", 6));
        assert!(newest.all().is_empty());

        newest.hear(|| state.clone(), said("edge1", "untagged", "alder", 5));
        newest.renew(&after);
        assert!(newest.all().is_empty());
    }

    #[test]
    fn what_else_is_asked_of_an_attachment_does_not_take_its_counters() {
        let (state, newest, a1) = (site(), Newest::default(), owned("alder", "a1"));
        newest.hear(|| state.clone(), said("edge1", "untagged", "alder", 5));
        let spec =
            r#"{"segment":"lan","port":"edge1/p1","encap":"untagged","guards":{"mac_limit":9}}"#;
        let (state, events) = does(&state, vec![put("attachment/alder/a1", spec)]);
        assert!(!events.is_empty());
        newest.follow(&state, &events);
        assert_eq!(newest.of(&a1, &state).map(|counters| counters.in_frames), Some(5));
    }
}
