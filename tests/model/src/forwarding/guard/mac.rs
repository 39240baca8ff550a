//! Who may use which source address? What is configured is asked first, in a `line` too, which
//! learns nothing: the node's own addresses are nobody's, a configured one is its attachment's, and
//! an attachment with a list has no others.
//!
//! The rest are learned where their frames come in, and move with them, unless the address was
//! learned at a sticky attachment or moved too often (RFC 7432 section 15.1). A segment and an
//! attachment have at most their share.
//!
//! The model knows no time: all moves are within the window, and what is frozen stays so. It holds
//! for configurations whose `move_window` and `freeze` are longer than a run.

use std::collections::BTreeMap;

use sillon::model::{NodeConfig, OverLimit};
use sillon_abi::DropReason;

use super::super::{
    Place, Scope,
    counts::{Address, Held},
    frame::Mac,
    node::{Arrival, Device, Node},
};

/// Whether an address is one of the node's own: its ports have them.
pub fn is_own(config: &NodeConfig, devices: &[Device], mac: Mac) -> bool {
    let is_port =
        |device: &Device| config.ports.iter().any(|port| port.name.as_str() == device.name);
    devices.iter().any(|device| device.mac == mac && is_port(device))
}

/// What is configured: where each address is, by segment. The node's own are nobody's, whatever a
/// file says.
pub fn configured(config: &NodeConfig, devices: &[Device]) -> BTreeMap<(usize, Mac), Address> {
    let mut fdb = BTreeMap::new();
    for (at, attachment) in config.attachments.iter().enumerate() {
        let segment = config.segments.iter().position(|segment| segment.name == attachment.segment);
        let macs = attachment.guards.macs.iter().map(|mac| mac.octets());
        for mac in macs.filter(|mac| !is_own(config, devices, *mac)) {
            let address = Address { place: Place::Attachment(at), held: Held::Configured };
            fdb.extend(segment.map(|segment| ((segment, mac), address)));
        }
    }
    fdb
}

/// Whether an address may stay learned under another configuration.
pub fn may_stay(node: &Node, segment: usize, mac: Mac) -> bool {
    !is_own(&node.config, &node.devices, mac) && !node.counts.fdb.contains_key(&(segment, mac))
}

/// Whether the configuration lets an address be a source there.
///
/// # Errors
/// Whose else it is, or that it is on no list.
pub fn check(node: &Node, arrival: &Arrival, src: Mac) -> Result<(), DropReason> {
    if is_own(&node.config, &node.devices, src) {
        return Err(DropReason::SourceIsNode);
    }
    if let Some(Address { place, held: Held::Configured }) =
        node.counts.fdb.get(&(arrival.segment, src))
    {
        return if *place == arrival.from { Ok(()) } else { Err(DropReason::MacConfigured) };
    }
    match arrival.from {
        Place::Attachment(at) if !node.config.attachments[at].guards.macs.is_empty() => {
            Err(DropReason::MacNotListed)
        }
        _ => Ok(()),
    }
}

/// Learns an address that may be there.
///
/// # Errors
/// It must stay where it was, or it is one too many.
pub fn learn(node: &mut Node, arrival: &Arrival, src: Mac) -> Result<(), DropReason> {
    let key = (arrival.segment, src);
    match node.counts.fdb.get(&key).copied() {
        Some(address) if address.place == arrival.from => Ok(()),
        Some(address) => moved(node, arrival, key, address),
        None => {
            let share = node.config.segments[arrival.segment].mac_limit as usize;
            if !has_room(node, arrival.from)? {
                return Ok(());
            }
            if node.counts.learned(arrival.segment) >= share {
                node.counts.refused(Scope::Segment(arrival.segment));
                return Ok(());
            }
            let held = Held::Learned { moves: 0, is_frozen: false };
            node.counts.fdb.insert(key, Address { place: arrival.from, held });
            Ok(())
        }
    }
}

/// Whether an attachment may have one address more; tunnels have no limit of their own.
fn has_room(node: &mut Node, place: Place) -> Result<bool, DropReason> {
    let Place::Attachment(at) = place else { return Ok(true) };
    let guards = &node.config.attachments[at].guards;
    if node.counts.learned_at(place) < guards.mac_limit as usize {
        return Ok(true);
    }
    let over_limit = guards.over_limit;
    node.counts.refused(Scope::Attachment(at));
    match over_limit {
        OverLimit::Drop => Err(DropReason::MacLimit),
        OverLimit::Forward => Ok(false),
    }
}

/// An address from elsewhere than it was. What is not a move, since there is no room, does not
/// count as one.
fn moved(
    node: &mut Node,
    arrival: &Arrival,
    key: (usize, Mac),
    address: Address,
) -> Result<(), DropReason> {
    let Held::Learned { moves, is_frozen } = address.held else {
        return Err(DropReason::MacConfigured);
    };
    if let Place::Attachment(at) = address.place
        && node.config.attachments[at].guards.sticky
    {
        return Err(DropReason::MacSticky);
    }
    if is_frozen {
        return Err(DropReason::MacFrozen);
    }
    if !has_room(node, arrival.from)? {
        return Ok(());
    }
    let moves = moves.saturating_add(1);
    let limit = node.config.segments[arrival.segment].moves.limit;
    let is_too_many = limit != 0 && moves >= limit;
    let place = if is_too_many { address.place } else { arrival.from };
    node.counts
        .fdb
        .insert(key, Address { place, held: Held::Learned { moves, is_frozen: is_too_many } });
    if is_too_many { Err(DropReason::MacFrozen) } else { Ok(()) }
}
