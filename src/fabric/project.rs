//! What one node shall do: what its file would say, of exactly its part of the fabric.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    Freed, Key, Learned, Owned, PortKey,
    object::{Attachment, Body, Node, Revision, Segment, Tombstone},
    state::State,
};
use crate::model::{self, Encap, InterfaceName, InvalidValue, Name, NodeConfig};

/// Why there is no such file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProjectError {
    /// No node has this name.
    #[error("there is no node {0}")]
    Unknown(Name),
    /// Two nodes of a segment have no tunnel address of one family.
    #[error("{0} and {1} have no tunnel address of one family")]
    Apart(Name, Name),
    /// A node's file has names that are longer than a name.
    #[error("{0}")]
    Name(#[from] InvalidValue),
}

/// What a node should forget of a server that was taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// In which segment.
    pub segment: Owned,
    /// Behind which port of any node the server is.
    pub port: PortKey,
    /// The revision that asked for it.
    pub freed: Revision,
    /// How that node is reached from this one; none if it is this one, or is not reached.
    pub remote: Option<IpAddr>,
    /// Whether that node may still let the server's frames in, so that they would be learned
    /// again.
    pub is_early: bool,
}

/// Tables of a node's file. A port stands for its attachments, too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileTables {
    /// Of the node.
    pub ports: BTreeSet<InterfaceName>,
    /// That are on the node, or were.
    pub segments: BTreeSet<Owned>,
    /// That are in use on the node, or were.
    pub profiles: BTreeSet<Owned>,
}

/// What the node's file would say. Names of an operator's objects become `OPERATOR.NAME`, which no
/// two share: an operator's name has no dot.
///
/// # Errors
/// No such node, or one whose segments can't be tunnelled; in a state that [`super::transact`]
/// made, only the former.
pub fn desired(state: &State, name: &Name) -> Result<NodeConfig, ProjectError> {
    desired_tables(state, name, &tables_of(state, name))
}

/// Those of these tables that the node's file would have, besides its own.
///
/// # Errors
/// As for [`desired`].
pub fn desired_tables(
    state: &State,
    name: &Name,
    tables: &FileTables,
) -> Result<NodeConfig, ProjectError> {
    let node = state.node(name).ok_or_else(|| ProjectError::Unknown(name.clone()))?;
    let vtep = |v4: bool| node.spec.vtep.iter().copied().find(|address| address.is_ipv4() == v4);
    let mut config = NodeConfig {
        node: model::Node {
            name: name.clone(),
            vtep4: vtep(true).and_then(|ip| if let IpAddr::V4(v4) = ip { Some(v4) } else { None }),
            vtep6: vtep(false).and_then(|ip| if let IpAddr::V6(v6) = ip { Some(v6) } else { None }),
            limits: node.spec.limits,
        },
        ports: Vec::new(),
        profiles: Vec::new(),
        segments: Vec::new(),
        attachments: Vec::new(),
    };
    for interface in &tables.ports {
        let port = PortKey { node: name.clone(), port: interface.clone() };
        if let Some(spec) = state.port(&port) {
            config.ports.push(model::Port {
                name: interface.clone(),
                role: spec.role,
                hook: spec.hook,
            });
            for (owned, attachment) in state.attachments_of(&Key::Port(port)) {
                config.attachments.push(project_attachment(owned, attachment)?);
            }
        }
    }
    for owned in tables.profiles.iter().filter(|owned| is_used(state, owned, name)) {
        if let Some(profile) = state.profile(owned) {
            config.profiles.push(profile.named(joined(owned)?));
        }
    }
    for owned in tables.segments.iter().filter(|owned| state.is_on(owned, name)) {
        if let Some(segment) = state.segment(owned) {
            config.segments.push(project_segment(state, name, owned, segment)?);
        }
    }
    Ok(config)
}

/// All tables that the node's file has.
pub(super) fn tables_of(state: &State, node: &Name) -> FileTables {
    let mut all = FileTables::default();
    let ports = state.referrers(&Key::Node(node.clone())).filter_map(|key| match key {
        Key::Port(port) => Some(port),
        _ => None,
    });
    for port in ports {
        all.ports.insert(port.port.clone());
        for (owned, attachment) in state.attachments_of(&Key::Port(port.clone())) {
            let spec = &attachment.spec;
            all.segments.insert(owned.beside(&spec.segment));
            all.profiles.extend(spec.profiles_of(owned));
        }
    }
    all
}

/// Whether an attachment on the node has a profile.
fn is_used(state: &State, profile: &Owned, node: &Name) -> bool {
    let mut users = state.attachments_of(&Key::Profile(profile.clone()));
    users.any(|(_, user)| user.spec.port.node == *node)
}

fn project_attachment(
    owned: &Owned,
    attachment: &Attachment,
) -> Result<model::Attachment, InvalidValue> {
    let spec = &attachment.spec;
    let named =
        |name: &Option<Name>| name.as_ref().map(|name| joined(&owned.beside(name))).transpose();
    Ok(model::Attachment {
        segment: joined(&owned.beside(&spec.segment))?,
        port: spec.port.port.clone(),
        encap: attachment.encap,
        role: spec.role,
        ingress: named(&spec.ingress)?,
        egress: named(&spec.egress)?,
        storm: spec.storm,
        guards: spec.guards.clone(),
        bindings: spec.bindings.clone(),
    })
}

fn project_segment(
    state: &State,
    here: &Name,
    owned: &Owned,
    segment: &Segment,
) -> Result<model::Segment, ProjectError> {
    let own = state.node(here).ok_or_else(|| ProjectError::Unknown(here.clone()))?;
    let others = state.nodes_of(owned).filter(|node| *node != here);
    let remotes =
        others.map(|there| remote_of((own, here), state, there)).collect::<Result<Vec<_>, _>>()?;
    let spec = &segment.spec;
    Ok(model::Segment {
        name: joined(owned)?,
        operator: owned.operator.clone(),
        vni: segment.vni,
        service: spec.service,
        remotes,
        mtu: spec.mtu,
        ageing: spec.ageing,
        mac_limit: spec.mac_limit,
        dscp: spec.dscp,
        moves: spec.moves,
        suppress: spec.suppress,
    })
}

/// The other node's tunnel address that this one reaches. IPv4 where both have both: 20 bytes less
/// in each frame.
pub(crate) fn remote(state: &State, here: &Name, there: &Name) -> Result<IpAddr, ProjectError> {
    let own = state.node(here).ok_or_else(|| ProjectError::Unknown(here.clone()))?;
    remote_of((own, here), state, there)
}

fn remote_of(
    (own, here): (&Node, &Name),
    state: &State,
    there: &Name,
) -> Result<IpAddr, ProjectError> {
    let other = state.node(there).ok_or_else(|| ProjectError::Unknown(there.clone()))?;
    let is_reached = |it: &&IpAddr| own.spec.vtep.iter().any(|own| own.is_ipv4() == it.is_ipv4());
    let reached = other.spec.vtep.iter().filter(is_reached).min();
    reached.copied().ok_or_else(|| ProjectError::Apart(here.clone(), there.clone()))
}

/// Whether a segment has an attachment on a port, of a node that is not gone.
pub(crate) fn is_attached(state: &State, segment: &Owned, port: &PortKey) -> bool {
    let is_of =
        |owned: &Owned, name: &Name| owned.operator == segment.operator && *name == segment.name;
    let mut there = state.attachments_of(&Key::Port(port.clone()));
    let is_there = there.any(|(owned, attachment)| is_of(owned, &attachment.spec.segment));
    is_there && state.node(&port.node).is_some_and(|node| !node.gone)
}

/// How many MACs a segment's attachments on a port may have, as [`is_attached`]; none, if there are
/// none.
pub(crate) fn macs_at(state: &State, segment: &Owned, port: &PortKey) -> Option<u64> {
    let of_node = state.node(&port.node).filter(|node| !node.gone);
    let there = state.attachments_of(&Key::Port(port.clone())).filter(|_| of_node.is_some());
    let is_of =
        |owned: &Owned, name: &Name| owned.operator == segment.operator && *name == segment.name;
    let own = there.filter(|(owned, attachment)| is_of(owned, &attachment.spec.segment));
    own.map(|(_, attachment)| u64::from(attachment.spec.guards.mac_limit))
        .reduce(u64::saturating_add)
}

/// The attachment that a node knows by its port, its encapsulation and its segment's name.
pub(crate) fn attachment_at<'s>(
    state: &'s State,
    port: &PortKey,
    encap: Encap,
    segment: &Owned,
) -> Option<&'s Owned> {
    let is_it = |(owned, attachment): &(&Owned, &Attachment)| {
        attachment.encap == encap && owned.beside(&attachment.spec.segment) == *segment
    };
    let mut there = state.attachments_of(&Key::Port(port.clone()));
    there.find(is_it).map(|(owned, _)| owned)
}

/// An operator's name for something, as a node knows it.
pub fn joined(owned: &Owned) -> Result<Name, InvalidValue> {
    Name::new(&format!("{}.{}", owned.operator, owned.name))
}

/// Whether the node of a server's port may still let its frames in, so that another would learn
/// again what it forgot.
pub(super) fn is_early(state: &State, at: &Name, port: &PortKey, freed: Revision) -> bool {
    port.node != *at && state.node(&port.node).is_some_and(|there| there.applied < freed)
}

/// What a node has yet to forget.
pub fn purges(state: &State, node: &Name) -> Vec<Purge> {
    let all = state.referrers(&Key::Node(node.clone())).filter_map(|key| {
        let Key::Tombstone(at, Freed::Learned(learned)) = key else { return None };
        let Learned { segment, port } = &**learned;
        let Body::Tombstone(Tombstone { freed, .. }) = state.get(key)?.body else { return None };
        let is_early = is_early(state, at, port, freed);
        let remote = if port.node == *at { None } else { remote(state, at, &port.node).ok() };
        Some(Purge { segment: segment.clone(), port: port.clone(), freed, remote, is_early })
    });
    all.collect()
}
