//! Transactions on trial: what one changed is taken back at its deadline, unless somebody has
//! confirmed it before.
//!
//! It is what NETCONF calls a confirmed commit (RFC 6241 section 8.4), with these differences,
//! which come from several people changing one fabric:
//!
//! - What is taken back are the objects that the transaction asked for, and not the whole
//!   configuration. **What somebody changed since stays as that left it**; all else is taken back,
//!   by one transaction, which keeps every rule or is not made.
//! - If a rule is against that (something else uses by now what would go), the trial stays, says
//!   why in its condition `Degraded`, and is tried again until the rule no longer is, or somebody
//!   confirms.
//! - It is kept with the fabric, so that it needs neither who asked for it nor the controller that
//!   made it.
//! - Another transaction does not confirm it. Each asker has one at a time, and a second one is
//!   refused rather than taken for an extension.
//!
//! Leases go forward only, so their steps can't be on trial.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{Actor, Change, Refused, Rule, Tx, refused::refuse};
use crate::{
    fabric::{
        Freed, Key, Kind, PortKey,
        object::{Body, ConditionKind, Lease, Node, Object, Restore, Trial},
    },
    model::Name,
};

/// What is asked besides, if a transaction is on trial.
pub(super) struct Wish {
    of: Option<Name>,
    seconds: u32,
    /// What it asks for.
    keys: Vec<Key>,
}

impl Wish {
    /// Whether these changes are on trial.
    ///
    /// # Errors
    /// One of them can't be taken back, or they say it twice.
    pub fn read(changes: &[Change]) -> Result<Option<Self>, Refused> {
        let mut trials = changes.iter().filter_map(|change| match change {
            Change::Trial { of, seconds } => Some((of, *seconds)),
            _ => None,
        });
        let Some((of, seconds)) = trials.next() else { return Ok(None) };
        let key = Key::Trial(of.clone());
        let help = "make this change by itself, without a deadline";
        if trials.next().is_some() {
            return refuse(Rule::Trial, "a transaction is on trial once", help, [&key]);
        }
        if !(1..=Trial::LONGEST).contains(&seconds) {
            let message = format!("a trial can't last {seconds} seconds");
            let help = format!("write 1 to {} seconds", Trial::LONGEST);
            return refuse(Rule::Trial, message, help, [&key]);
        }
        let mut keys = Vec::new();
        for change in changes {
            match change {
                Change::Delete(lease, _) if lease.kind() == Kind::Lease => {
                    return refuse(
                        Rule::Trial,
                        format!("{lease} would not come back as it is"),
                        help,
                        [&key, lease],
                    );
                }
                Change::Put(key, ..) | Change::Delete(key, _) => keys.push(key.clone()),
                Change::Trial { .. } => {}
                _ => {
                    let message =
                        "steps of leases, and what is reported or forgotten, can't be taken back";
                    return refuse(Rule::Trial, message, help, [&key]);
                }
            }
        }
        Ok(Some(Self { of: of.clone(), seconds, keys }))
    }
}

impl Tx<'_> {
    /// Remembers what the transaction changed; nothing is on trial if nothing changed.
    pub(super) fn remember(&mut self, wish: Wish) -> Result<(), Refused> {
        let key = Key::Trial(wish.of);
        if self.next.get(&key).is_some() {
            let message = format!("{key} is not over yet");
            return refuse(Rule::Trial, message, "confirm it or roll it back first", [&key]);
        }
        let restores = wish.keys.into_iter().filter_map(|key| {
            let (was, is) = (self.before.get(&key), self.next.get(&key));
            let changed = was.map(|object| &object.body) != is.map(|object| &object.body);
            let before = was.map(|object| object.body.clone());
            changed.then(|| (key, Restore { before, there: is.is_some() }))
        });
        let restores: BTreeMap<Key, Restore> = restores.collect();
        if restores.is_empty() {
            return Ok(());
        }
        let lasts = SignedDuration::from_secs(wish.seconds.into());
        let deadline = self.when.checked_add(lasts).unwrap_or(Timestamp::MAX);
        self.set(&key, Body::Trial(Trial { deadline, restores }));
        Ok(())
    }

    /// What is on trial stays.
    pub(super) fn confirm(&mut self, of: Option<&Name>) -> Result<(), Refused> {
        let (key, _) = self.trial(of)?;
        self.end(key);
        Ok(())
    }

    /// What is on trial is taken back, as far as nobody changed it since. The controller does so at
    /// the deadline, and everybody else when he asks for it.
    pub(super) fn roll_back(&mut self, of: Option<&Name>, who: &Actor) -> Result<(), Refused> {
        let (key, object) = self.trial(of)?;
        let Body::Trial(trial) = &object.body else { return Ok(()) };
        if *who == Actor::Controller && trial.deadline > self.when {
            let message = format!("{key} goes on until {}", trial.deadline);
            return refuse(Rule::Trial, message, "wait until then", [&key]);
        }
        let is_as_left = |(of, restore): &(&Key, &Restore)| {
            let is = self.next.get(of).map(|object| object.revision);
            is == restore.there.then_some(object.revision)
        };
        let all: Vec<(&Key, &Restore)> = trial.restores.iter().filter(is_as_left).collect();
        for (of, restore) in &all {
            self.restore(of, restore.before.as_ref())?;
        }
        all.iter().for_each(|(of, _)| self.dig_up(of));
        self.end(key);
        Ok(())
    }

    /// The rollback of what is on trial was refused.
    pub(super) fn hold(&mut self, of: Option<&Name>, why: &str) -> Result<(), Refused> {
        let (key, _) = self.trial(of)?;
        self.note(&key, ConditionKind::Degraded, true, why);
        Ok(())
    }

    fn trial(&self, of: Option<&Name>) -> Result<(Key, Arc<Object>), Refused> {
        let key = Key::Trial(of.cloned());
        match self.next.get(&key).cloned() {
            Some(object) => Ok((key, object)),
            None => {
                let message = format!("there is no {key}: nothing waits to be confirmed");
                refuse(
                    Rule::Dangling,
                    message,
                    "look at what was applied; it may be taken back already",
                    [&key],
                )
            }
        }
    }

    fn end(&mut self, key: Key) {
        self.next.set(key.clone(), None);
        self.touched.insert(key);
    }

    /// An object is again what it was.
    fn restore(&mut self, key: &Key, before: Option<&Body>) -> Result<(), Refused> {
        let Some(before) = before else { return self.delete(key) };
        let body = match (key, before) {
            (Key::Lease(owned), Body::Lease(Lease { spec, .. })) => {
                Body::Lease(self.offer(owned, spec)?)
            }
            // What its agent has said meanwhile stays.
            (Key::Node(name), Body::Node(Node { spec, .. })) => {
                let is = self.next.node(name).cloned();
                Body::Node(Node {
                    spec: spec.clone(),
                    ..is.unwrap_or_else(|| Node::new(spec.clone()))
                })
            }
            _ => before.clone(),
        };
        self.set(key, body);
        Ok(())
    }

    /// What a segment or an attachment has freed itself, it may have again at once, where it is
    /// again: the frames are the same segment's as before. On other nodes the tombstone stays,
    /// since nobody would wait for them otherwise.
    fn dig_up(&mut self, key: &Key) {
        let (segment, tombstones): (_, Vec<Key>) = match key {
            Key::Segment(owned) => {
                let Some(vni) = self.next.segment(owned).map(|segment| segment.vni) else { return };
                let nodes = self.next.nodes_of(owned).cloned();
                (owned.clone(), nodes.map(|node| Key::Tombstone(node, Freed::Vni(vni))).collect())
            }
            Key::Attachment(owned) => {
                let Some(attachment) = self.next.attachment(owned) else { return };
                let PortKey { node, port } = attachment.spec.port.clone();
                let tombstone = Key::Tombstone(node, Freed::Encap(port, attachment.encap));
                (owned.beside(&attachment.spec.segment), vec![tombstone])
            }
            _ => return,
        };
        for tombstone in tombstones {
            let is_own = self.next.get(&tombstone).is_some_and(|object| match &object.body {
                Body::Tombstone(was) => {
                    was.operator == segment.operator && was.segment == segment.name
                }
                _ => false,
            });
            if is_own {
                self.end(tombstone);
            }
        }
    }
}
