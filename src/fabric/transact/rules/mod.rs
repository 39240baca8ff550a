//! Every rule that needs more than one object. What is asked is found from what was touched; how
//! much else there is does not matter.

mod attachments;
mod ceilings;
mod devices;
mod objects;
mod quotas;

use std::collections::BTreeSet;

pub(super) use self::attachments::taken_by_own;
use super::{
    Refused, Rule,
    refused::{Help, refuse},
};
use crate::{
    fabric::{
        Key, Kind, Owned,
        object::{Body, LeaseState, Object},
        project::{self, ProjectError},
        state::{State, Target, targets},
    },
    model::Name,
};

/// What an operator's name may have at most, so that it and 42 more fit a name on a node.
const LONGEST_OPERATOR: usize = 20;

/// A node knows `OPERATOR.NAME`.
pub(super) fn name(key: &Key) -> Result<(), Refused> {
    let longest = Name::MAX_LEN - LONGEST_OPERATOR - 1;
    let refuse = |message, help: String| refuse(Rule::Name, message, help, [key]);
    match key {
        Key::Operator(name)
            if name.as_str().contains('.') || name.as_str().len() > LONGEST_OPERATOR =>
        {
            refuse(
                format!("{name} is no operator's name"),
                format!("an operator's name has {LONGEST_OPERATOR} characters at most, and no dot"),
            )
        }
        Key::Lease(owned) | Key::Profile(owned) | Key::Segment(owned) | Key::Attachment(owned)
            if owned.name.as_str().len() > longest =>
        {
            refuse(
                format!("{key} is too long a name"),
                format!("it has {longest} characters at most"),
            )
        }
        _ => Ok(()),
    }
}

/// What has to be asked.
#[derive(Default)]
struct Concerned {
    attachments: BTreeSet<Owned>,
    segments: BTreeSet<Owned>,
    nodes: BTreeSet<Name>,
    /// Nodes that have to reach each other.
    met: BTreeSet<(Name, Name)>,
    operators: BTreeSet<Name>,
    servers: BTreeSet<Name>,
}

/// Asks every rule that what was touched may break.
pub(super) fn check(before: &State, next: &State, touched: &BTreeSet<Key>) -> Result<(), Refused> {
    let mut concerned = Concerned::default();
    for key in touched.iter().filter(|key| is_asked(before, next, key)) {
        references(next, key)?;
        concerned.add(before, next, key);
    }
    concerned.check(before, next, touched.iter())?;
    quotas::tombstones(before, next, touched.iter())
}

/// Asks every rule of every object, of a state that did not come from [`super::transact`].
pub(in crate::fabric) fn check_whole(state: &State) -> Result<(), Refused> {
    for (key, object) in state.objects() {
        itself(state, key, object)?;
        references(state, key)?;
    }
    Concerned::all_of(state).check(state, state, state.objects().map(|(key, _)| key))
}

/// What must be so of an object that was kept, whatever else there is.
fn itself(state: &State, key: &Key, object: &Object) -> Result<(), Refused> {
    let refused = |message: String, help: &str| refuse(Rule::Spec, message, help, [key]);
    let kind = object.body.kind();
    if kind != key.kind() {
        return refused(format!("{key} is a {kind}"), "restore the store from a backup");
    }
    if object.revision > state.revision() {
        let message =
            format!("{key} is of revision {}, after {}", object.revision, state.revision());
        return refused(message, "restore the store from a backup");
    }
    name(key)?;
    let restored: Vec<&Body> = match &object.body {
        Body::Trial(trial) => {
            trial.restores.values().filter_map(|restore| restore.before.as_ref()).collect()
        }
        own => vec![own],
    };
    for spec in restored.into_iter().filter_map(Body::spec) {
        spec.check()
            .or_else(|invalid| refuse(Rule::Spec, invalid.to_string(), invalid.help(), [key]))?;
    }
    let fits = match &object.body {
        Body::Segment(segment) => segment.spec.vni.is_none_or(|asked| asked == segment.vni),
        Body::Attachment(attachment) => attachment.spec.encap.fits(attachment.encap),
        _ => true,
    };
    if fits {
        Ok(())
    } else {
        refused(format!("{key} has not what it asks for"), "ask for it again")
    }
}

/// Whether more of an object changed than what is known of it.
fn is_asked(before: &State, next: &State, key: &Key) -> bool {
    match (before.get(key), next.get(key)) {
        (Some(was), Some(is)) => was.revision != is.revision,
        (None, None) => false,
        _ => true,
    }
}

/// What an object refers to is there, and what is gone is not referred to.
fn references(next: &State, key: &Key) -> Result<(), Refused> {
    let Some(object) = next.get(key) else {
        let users: Vec<&Key> = next.referrers(key).take(10).collect();
        let Some(first) = users.first() else { return Ok(()) };
        let message = format!("{key} is in use by {first}");
        let help = "remove what uses it first, or in the same transaction; a tombstone goes when \
            its node has confirmed";
        return refuse(Rule::Dangling, message, help, [key].into_iter().chain(users));
    };
    for target in targets(key, &object.body) {
        if let Target::Object(there) = target
            && next.get(&there).is_none()
        {
            // Whether it is not there or another's must not be told: `rules::attachments::right`
            // says the same of both.
            if key.kind() == Kind::Attachment && there.kind() == Kind::Port {
                continue;
            }
            let message = format!("{key} refers to {there}, which is not there");
            return refuse(
                Rule::Dangling,
                message,
                "make it first, or in the same transaction",
                [key, &there],
            );
        }
    }
    Ok(())
}

impl Concerned {
    /// All that there is. What [`Self::add`] would find of every key is the same, many times over.
    fn all_of(state: &State) -> Self {
        let mut all = Self::default();
        for (key, _) in state.objects() {
            match key {
                Key::Operator(name) => drop(all.operators.insert(name.clone())),
                Key::Node(name) => {
                    state.remotes_of(name).iter().for_each(|other| all.meet(name, other));
                    all.nodes.insert(name.clone());
                }
                Key::Server(name) => drop(all.servers.insert(name.clone())),
                Key::Segment(owned) => drop(all.segments.insert(owned.clone())),
                Key::Attachment(owned) => drop(all.attachments.insert(owned.clone())),
                Key::Port(_)
                | Key::Lease(_)
                | Key::Profile(_)
                | Key::Tombstone(..)
                | Key::Trial(_) => {}
            }
        }
        all
    }

    fn check<'k>(
        &self,
        before: &State,
        next: &State,
        touched: impl Iterator<Item = &'k Key>,
    ) -> Result<(), Refused> {
        for operator in &self.operators {
            quotas::operator(before, next, operator, &self.nodes)?;
        }
        for key in touched {
            match key {
                Key::Operator(name) => objects::pool(next, name)?,
                Key::Port(port) => objects::port(next, port)?,
                _ => {}
            }
        }
        for server in &self.servers {
            objects::server(next, server)?;
        }
        for segment in &self.segments {
            objects::vni(before, next, segment)?;
            attachments::together(next, segment)?;
            ceilings::segment(before, next, segment)?;
        }
        for attachment in &self.attachments {
            attachments::check(before, next, attachment)?;
            ceilings::attachment(before, next, attachment)?;
        }
        self.segments.iter().try_for_each(|segment| devices::uplinks(before, next, segment))?;
        self.met.iter().try_for_each(|(one, two)| reach(next, one, two))?;
        self.nodes.iter().try_for_each(|name| {
            node(next, name)?;
            quotas::room(before, next, name)
        })
    }

    fn add(&mut self, before: &State, next: &State, key: &Key) {
        match key {
            Key::Operator(name) => {
                self.operators.insert(name.clone());
                let ceiling = |state: &State| state.operator(name).map(|spec| spec.ceiling.clone());
                let other_ceiling = ceiling(before) != ceiling(next);
                for own in next.referrers(key) {
                    match own {
                        Key::Segment(owned) => drop(self.segments.insert(owned.clone())),
                        Key::Attachment(owned) if other_ceiling => {
                            self.attachments.insert(owned.clone());
                        }
                        _ => {}
                    }
                }
            }
            Key::Node(name) => {
                self.nodes.insert(name.clone());
                for other in next.remotes_of(name) {
                    self.meet(name, &other);
                }
            }
            Key::Port(port) => {
                self.nodes.insert(port.node.clone());
                self.attached(before, key);
                self.attached(next, key);
                self.servers.extend(next.server_at(port).cloned());
            }
            Key::Server(name) => {
                self.servers.insert(name.clone());
                for state in [before, next] {
                    for port in state.ports_of(name) {
                        self.attached(next, &Key::Port(port.clone()));
                    }
                }
            }
            Key::Lease(owned) => {
                for lease in [before, next].iter().filter_map(|state| state.lease(owned)) {
                    self.servers.insert(lease.spec.server.clone());
                    for port in next.ports_of(&lease.spec.server) {
                        self.attached(next, &Key::Port(port.clone()));
                    }
                }
            }
            Key::Profile(owned) => {
                self.operators.insert(owned.operator.clone());
                self.attached(next, key);
            }
            Key::Segment(owned) => {
                self.operators.insert(owned.operator.clone());
                self.attached(next, key);
                self.segment(before, next, owned);
                // Its own numbers count on each of its nodes.
                self.nodes.extend(next.nodes_of(owned).cloned());
            }
            Key::Attachment(owned) => {
                self.operators.insert(owned.operator.clone());
                self.attachments.insert(owned.clone());
                for attachment in [before, next].iter().filter_map(|state| state.attachment(owned))
                {
                    self.nodes.insert(attachment.spec.port.node.clone());
                    self.segment(before, next, &owned.beside(&attachment.spec.segment));
                }
            }
            Key::Tombstone(..) | Key::Trial(_) => {}
        }
    }

    fn attached(&mut self, state: &State, key: &Key) {
        self.attachments.extend(state.attachments_of(key).map(|(owned, _)| owned.clone()));
    }

    /// A segment, and its nodes if they have other remotes now.
    fn segment(&mut self, before: &State, next: &State, owned: &Owned) {
        if !self.segments.insert(owned.clone()) {
            return;
        }
        let on = |state: &State| -> BTreeSet<Name> { state.nodes_of(owned).cloned().collect() };
        let (was, is) = (on(before), on(next));
        for new in is.difference(&was) {
            for other in is.iter().filter(|other| *other != new) {
                self.meet(new, other);
            }
        }
        if was != is {
            self.nodes.extend(is);
        }
    }

    fn meet(&mut self, one: &Name, two: &Name) {
        let (one, two) = if one < two { (one, two) } else { (two, one) };
        self.met.insert((one.clone(), two.clone()));
    }
}

/// Two nodes of one segment reach each other.
fn reach(next: &State, one: &Name, two: &Name) -> Result<(), Refused> {
    match project::remote(next, one, two) {
        // That a port's node is there is asked of the port.
        Ok(_) | Err(ProjectError::Unknown(_)) => Ok(()),
        Err(error) => {
            let help = "give one of them an address of the other's family, or attach elsewhere";
            refuse(Rule::Room, error.to_string(), help, [&Key::Node(one.clone())])
        }
    }
}

/// A node is there and has a way for what is attached there. That it has room is asked by
/// [`quotas::room`].
fn node(next: &State, name: &Name) -> Result<(), Refused> {
    let Some(node) = next.node(name) else { return Ok(()) };
    let (usage, key) = (next.node_usage(name), Key::Node(name.clone()));
    let refused = |message: String, help: Help| refuse(Rule::Room, message, help, [&key]);
    if node.gone && usage.attachments > 0 {
        let message = format!("{key} is gone, and something is attached to it");
        return refused(message, "detach what is on its ports, and attach elsewhere".into());
    }
    if usage.remotes > 0 && usage.uplinks == 0 {
        return refused(
            format!("{key} has no uplink port"),
            Help::by_role(
                "the owner has to add the port that faces the underlay",
                format!(
                    "add the port that faces the underlay: port/{name}/INTERFACE, role: uplink"
                ),
            ),
        );
    }
    Ok(())
}

/// Whether a lease of the operator lets it attach there.
fn leased(state: &State, operator: &Name, port: &crate::fabric::PortKey) -> Option<LeaseState> {
    let (owned, lease) = state.holder(state.server_at(port)?)?;
    (owned.operator == *operator).then_some(lease.state)
}
