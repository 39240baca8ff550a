//! What the devices of a node can do, as its agent said: a port and the node's uplinks have an MTU
//! that carries what the segments promise.
//!
//! Of what nobody has reported yet nothing is asked; the node leaves out what can't be. And nothing
//! is asked of what was there before: a device that was changed must not stand in the way of who
//! wants something else, nor of what goes.

use std::collections::BTreeSet;

use super::super::{
    Refused, Rule,
    refused::{Help, refuse},
};
use crate::{
    fabric::{
        Key, Owned,
        object::{Attachment, Segment},
        state::State,
    },
    model::{Name, mtu},
};

/// An attachment's port carries its segment's frames.
pub(super) fn port(
    before: &State,
    next: &State,
    owned: &Owned,
    attachment: &Attachment,
    segment: &Segment,
) -> Result<(), Refused> {
    let port = &attachment.spec.port;
    let Some(has) = device_mtu(next, attachment) else { return Ok(()) };
    let needed = mtu::at_port(segment.spec.mtu, attachment.encap);
    if has >= needed {
        return Ok(());
    }
    let was = before.attachment(owned).filter(|was| attachment.stays(was));
    let was_needed = was.and_then(|was| {
        let segment = before.segment(&owned.beside(&was.spec.segment))?;
        Some(mtu::at_port(segment.spec.mtu, was.encap))
    });
    if was_needed.is_some_and(|was| was >= needed) {
        return Ok(());
    }
    let segment_key = Key::Segment(owned.beside(&attachment.spec.segment));
    let message = format!(
        "an MTU of {} needs {needed} at {port} under \"{}\", and the MTU of that device is {has}",
        segment.spec.mtu, attachment.spec.encap
    );
    let lower = format!(
        "lower the segment's mtu to {} at most, choose another encapsulation",
        has.saturating_sub(needed - u32::from(segment.spec.mtu))
    );
    let help = Help::by_role(
        format!("{lower}, or ask the owner for a larger MTU"),
        format!("{lower}, or raise the MTU of that device"),
    );
    refuse(
        Rule::Device,
        message,
        help,
        [&Key::Attachment(owned.clone()), &segment_key, &Key::Port(port.clone())],
    )
}

/// The MTU of an attachment's device, if it is there.
fn device_mtu(state: &State, attachment: &Attachment) -> Option<u32> {
    let port = &attachment.spec.port;
    let device = state.node(&port.node)?.devices.get(&port.port)?;
    (device.mtu > 0).then_some(device.mtu)
}

/// The uplinks of a segment's nodes carry its tunnels.
pub(super) fn uplinks(before: &State, next: &State, owned: &Owned) -> Result<(), Refused> {
    let Some(segment) = next.segment(owned) else { return Ok(()) };
    // Whatever it is tunnelled over, it never needs more.
    let most = mtu::on_uplink(segment.spec.mtu, true, true);
    let small = |name: &&Name| {
        next.node(name).and_then(|node| node.uplink_mtu()).is_some_and(|mtu| mtu < most)
    };
    let small: Vec<&Name> = next.nodes_of(owned).filter(small).collect();
    if small.is_empty() {
        return Ok(());
    }
    let (is, was) = (Tunnels::of(next, owned), Tunnels::of(before, owned));
    for name in small {
        let Some(has) = next.node(name).and_then(|node| node.uplink_mtu()) else { continue };
        let needed = is.needed(name);
        if has >= needed || was.needed(name) >= needed {
            continue;
        }
        let message = format!(
            "an MTU of {} needs {needed} for its tunnels at {}, and the MTU of an uplink there is \
             {has}",
            segment.spec.mtu,
            Key::Node(name.clone())
        );
        let help = Help::by_role(
            "lower the segment's mtu, attach elsewhere, or ask the owner for a larger MTU",
            "lower the segment's mtu, attach elsewhere, or raise the MTU of that uplink",
        );
        return refuse(
            Rule::Device,
            message,
            help,
            [&Key::Segment(owned.clone()), &Key::Node(name.clone())],
        );
    }
    Ok(())
}

/// How a segment is tunnelled.
#[derive(Default)]
struct Tunnels {
    mtu: u16,
    nodes: BTreeSet<Name>,
    /// Nodes of it that have no IPv4 tunnel address.
    v6_only: BTreeSet<Name>,
    /// Nodes on which it has a transparent attachment.
    carry_tags: BTreeSet<Name>,
}

impl Tunnels {
    fn of(state: &State, owned: &Owned) -> Self {
        let Some(segment) = state.segment(owned) else { return Self::default() };
        let has_v4 = |name: &Name| {
            state
                .node(name)
                .is_some_and(|node| node.spec.vtep.iter().any(std::net::IpAddr::is_ipv4))
        };
        let nodes: BTreeSet<Name> = state.nodes_of(owned).cloned().collect();
        let v6_only = nodes.iter().filter(|name| !has_v4(name)).cloned().collect();
        let its = state.attachments_of(&Key::Segment(owned.clone()));
        let transparent = its.filter(|(_, attachment)| attachment.encap.is_transparent());
        let carry_tags =
            transparent.map(|(_, attachment)| attachment.spec.port.node.clone()).collect();
        Self { mtu: segment.spec.mtu, nodes, v6_only, carry_tags }
    }

    /// What a node's uplinks must carry; nothing, where nothing is tunnelled.
    fn needed(&self, name: &Name) -> u32 {
        if self.nodes.len() < 2 || !self.nodes.contains(name) {
            return 0;
        }
        // IPv4 is taken wherever both have it.
        let is_over_v6 = !self.v6_only.is_empty();
        mtu::on_uplink(self.mtu, is_over_v6, self.carry_tags.contains(name))
    }
}
