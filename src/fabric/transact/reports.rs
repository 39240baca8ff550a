//! What agents report: what they applied, and what troubles them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::refused::refuse;
use super::{Refused, Rule, Tx};
use crate::fabric::object::{Body, ConditionKind, Object, Revision};
use crate::fabric::{Key, PortKey};
use crate::model::{InterfaceName, Name};

/// What an agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Whose it is.
    pub node: Name,
    /// The revision that it has applied wholly.
    pub applied: Revision,
    /// What its maps have that they should not, as they were read back; none if all is right.
    #[serde(default)]
    pub drift: Option<String>,
    /// Ports that are down.
    #[serde(default)]
    pub down: BTreeSet<InterfaceName>,
    /// Whether it has not said for long what became of what it was sent. Until it does, it is sent nothing more.
    #[serde(default)]
    pub silent: bool,
}

impl Tx<'_> {
    pub(super) fn report(&mut self, report: &Report) -> Result<(), Refused> {
        let key = Key::Node(report.node.clone());
        let Some(node) = self.next.node(&report.node).cloned() else {
            return refuse(
                Rule::Dangling,
                format!("there is no {key}"),
                "the owner has to add the node first",
                [&key],
            );
        };
        if node.gone {
            let help =
                "if the machine is back, the owner has to put the node again, and its agent to begin anew";
            return refuse(Rule::Dangling, format!("{key} was said to be gone"), help, [&key]);
        }
        if report.applied > self.before.revision {
            let message =
                format!("{key} can't have applied revision {}, which is not there yet", report.applied);
            return refuse(Rule::Spec, message, "report what was applied", [&key]);
        }
        // An agent that begins anew does not take back what it confirmed.
        if report.applied > node.applied
            && let Some(old) = self.next.get(&key)
        {
            let body = Body::Node(crate::fabric::Node { applied: report.applied, ..node });
            let object = Object { body, ..Object::clone(old) };
            self.next.set(key.clone(), Some(Arc::new(object)));
            self.touched.insert(key.clone());
            self.confirmed(&report.node, report.applied);
        }
        let drift = report.drift.as_deref();
        self.note(
            &key,
            ConditionKind::Verified,
            drift.is_none(),
            drift.unwrap_or("the maps hold what they should"),
        );
        let was_silent = self.next.get(&key).is_some_and(|node| {
            node.conditions.get(&ConditionKind::Degraded).is_some_and(|condition| condition.is)
        });
        if report.silent || was_silent {
            let why = if report.silent {
                "its agent does not say what became of the last update, and gets no other: look at its log, and start it again"
            } else {
                "its agent answers again"
            };
            self.note(&key, ConditionKind::Degraded, report.silent, why);
        }
        let ports: Vec<PortKey> =
            self.on(&key, |key| if let Key::Port(port) = key { Some(port) } else { None });
        for port in ports {
            let down = report.down.contains(&port.port);
            let why = if down { "the port is down" } else { "the port is up" };
            self.note(&Key::Port(port), ConditionKind::Degraded, down, why);
        }
        Ok(())
    }

    fn on<'k, T: Clone + 'k>(&'k self, key: &Key, pick: impl Fn(&'k Key) -> Option<&'k T>) -> Vec<T> {
        self.next.referrers(key).filter_map(pick).cloned().collect()
    }

    /// What was freed until `applied` is free, and what was asked until then is programmed there.
    fn confirmed(&mut self, node: &Name, applied: Revision) {
        let graves = self
            .on(&Key::Node(node.clone()), |key| if let Key::Tombstone(..) = key { Some(key) } else { None });
        for key in graves {
            let gone = self.next.get(&key).is_some_and(
                |object| matches!(&object.body, Body::Tombstone(tombstone) if tombstone.freed <= applied),
            );
            if gone {
                self.next.set(key.clone(), None);
                self.touched.insert(key);
            }
        }
        // Attachments come before segments.
        let waiting: Vec<Key> = self.next.waiting_for(node).cloned().collect();
        for key in waiting {
            match &key {
                Key::Segment(segment) => self.explain_segment(segment),
                Key::Attachment(_)
                    if self.next.get(&key).is_some_and(|object| object.revision <= applied) =>
                {
                    self.note(&key, ConditionKind::Programmed, true, "its node has applied it");
                }
                _ => {}
            }
        }
    }
}
