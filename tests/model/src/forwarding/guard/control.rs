//! Control frames speak of a link, and in a segment there is none: those to 01-80-C2-00-00-00 to
//! -0F, which no bridge forwards (IEEE 802.1Q table 8-1), and Cisco's. Only a `line` whose
//! attachments all say `control = "tunnel"` is a link that carries them, and an attachment that
//! says `control = "peer"` gives those without a tag to the node's own stack. PAUSE and other MAC
//! control (ethertype 0x8808, IEEE 802.3 annex 31) is carried by none.

use sillon::model::{Control, Service};
use sillon_abi::DropReason;

use super::super::{
    Place,
    frame::{Inner, Mac},
    node::{Arrival, Node},
};

const MAC_CONTROL: u16 = 0x8808;
/// CDP, VTP and UDLD; PVST+.
const CISCO: [Mac; 2] =
    [[0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcc], [0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcd]];

/// Whether a frame is none, or may be one all the same.
pub fn check(node: &Node, arrival: &Arrival, inner: &Inner) -> Result<(), DropReason> {
    let is_allowed = peers(node, arrival) || is_tunnelled(node, arrival.segment);
    if is_control(inner) && !is_allowed {
        return Err(DropReason::LinkLocalControl);
    }
    if inner.ethertype == MAC_CONTROL {
        return Err(DropReason::MacControl);
    }
    Ok(())
}

/// Whether a frame that passed is for the node's own stack.
///
/// # Errors
/// It is one of those, and has a tag, or is of no protocol of the link.
pub fn is_peers(node: &Node, arrival: &Arrival, inner: &Inner) -> Result<bool, DropReason> {
    let has_tags = arrival.frame.len() < arrival.counted || !inner.carried.is_empty();
    match peers(node, arrival) && is_control(inner) {
        true if has_tags || !is_of_the_link(inner.ethertype) => Err(DropReason::LinkLocalControl),
        is_peers => Ok(is_peers),
    }
}

/// LLC; LACP, LLDP, EAPOL, MACsec, MVRP, MMRP, CFM, PTP.
fn is_of_the_link(ethertype: u16) -> bool {
    const OTHERS: [u16; 8] = [0x8809, 0x88cc, 0x888e, 0x88e5, 0x88f5, 0x88f6, 0x8902, 0x88f7];
    ethertype < 0x0600 || OTHERS.contains(&ethertype)
}

fn is_control(inner: &Inner) -> bool {
    let is_link_local = inner.dst[..5] == [0x01, 0x80, 0xc2, 0, 0] && inner.dst[5] < 0x10;
    is_link_local || CISCO.contains(&inner.dst)
}

fn peers(node: &Node, arrival: &Arrival) -> bool {
    match arrival.from {
        Place::Attachment(attachment) => {
            node.config.attachments[attachment].guards.control == Control::Peer
        }
        Place::Remote(_) => false,
    }
}

fn is_tunnelled(node: &Node, segment: usize) -> bool {
    let segment = &node.config.segments[segment];
    let mut points = node.config.attachments.iter().filter(|one| one.segment == segment.name);
    segment.service == Service::Line && points.all(|point| point.guards.control == Control::Tunnel)
}
