//! The guards' part of [`super::compile`].

use std::collections::BTreeMap;

use sillon_abi::{
    Binding, BindingKey, Claim, Endpoint, EthertypeKey, FdbKey, Guards, Mac, OverLimit, PrefixKey,
};

use super::addr;
use crate::{
    dataplane::tables::Tables,
    model::{self, Control, NodeConfig, Prefix, Service, Trust},
};

/// The bits of an attachment by itself.
pub fn bits(guards: &model::Guards) -> u16 {
    let mut bits = 0;
    let mut set = |bit: u16, is_on: bool| bits |= if is_on { bit } else { 0 };
    set(Guards::FIXED_MACS, !guards.macs.is_empty());
    set(Guards::STICKY, guards.sticky);
    set(Guards::PEER, guards.control == Control::Peer);
    set(Guards::NO_DHCP_SERVER, !guards.trusted.contains(&Trust::Dhcp));
    set(Guards::NO_ROUTER, !guards.trusted.contains(&Trust::Ra));
    set(Guards::PREFIXES, !guards.prefixes.is_empty());
    set(Guards::ETHERTYPES, guards.ethertypes.is_some());
    bits
}

/// The bits that all points of a segment on this node have, by its name, where there are any.
pub fn of_segments(config: &NodeConfig) -> BTreeMap<&str, u16> {
    let mut bits = of_lines(config);
    let suppressing = config.segments.iter().filter(|segment| segment.suppress);
    bits.extend(suppressing.map(|segment| (segment.name.as_str(), Guards::SUPPRESS)));
    bits
}

/// Those of a `line`, which never suppresses: both ends' frames are compared with what is
/// configured for either, and control frames cross only where all let them.
fn of_lines(config: &NodeConfig) -> BTreeMap<&str, u16> {
    let lines = config.segments.iter().filter(|segment| segment.service == Service::Line);
    let mut bits: BTreeMap<&str, u16> =
        lines.map(|line| (line.name.as_str(), Guards::CONTROL)).collect();
    for attachment in &config.attachments {
        let Some(bits) = bits.get_mut(attachment.segment.as_str()) else { continue };
        if !attachment.guards.macs.is_empty() {
            *bits |= Guards::LINE_MACS;
        }
        if attachment.guards.control != Control::Tunnel {
            *bits &= !Guards::CONTROL;
        }
    }
    bits
}

/// What the ABI calls it.
pub const fn over_limit(over: model::OverLimit) -> u8 {
    match over {
        model::OverLimit::Drop => OverLimit::Drop as u8,
        model::OverLimit::Forward => OverLimit::Forward as u8,
    }
}

/// The configured addresses of an attachment.
pub fn macs(
    id: u32,
    segment: u32,
    guards: &model::Guards,
) -> impl Iterator<Item = (FdbKey, Endpoint)> {
    let key = move |mac: &model::MacAddr| FdbKey::new(segment, Mac::new(mac.octets()));
    guards.macs.iter().map(move |mac| (key(mac), Endpoint::attachment(id)))
}

/// The lists of an attachment.
pub fn lists(tables: &mut Tables, id: u32, guards: &model::Guards) {
    for ethertype in guards.ethertypes.iter().flatten() {
        tables.ethertypes.insert(EthertypeKey {
            attachment: id,
            ethertype: ethertype.get(),
            pad: 0,
        });
    }
    for prefix in &guards.prefixes {
        tables.prefixes.insert(prefix_key(id, *prefix));
    }
    // Hosts can't do without link-local addresses, and choose them themselves (RFC 4862 section
    // 5.3).
    let lists_link_local = guards.prefixes.iter().any(|prefix| prefix.is_link_local());
    if !guards.prefixes.is_empty() && !lists_link_local {
        tables.prefixes.insert(prefix_key(id, Prefix::LINK_LOCAL));
    }
}

/// Whose addresses are configured at an attachment. Nobody else has them, so that what is said of
/// them replaces what a cache has. A leaf's stay a leaf's when its MAC is behind a tunnel.
pub fn bindings(tables: &mut Tables, id: u32, segment: u32, attachment: &model::Attachment) {
    let leaf = if attachment.role == model::LeafRole::Leaf { Claim::LEAF } else { 0 };
    for binding in &attachment.bindings {
        let router = if binding.is_router() { Claim::ROUTER } else { 0 };
        let claim =
            Claim { mac: Mac::new(binding.mac().octets()), flags: Claim::OVERRIDE | router | leaf };
        let entry = Binding { claim, endpoint: Endpoint::attachment(id), segment, seen: 0 };
        tables.bindings.insert(BindingKey::new(segment, addr(binding.address())), entry);
    }
}

/// A prefix as its key: length and bits.
fn prefix_key(attachment: u32, prefix: Prefix) -> (u32, PrefixKey) {
    let (in_front, family) =
        if prefix.address().is_ipv4() { (96, PrefixKey::IS_V4) } else { (0, 0) };
    let length = PrefixKey::ID_BITS + in_front + u32::from(prefix.length());
    (length, PrefixKey { of: attachment | family, addr: addr(prefix.address()) })
}

/// The node's own addresses, and their bits. They are nobody's, also where a file gives one to an
/// attachment: `macs` are what it gives.
pub fn own_macs(tables: &mut Tables, macs: Vec<(FdbKey, Endpoint)>) {
    tables.own_macs =
        tables.ports.values().map(|port| port.mac).filter(|mac| !mac.is_zero()).collect();
    tables.macs = macs.into_iter().filter(|(key, _)| !tables.own_macs.contains(&key.mac)).collect();
    tables.node.own_macs = tables.own_macs.iter().fold(0, |bits, mac| bits | mac.own_bit());
}
