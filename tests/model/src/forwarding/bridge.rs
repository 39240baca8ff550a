//! Where does a frame go? A `line` goes to its other point, and nothing is learned. In a `lan` or
//! `tree` the source is learned where the frame came in, and the destination goes where it was last
//! seen: never back, and never out of one tunnel into another (split horizon). A group address, or
//! one that was not seen, goes to all.

use sillon::model::Service;
use sillon_abi::DropReason;

use super::{
    Flood, Place,
    frame::Inner,
    guard::mac,
    node::{Arrival, Node},
};

/// Where a frame goes; none is for many.
///
/// # Errors
/// Nowhere, or its source may not be there.
pub fn route(
    node: &mut Node,
    arrival: &Arrival,
    inner: &Inner,
) -> Result<Option<Place>, DropReason> {
    mac::check(node, arrival, inner.src)?;
    if node.config.segments[arrival.segment].service == Service::Line {
        return other_point(node, arrival).map(Some).ok_or(DropReason::LineIncomplete);
    }
    mac::learn(node, arrival, inner.src)?;
    if inner.is_for_group() {
        return Ok(None);
    }
    let Some(to) = node.counts.fdb.get(&(arrival.segment, inner.dst)).map(|address| address.place)
    else {
        return if mac::is_own(&node.config, &node.devices, inner.dst) {
            Err(DropReason::DestinationIsNode)
        } else {
            Ok(None)
        };
    };
    if to == arrival.from {
        return Err(DropReason::SameExit);
    }
    if let (Place::Remote(_), Place::Remote(_)) = (to, arrival.from) {
        return Err(DropReason::SplitHorizon);
    }
    Ok(Some(to))
}

/// All points of a segment.
fn points(node: &Node, segment: usize) -> Vec<Place> {
    let attachments = 0..node.config.attachments.len();
    let attached =
        attachments.filter(|one| node.segment_of(*one) == Some(segment)).map(Place::Attachment);
    let remotes = node.config.segments[segment].remotes.iter().copied().map(Place::Remote);
    attached.chain(remotes).collect()
}

/// The other point of a line. Two remotes are no line through this node: split horizon.
fn other_point(node: &Node, arrival: &Arrival) -> Option<Place> {
    let others = points(node, arrival.segment).into_iter().filter(|point| *point != arrival.from);
    others.into_iter().find(|point| may_reach(node, arrival.from, arrival.leaf, *point))
}

/// Whether what came from one point may go to another at all.
fn may_reach(node: &Node, from: Place, from_leaf: bool, to: Place) -> bool {
    match to {
        Place::Remote(_) => matches!(from, Place::Attachment(_)),
        Place::Attachment(attachment) => !(from_leaf && is_leaf(node, attachment)),
    }
}

/// Whether an attachment is a leaf of a tree.
pub fn is_leaf(node: &Node, attachment: usize) -> bool {
    node.config.attachments[attachment].role == sillon::model::LeafRole::Leaf
}

/// Who gets a copy of a frame for many.
pub fn receivers(node: &Node, flood: &Flood) -> Vec<Place> {
    let others = points(node, flood.segment).into_iter().filter(|point| *point != flood.from);
    others.filter(|point| may_reach(node, flood.from, flood.leaf, *point)).collect()
}
