//! Whose frame is it? On an access or handover port exactly the tags of an attachment name it, and
//! nothing falls through to another one: that is VLAN hopping.
//!
//! Of the tags only those are looked at that an attachment may have: the outermost, and behind an
//! S-tag a C-tag. A priority tag (VID 0) counts as no tag (IEEE 802.1Q clause 6.9.1).

use sillon::model::{Encap, LeafRole};
use sillon_abi::DropReason;

use super::{
    Place,
    frame::{C_TAG, HABIT, S_TAG, Tag, be16},
    node::{Arrival, Node},
};

/// VID 4095, which is reserved.
const RESERVED: u16 = 0xfff;

/// Takes a frame out of its attachment's tags.
///
/// # Errors
/// It belongs to no attachment of the port.
pub fn classify(node: &Node, device: usize, frame: &[u8]) -> Result<Arrival, DropReason> {
    let find = |encap: Encap| {
        let name = &node.devices[device].name;
        let is_it =
            |one: &sillon::model::Attachment| one.port.as_str() == name && one.encap == encap;
        node.config.attachments.iter().position(is_it)
    };
    if let Some(whole) = find(Encap::Port) {
        return Ok(arrival(node, whole, frame, &[]));
    }
    let ethertype = be16(frame, 12)?;
    if HABIT.contains(&ethertype) {
        return Err(DropReason::UnknownTpid);
    }
    if ethertype != C_TAG && ethertype != S_TAG {
        let attachment = find(Encap::Untagged).ok_or(DropReason::NoAttachment)?;
        return Ok(arrival(node, attachment, frame, &[]));
    }
    let outer = Tag::at(frame, 12)?;
    if outer.vid() == RESERVED {
        return Err(DropReason::ReservedVid);
    }
    let inner = match outer {
        Tag { tpid: S_TAG, .. } if outer.vid() != 0 && be16(frame, 16)? == C_TAG => {
            Some(Tag::at(frame, 16)?)
        }
        _ => None,
    };
    let (encaps, tags) = candidates(outer, inner);
    for (encap, tags) in encaps.into_iter().zip(tags) {
        if let Some(attachment) = encap.and_then(find) {
            return Ok(arrival(node, attachment, frame, &tags));
        }
    }
    Err(DropReason::NoAttachment)
}

/// The encapsulations that a frame with these tags may be of, the most exact one first, and the
/// tags that are theirs.
fn candidates(outer: Tag, inner: Option<Tag>) -> ([Option<Encap>; 2], [Vec<Tag>; 2]) {
    if outer.vid() == 0 {
        return ([Some(Encap::Untagged), None], [vec![outer], vec![]]);
    }
    let Ok(vid) = outer.vid().try_into() else { return ([None, None], [vec![], vec![]]) };
    match (outer.tpid, inner) {
        (C_TAG, _) => ([Some(Encap::Dot1q(vid)), None], [vec![outer], vec![]]),
        (_, Some(inner)) => {
            let both = inner.vid().try_into().ok().map(|c| Encap::QinqSC { s: vid, c });
            ([both, Some(Encap::QinqS(vid))], [vec![outer, inner], vec![outer]])
        }
        (_, None) => ([Some(Encap::QinqS(vid)), None], [vec![outer], vec![]]),
    }
}

fn arrival(node: &Node, attachment: usize, frame: &[u8], tags: &[Tag]) -> Arrival {
    let config = &node.config.attachments[attachment];
    let mut inner = frame.to_vec();
    inner.drain(12..12 + 4 * tags.len());
    Arrival {
        segment: node.segment_of(attachment).unwrap_or(usize::MAX),
        from: Place::Attachment(attachment),
        leaf: config.role == LeafRole::Leaf,
        priority: tags.first().map_or(0, |tag| tag.priority()),
        may_carry_tags: config.encap.is_transparent(),
        outer_ecn: 0,
        yellow: false,
        counted: frame.len(),
        tags: tags.to_vec(),
        frame: inner,
    }
}
