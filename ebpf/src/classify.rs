//! Whose frame is it? On an access or handover port the tags decide, and only exactly the tags of an attachment do:
//!
//! - no tag, or one priority tag (TPID 0x8100 or 0x88a8 with VID 0, IEEE 802.1Q clause 6.9.1): the `untagged` attachment.
//! - one C-tag: the `dot1q` attachment of that VID. An S-tag: the `qinq S.C` attachment of it and the C-tag inside, else the
//!   `qinq S` attachment, which takes any tags inside.
//! - a `port` attachment takes everything as it is.
//!
//! Nothing falls through to another attachment: that is VLAN hopping. VID 4095 is reserved, other TPIDs (0x9100 …) are
//! unknown, and both are dropped. So is a tag inside the tags of an attachment that is not transparent (`parse`).

use sillon_abi::{Attachment, ClassKey, DropReason, Exit, PortEntry};

use crate::{
    count::{self, Scope},
    frame::Frame,
    maps::{ATTACHMENTS, CLASSES},
    parse::{C_TPID, ETHERTYPE, S_TPID, TAG, is_tpid},
};

/// Whose a frame is, from whichever side it came, and how its segment treats it.
pub struct Origin {
    pub ingress: Exit,
    pub segment: u32,
    /// In a `line`, the other point.
    pub cross: Exit,
    pub fdb_limit: u32,
    pub vni: u32,
    pub mtu: u16,
    pub service: u8,
    pub leaf: bool,
    /// DSCP for the outer header, in place.
    pub tos: u8,
    /// Bytes of the attachment's own tags.
    pub lead: usize,
    /// PCP and DEI of the outermost of them.
    pub priority: u16,
    /// Whether tags inside are the operator's business.
    pub transparent: bool,
    /// ECN field of the outer header of a tunnel.
    pub outer_ecn: u8,
}

/// PCP and DEI in a tag control field.
pub const PRIORITY: u16 = 0xf000;
const VID: u16 = 0x0fff;

/// What the tags say.
struct Tags {
    class: ClassKey,
    lead: usize,
    priority: u16,
}

#[inline(always)]
pub fn classify(frame: &Frame, port: &PortEntry, scope: &mut Scope) -> Result<Origin, DropReason> {
    let ifindex = frame.ifindex();
    let (id, tags) = if port.whole != 0 {
        (port.whole, Tags { class: ClassKey::whole(ifindex), lead: 0, priority: 0 })
    } else {
        find(frame, ifindex)?
    };
    let attachment = ATTACHMENTS.get(id).ok_or(DropReason::StaleExit)?;
    // An element of the class table may be used anew for another key while we hold it: the attachment tells.
    if attachment.class != tags.class || attachment.segment == 0 {
        return Err(DropReason::StaleExit);
    }
    *scope = Scope::attachment(id);
    count::received(Exit::attachment(id), frame.len());
    Ok(origin(id, attachment, &tags))
}

#[inline(always)]
fn origin(id: u32, attachment: &Attachment, tags: &Tags) -> Origin {
    Origin {
        ingress: Exit::attachment(id),
        segment: attachment.segment,
        cross: attachment.cross,
        fdb_limit: attachment.fdb_limit,
        vni: attachment.vni,
        mtu: attachment.mtu,
        service: attachment.service,
        leaf: attachment.leaf != 0,
        tos: attachment.tos,
        lead: tags.lead,
        priority: tags.priority,
        transparent: attachment.class.encap().is_transparent(),
        outer_ecn: 0,
    }
}

#[inline(always)]
fn id_of(class: &ClassKey) -> Option<u32> {
    // SAFETY: one aligned word, read at once.
    CLASSES.get_ptr(class).map(|id| unsafe { core::ptr::read_volatile(id) })
}

#[inline(always)]
fn find(frame: &Frame, ifindex: u32) -> Result<(u32, Tags), DropReason> {
    let tpid = frame.read_be16(ETHERTYPE)?;
    if !is_tpid(tpid) {
        let tags = Tags { class: ClassKey::untagged(ifindex), lead: 0, priority: 0 };
        return Ok((id_of(&tags.class).ok_or(DropReason::NoAttachment)?, tags));
    }
    if tpid != C_TPID && tpid != S_TPID {
        return Err(DropReason::UnknownTpid);
    }
    let tci = frame.read_be16(ETHERTYPE + 2)?;
    let (vid, priority) = (tci & VID, tci & PRIORITY);
    if vid == VID {
        return Err(DropReason::ReservedVid);
    }
    let mut tags = Tags { class: ClassKey::untagged(ifindex), lead: TAG, priority };
    if vid == 0 {
        return Ok((id_of(&tags.class).ok_or(DropReason::NoAttachment)?, tags));
    }
    if tpid == C_TPID {
        tags.class = ClassKey::dot1q(ifindex, vid);
        return Ok((id_of(&tags.class).ok_or(DropReason::NoAttachment)?, tags));
    }
    if frame.read_be16(ETHERTYPE + TAG)? == C_TPID {
        let inner = frame.read_be16(ETHERTYPE + TAG + 2)? & VID;
        tags.class = ClassKey::qinq(ifindex, vid, inner);
        if let Some(id) = id_of(&tags.class) {
            tags.lead = 2 * TAG;
            return Ok((id, tags));
        }
    }
    tags.class = ClassKey::qinq(ifindex, vid, ClassKey::ANY);
    Ok((id_of(&tags.class).ok_or(DropReason::NoAttachment)?, tags))
}
