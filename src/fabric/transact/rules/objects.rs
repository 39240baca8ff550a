//! The rules of operators, ports, servers and segments.

use super::super::{Refused, Rule, refused::refuse};
use crate::{
    fabric::{
        Key, Kind, Owned, PortKey,
        state::{State, Target},
    },
    model::{Name, PortRole, Vni},
};

/// Its VNIs are no other's.
pub(super) fn pool(next: &State, name: &Name) -> Result<(), Refused> {
    let key = Key::Operator(name.clone());
    let Some(spec) = next.operator(name) else { return Ok(()) };
    for other in next.of_kind(Kind::Operator).filter(|other| **other != key) {
        let Key::Operator(other_name) = other else { continue };
        if next.operator(other_name).is_some_and(|other| other.vnis.overlaps(&spec.vnis)) {
            let message = format!("{name} and {other_name} share VNIs");
            return refuse(
                Rule::Pool,
                message,
                "give each operator VNIs of its own",
                [&key, other],
            );
        }
    }
    Ok(())
}

/// What is attached or has a tombstone there under an operator's grant is not granted to another.
pub(super) fn port(next: &State, port: &PortKey) -> Result<(), Refused> {
    let key = Key::Port(port.clone());
    let Some(spec) = next.port(port) else { return Ok(()) };
    for user in next.referrers(&key) {
        let (Key::Tombstone(_, crate::fabric::Freed::Encap(_, encap)), Some(object)) =
            (user, next.get(user))
        else {
            continue;
        };
        let crate::fabric::Body::Tombstone(tombstone) = &object.body else { continue };
        let other = spec
            .grants
            .iter()
            .find(|(name, grant)| **name != tombstone.operator && grant.allows(*encap));
        if let Some((name, _)) = other {
            let message = format!(
                "\"{encap}\" on {port} was {}'s, and can't be granted to {name} yet",
                tombstone.operator
            );
            return refuse(Rule::Pool, message, "wait until the node has confirmed", [&key, user]);
        }
    }
    Ok(())
}

/// Its ports are access ports and no other server's, and one lease has it.
pub(super) fn server(next: &State, name: &Name) -> Result<(), Refused> {
    let key = Key::Server(name.clone());
    for port in next.ports_of(name) {
        let port_key = Key::Port(port.clone());
        if next.port(port).is_some_and(|port| port.role != PortRole::Access) {
            let message = format!("{port} does not face a server");
            return refuse(
                Rule::Port,
                message,
                "give the server's own access ports",
                [&key, &port_key],
            );
        }
        let others = next.referrers(&port_key).filter(|user| user.kind() == Kind::Server);
        if let Some(other) = others.into_iter().find(|other| **other != key) {
            let message = format!("{port} faces {other} as well");
            return refuse(Rule::Port, message, "a port faces one server", [&key, other]);
        }
    }
    let leases = next.referrers(&key).filter_map(|user| match user {
        Key::Lease(owned) => Some((user, next.lease(owned)?)),
        _ => None,
    });
    let holders: Vec<&Key> =
        leases.filter(|(_, lease)| lease.state.holds_server()).map(|(key, _)| key).collect();
    match holders[..] {
        [one, two, ..] => refuse(
            Rule::Lease,
            format!("{one} and {two} have {key}"),
            "a server is under one lease",
            [one, two],
        ),
        _ => Ok(()),
    }
}

/// Its VNI is of its operator's own, and nobody else's: neither another segment's nor one that was
/// freed.
pub(super) fn vni(before: &State, next: &State, owned: &Owned) -> Result<(), Refused> {
    let key = Key::Segment(owned.clone());
    let (Some(segment), Some(operator)) = (next.segment(owned), next.operator(&owned.operator))
    else {
        return Ok(());
    };
    let vni: Vni = segment.vni;
    if !operator.vnis.contains(vni.get()) {
        let message = format!("VNI {vni} of {key} is none of {}'s", owned.operator);
        return refuse(
            Rule::Vni,
            message,
            "choose one of the operator's VNIs, or leave it out",
            [&key],
        );
    }
    let had = before.segment(owned).is_some_and(|before| before.vni == vni);
    let others = next.at(Target::Vni(vni)).filter(|other| **other != key);
    // Of a segment that goes on, the tombstones are of nodes that it left.
    let mut others = others.filter(|other| !had || other.kind() == Kind::Segment);
    match others.next() {
        None => Ok(()),
        Some(other) if other.kind() == Kind::Tombstone => {
            let message = format!("VNI {vni} was freed, and a node has not confirmed that yet");
            refuse(Rule::Vni, message, "wait, or choose another VNI", [&key, other])
        }
        Some(other) => refuse(
            Rule::Vni,
            format!("VNI {vni} is that of {other}"),
            "choose another VNI",
            [&key, other],
        ),
    }
}
