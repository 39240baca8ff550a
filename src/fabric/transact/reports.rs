//! What agents report: what they applied, and what troubles them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{Refused, Rule, Tx, progress::not_applied, refused::refuse};
use crate::{
    fabric::{
        Key, Owned, PortKey,
        object::{Body, ConditionKind, Device, Object, Revision},
        project::attachment_at,
        state::State,
    },
    model::{Encap, InterfaceName, Limits, Name, PortRole},
};

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
    /// Whether it has not said for long what became of what it was sent. Until it does, it is sent
    /// nothing more.
    #[serde(default)]
    pub silent: bool,
    /// What it sees of its node, if it has looked.
    #[serde(default)]
    pub seen: Option<Seen>,
}

/// What an agent sees of its node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// What it does not carry out of what it has applied. All else of it, it does.
    pub left_out: Vec<LeftOut>,
    /// What the devices of its ports are.
    pub devices: BTreeMap<InterfaceName, Device>,
    /// What its maps were made for, if it says so.
    #[serde(default)]
    pub made_for: Option<Limits>,
}

/// What a node does not carry out: of a port all its attachments, of a segment all that it has
/// there, or one attachment; or something of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    pub segment: Option<Owned>,
    pub port: Option<InterfaceName>,
    /// Its encapsulation.
    pub encap: Option<Encap>,
    /// Why, for whoever asked for it.
    pub why: String,
    /// What more there is to say to the owner.
    pub help: String,
    /// Whether it is as it was before, and only what was asked of it last is not carried out.
    pub stays: bool,
}

impl LeftOut {
    /// For the owner.
    fn whole(&self) -> String {
        if self.help.is_empty() { self.why.clone() } else { format!("{}; {}", self.why, self.help) }
    }
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
            let help = "if the machine is back, the owner has to put the node again, and its \
                agent to begin anew";
            return refuse(Rule::Dangling, format!("{key} was said to be gone"), help, [&key]);
        }
        if report.applied > self.before.revision {
            let message = format!(
                "{key} can't have applied revision {}, which is not there yet",
                report.applied
            );
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
        if let Some(seen) = &report.seen {
            self.sees(&key, seen);
        }
        self.program(&report.node, report.seen.as_ref());
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
        let left_out = report.seen.as_ref().map_or(&[][..], |seen| &seen.left_out);
        let of_node = left_out.iter().find(|it| it.segment.is_none() && it.port.is_none());
        let of_node = of_node.map(LeftOut::whole);
        if report.silent || of_node.is_some() || was_silent {
            let why = match of_node {
                _ if report.silent => {
                    "its agent does not say what became of the last update, and gets no other: \
                     look at its log, and start it again"
                }
                Some(ref why) => why,
                None => "its agent answers again",
            };
            self.note(&key, ConditionKind::Degraded, report.silent || of_node.is_some(), why);
        }
        let ports: Vec<PortKey> =
            self.on(&key, |key| if let Key::Port(port) = key { Some(port) } else { None });
        for port in ports {
            let down = report.down.contains(&port.port);
            let is_it =
                |it: &&LeftOut| it.segment.is_none() && it.port.as_ref() == Some(&port.port);
            let trouble = left_out.iter().find(is_it).map(LeftOut::whole);
            let is = down || trouble.is_some();
            let why = trouble
                .unwrap_or_else(|| format!("the port is {}", if down { "down" } else { "up" }));
            self.note(&Key::Port(port), ConditionKind::Degraded, is, &why);
        }
        Ok(())
    }

    fn on<'k, T: Clone + 'k>(
        &'k self,
        key: &Key,
        pick: impl Fn(&'k Key) -> Option<&'k T>,
    ) -> Vec<T> {
        self.next.referrers(key).filter_map(pick).cloned().collect()
    }

    /// Keeps what the agent says of its devices and maps: rules ask what they can do.
    fn sees(&mut self, key: &Key, seen: &Seen) {
        let Key::Node(name) = key else { return };
        let is_uplink = |port: &InterfaceName| {
            let port = PortKey { node: name.clone(), port: port.clone() };
            self.next.port(&port).is_some_and(|port| port.role == PortRole::Uplink)
        };
        let with_role = |(port, device): (&InterfaceName, &Device)| {
            (port.clone(), Device { is_uplink: is_uplink(port), ..device.clone() })
        };
        let devices: BTreeMap<InterfaceName, Device> = seen.devices.iter().map(with_role).collect();
        if let (Some(node), Some(old)) = (self.next.node(name), self.next.get(key))
            && (&node.devices, node.made_for) != (&devices, seen.made_for)
        {
            let made_for = seen.made_for;
            let body = Body::Node(crate::fabric::Node { devices, made_for, ..node.clone() });
            let object = Object { body, ..Object::clone(old) };
            self.next.set(key.clone(), Some(Arc::new(object)));
            self.touched.insert(key.clone());
        }
    }

    /// What was asked until the node's revision is programmed there, but for what it leaves out. An
    /// agent that has not looked yet says nothing of what it left out before.
    fn program(&mut self, node: &Name, seen: Option<&Seen>) {
        let applied = self.next.node(node).map_or(Revision(0), |node| node.applied);
        let left_out =
            seen.map_or_else(BTreeMap::new, |seen| self.attachments_of(node, &seen.left_out));
        let is_applied = |state: &State, key: &Key| {
            state.get(key).is_some_and(|object| object.revision <= applied)
        };
        for (key, why) in &left_out {
            if is_applied(&self.next, key) {
                self.note(
                    key,
                    ConditionKind::Programmed,
                    false,
                    &format!("{} {why}", Key::Node(node.clone())),
                );
            }
        }
        // Attachments come before segments.
        let waiting: Vec<Key> = self.next.pending_on(node).cloned().collect();
        let awaited = not_applied(node);
        for key in waiting {
            match &key {
                Key::Segment(segment) => self.explain_segment(segment),
                Key::Attachment(_)
                    if is_applied(&self.next, &key) && !left_out.contains_key(&key) =>
                {
                    let why = |object: &Arc<Object>| {
                        object.conditions.get(&ConditionKind::Programmed).map(|is| is.why.clone())
                    };
                    let is_left_out =
                        self.next.get(&key).and_then(why).is_some_and(|why| why != awaited);
                    if seen.is_some() || !is_left_out {
                        self.note(&key, ConditionKind::Programmed, true, "its node has applied it");
                    }
                }
                _ => {}
            }
        }
    }

    /// The attachments that a node leaves out, each with the reason.
    fn attachments_of(&self, node: &Name, left_out: &[LeftOut]) -> BTreeMap<Key, String> {
        let mut all = BTreeMap::new();
        for it in left_out {
            let key = |port: &InterfaceName| PortKey { node: node.clone(), port: port.clone() };
            let here: Vec<&Owned> = match (&it.segment, &it.port) {
                (Some(segment), Some(port)) => {
                    let encap = it.encap.into_iter();
                    encap
                        .filter_map(|encap| attachment_at(&self.next, &key(port), encap, segment))
                        .collect()
                }
                (Some(segment), None) => {
                    let its = self.next.attachments_of(&Key::Segment(segment.clone()));
                    its.filter(|(_, at)| at.spec.port.node == *node)
                        .map(|(owned, _)| owned)
                        .collect()
                }
                (None, Some(port)) if !it.stays => self
                    .next
                    .attachments_of(&Key::Port(key(port)))
                    .map(|(owned, _)| owned)
                    .collect(),
                _ => Vec::new(),
            };
            let what = match (&it.segment, &it.port) {
                (None, Some(port)) => {
                    format!("does not carry it out, since port {port} can't be used: {}", it.why)
                }
                _ if it.stays => format!("does not carry out the last change of it: {}", it.why),
                _ => format!("does not carry it out: {}", it.why),
            };
            all.extend(
                here.into_iter().map(|owned| (Key::Attachment(owned.clone()), what.clone())),
            );
        }
        all
    }

    /// What was freed until `applied` is free.
    fn confirmed(&mut self, node: &Name, applied: Revision) {
        let tombstones = self.on(&Key::Node(node.clone()), |key| {
            if let Key::Tombstone(..) = key { Some(key) } else { None }
        });
        for key in tombstones {
            let gone = self.next.get(&key).is_some_and(|object| match &object.body {
                Body::Tombstone(tombstone) => tombstone.freed <= applied,
                _ => false,
            });
            if gone {
                self.next.set(key.clone(), None);
                self.touched.insert(key);
            }
        }
    }
}
