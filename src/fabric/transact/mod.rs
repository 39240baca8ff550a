//! From one revision of the fabric to the next.
//!
//! The changes of a transaction are made in their order on a copy; then follows what they entail
//! (tombstones, the life of leases); then every rule is asked that concerns what was touched. One
//! that does not hold refuses the whole transaction. So two changes that only agree together are
//! made together, and no revision breaks a rule.

mod leases;
mod progress;
mod refused;
mod reports;
mod rules;
mod tombstones;
mod trials;

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use litemap::LiteMap;
use serde::{Deserialize, Serialize};

use self::refused::{Help, refuse};
pub use self::{
    refused::{Refused, Rule},
    reports::{LeftOut, Report, Seen},
};
use super::{
    Key, Owned,
    object::{Attachment, Body, Condition, ConditionKind, Node, Object, Revision, Segment},
    spec::{EncapWish, Grant, Spec},
    state::{State, Target},
};
use crate::model::{Encap, Name, VlanId, Vni};

/// Who asks for a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Actor {
    /// The owner of the fabric.
    Owner,
    Operator(Name),
    Node(Name),
    /// The controller, as time passes.
    Controller,
}

/// What an object must be for a change to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// Anything.
    Any,
    /// Not there.
    Absent,
    /// There, and last changed at this revision.
    At(Revision),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// An object shall be there, and be this.
    Put(Key, Spec, Expect),
    /// An object shall not be there.
    Delete(Key, Expect),
    /// A lease goes on.
    Lease(Owned, LeaseStep),
    /// A server leaves the operator that has it, at once and wholly, and is offered under a new
    /// lease.
    Transfer {
        server: Name,
        /// The new lease.
        to: Owned,
    },
    /// The owner says that a node's machine is gone for good: what it has yet to confirm, nobody
    /// waits for.
    Forget { node: Name },
    /// An agent tells what it did.
    Report(Report),
    /// Time has passed.
    Tick,
    /// All of this transaction is taken back after so many seconds, unless it is confirmed.
    Trial {
        /// Whose transaction it is: the owner's, or an operator's.
        of: Option<Name>,
        /// How long it may last.
        seconds: u32,
    },
    /// What somebody has on trial stays.
    Confirm(Option<Name>),
    /// What somebody has on trial is taken back.
    RollBack(Option<Name>),
    /// Taking it back was refused, for this reason.
    Hold(Option<Name>, String),
}

/// How a lease goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaseStep {
    /// The operator takes the offer.
    Accept,
    /// It ends: what is attached may stay until then. An offer is withdrawn.
    Drain(Timestamp),
    /// The owner ends the quarantine, once the nodes have confirmed.
    Confirm,
}

/// Changes that are made together, or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Transaction {
    pub who: Actor,
    pub when: Timestamp,
    /// What numbers are drawn by.
    pub seed: u64,
    /// What is asked, in this order.
    pub changes: Vec<Change>,
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    pub key: Key,
    /// What it was before.
    pub before: Option<Arc<Object>>,
    pub after: Option<Arc<Object>>,
}

/// What a transaction did.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The next state. It has the revision of the one before if nothing changed.
    pub state: State,
    /// What changed, in the order of the keys.
    pub events: Vec<Event>,
}

/// Returns the state that these objects are, as [`State::restore`] does, of objects that anybody
/// may have written: every rule is asked of all of them.
///
/// # Errors
/// The first rule that does not hold, and the objects that break it.
pub fn restore_checked(
    revision: Revision,
    objects: impl IntoIterator<Item = (Key, Object)>,
) -> Result<State, Refused> {
    let state = State::restore(revision, objects);
    rules::check_whole(&state)?;
    Ok(state)
}

/// The next state, or why there is none. What is asked again changes nothing.
///
/// # Errors
/// The first rule that does not hold.
pub fn transact(state: &State, transaction: &Transaction) -> Result<Outcome, Refused> {
    let mut next = state.clone();
    next.revision = Revision(state.revision.0 + 1);
    let rng = fastrand::Rng::with_seed(transaction.seed);
    let trial = trials::Wish::read(&transaction.changes)?;
    let mut tx = Tx { before: state, next, when: transaction.when, rng, touched: BTreeSet::new() };
    for change in &transaction.changes {
        tx.change(change, &transaction.who)?;
    }
    tx.settle(trial)?;
    let events: Vec<Event> = tx.events();
    let state = if events.is_empty() { state.clone() } else { tx.next };
    Ok(Outcome { state, events })
}

/// A transaction under way.
struct Tx<'s> {
    before: &'s State,
    next: State,
    when: Timestamp,
    rng: fastrand::Rng,
    /// What was asked to change, rather than only reported of.
    touched: BTreeSet<Key>,
}

impl Tx<'_> {
    fn change(&mut self, change: &Change, who: &Actor) -> Result<(), Refused> {
        match change {
            Change::Put(key, spec, expect) => {
                self.expect(key, *expect)?;
                self.put(key, spec)
            }
            Change::Delete(key, expect) => {
                self.expect(key, *expect)?;
                self.delete(key)
            }
            Change::Lease(key, step) => self.step(key, *step),
            Change::Transfer { server, to } => self.transfer(server, to),
            Change::Forget { node } => self.forget(node),
            Change::Report(report) => self.report(report),
            Change::Tick => {
                self.tick();
                Ok(())
            }
            // It is remembered when all is done.
            Change::Trial { .. } => Ok(()),
            Change::Confirm(of) => self.confirm(of.as_ref()),
            Change::RollBack(of) => self.roll_back(of.as_ref(), who),
            Change::Hold(of, why) => self.hold(of.as_ref(), why),
        }
    }

    fn expect(&self, key: &Key, expect: Expect) -> Result<(), Refused> {
        let is = self.before.get(key).map(|object| object.revision);
        let holds = match expect {
            Expect::Any => true,
            Expect::Absent => is.is_none(),
            Expect::At(revision) => is == Some(revision),
        };
        if holds {
            return Ok(());
        }
        let is = is.map_or("is not there".to_owned(), |revision| {
            format!("was last changed at revision {revision}")
        });
        refuse(
            Rule::Changed,
            format!("{key} {is}"),
            "look at it again, and repeat the change if it still makes sense",
            [key],
        )
    }

    fn put(&mut self, key: &Key, spec: &Spec) -> Result<(), Refused> {
        let other_kind = || {
            let message = format!("{key} can't be a {}", spec.kind());
            refuse(Rule::Spec, message, "give the spec of the object's own kind", [key])
        };
        if spec.kind() != key.kind() {
            return other_kind();
        }
        spec.check()
            .or_else(|invalid| refuse(Rule::Spec, invalid.to_string(), invalid.help(), [key]))?;
        rules::name(key)?;
        let body = match (key, spec) {
            (_, Spec::Operator(spec)) => Body::Operator { spec: spec.clone() },
            (Key::Node(name), Spec::Node(spec)) => {
                // A node that is gone stays so: what is applied again and again must not bring it
                // back.
                let is = self.next.node(name).cloned();
                Body::Node(Node {
                    spec: spec.clone(),
                    ..is.unwrap_or_else(|| Node::new(spec.clone()))
                })
            }
            (_, Spec::Port(spec)) => Body::Port { spec: spec.clone() },
            (_, Spec::Server(spec)) => Body::Server { spec: spec.clone() },
            (_, Spec::Profile(spec)) => Body::Profile { spec: spec.clone() },
            (Key::Lease(owned), Spec::Lease(spec)) => Body::Lease(self.offer(owned, spec)?),
            (Key::Segment(owned), Spec::Segment(spec)) => {
                let vni = self.vni(owned, spec.vni)?;
                Body::Segment(Segment { spec: spec.clone(), vni })
            }
            (Key::Attachment(owned), Spec::Attachment(spec)) => {
                let encap = self.encap(owned, spec)?;
                Body::Attachment(Attachment { spec: (**spec).clone(), encap })
            }
            // The kinds were compared above.
            _ => return other_kind(),
        };
        self.set(key, body);
        Ok(())
    }

    fn delete(&mut self, key: &Key) -> Result<(), Refused> {
        if key.kind() == super::Kind::Trial {
            let message = format!("{key} goes when it is confirmed or rolled back");
            return refuse(Rule::Spec, message, "do one of these", [key]);
        }
        if key.kind() == super::Kind::Tombstone {
            return refuse(
                Rule::Spec,
                format!("{key} goes when its node has confirmed"),
                "see to it that the node's agent runs",
                [key],
            );
        }
        if let Key::Lease(owned) = key {
            self.may_forget(owned)?;
        }
        if self.next.get(key).is_some() {
            self.touched.insert(key.clone());
            self.next.set(key.clone(), None);
        }
        Ok(())
    }

    /// What is asked of an object changes, unless it is the same.
    fn set(&mut self, key: &Key, body: Body) {
        let old = self.next.get(key).cloned();
        if old.as_ref().is_some_and(|old| old.body == body) {
            return;
        }
        let mut conditions = old.map_or_else(LiteMap::new, |old| old.conditions.clone());
        let condition = |is, why: &str| Condition { is, since: self.when, why: why.to_owned() };
        conditions
            .entry(ConditionKind::Accepted)
            .or_insert_with(|| condition(true, "it keeps every rule"));
        match &body {
            // Who is waited for is told once all is done.
            Body::Segment(_) => {
                conditions.insert(ConditionKind::Programmed, condition(false, progress::UNUSED));
            }
            Body::Attachment(attachment) => {
                let why = progress::not_applied(&attachment.spec.port.node);
                conditions.insert(ConditionKind::Programmed, condition(false, &why));
            }
            _ => {}
        }
        self.touched.insert(key.clone());
        let object = Object { revision: self.next.revision, conditions, body };
        self.next.set(key.clone(), Some(Arc::new(object)));
    }

    /// What is known of an object changes, unless it is the same.
    fn note(&mut self, key: &Key, kind: ConditionKind, is: bool, why: &str) {
        let Some(old) = self.next.get(key) else { return };
        if old.conditions.get(&kind).is_some_and(|old| old.is == is && old.why == why) {
            return;
        }
        let mut object = Object::clone(old);
        let since = object
            .conditions
            .get(&kind)
            .filter(|old| old.is == is)
            .map_or(self.when, |old| old.since);
        object.conditions.insert(kind, Condition { is, since, why: why.to_owned() });
        self.next.set(key.clone(), Some(Arc::new(object)));
        self.touched.insert(key.clone());
    }

    /// The VNI that a segment gets: what is asked, what it has, or a free one of its operator's at
    /// random.
    fn vni(&mut self, owned: &Owned, asked: Option<Vni>) -> Result<Vni, Refused> {
        if let Some(vni) = asked.or_else(|| self.next.segment(owned).map(|segment| segment.vni)) {
            return Ok(vni);
        }
        let pool = self
            .next
            .operator(&owned.operator)
            .map(|operator| operator.vnis.clone())
            .unwrap_or_default();
        let next = &self.next;
        let mut free = pool
            .shuffled(&mut self.rng)
            .filter_map(|number| Vni::new(number).ok())
            .filter(|vni| next.at(Target::Vni(*vni)).next().is_none());
        match free.next() {
            Some(vni) => Ok(vni),
            None => refuse(
                Rule::Vni,
                format!("no VNI of {} is free", owned.operator),
                Help::by_role(
                    "remove a segment and wait until its nodes have confirmed, or ask the owner \
                     for more VNIs",
                    format!(
                        "remove a segment and wait until its nodes have confirmed, or add to the \
                         vnis of operator/{}",
                        owned.operator
                    ),
                ),
                [&Key::Segment(owned.clone())],
            ),
        }
    }

    /// The encapsulation that an attachment gets: what is asked, what it has if that fits, or one
    /// with a free VID at random.
    fn encap(&mut self, owned: &Owned, spec: &super::AttachmentSpec) -> Result<Encap, Refused> {
        if let EncapWish::Given(encap) = spec.encap {
            return Ok(encap);
        }
        let old = self.next.attachment(owned).filter(|old| old.spec.port == spec.port);
        if let Some(old) = old.filter(|old| spec.encap.fits(old.encap)) {
            return Ok(old.encap);
        }
        let all = super::Ranges(vec![(VlanId::MIN.get().into(), VlanId::MAX.get().into())]);
        let grant = self.next.port(&spec.port).and_then(|port| port.grants.get(&owned.operator));
        let vids = if let Some(Grant::Vids(vids)) = grant { vids.clone() } else { all };
        let next = &self.next;
        let mut free = vids
            .shuffled(&mut self.rng)
            .filter_map(|number| VlanId::new(u16::try_from(number).ok()?).ok())
            .map(|vid| spec.encap.with(vid))
            .filter(|encap| !rules::taken_by_own(next, &spec.port, owned, *encap));
        match free.next() {
            Some(encap) => Ok(encap),
            None => refuse(
                Rule::Encap,
                format!("no VID is free on {}", spec.port),
                "detach something there and wait until its node has confirmed",
                [&Key::Attachment(owned.clone())],
            ),
        }
    }

    fn settle(&mut self, trial: Option<trials::Wish>) -> Result<(), Refused> {
        self.add_tombstones();
        self.progress_touched();
        self.explain_segments();
        self.name_the_awaited();
        if let Some(wish) = trial {
            self.remember(wish)?;
        }
        rules::check(self.before, &self.next, &self.touched)
    }

    fn events(&self) -> Vec<Event> {
        let all = self.touched.iter().map(|key| Event {
            key: key.clone(),
            before: self.before.get(key).cloned(),
            after: self.next.get(key).cloned(),
        });
        all.filter(|event| event.before != event.after).collect()
    }
}
