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

/// What the tags say, and the attachment that they name.
struct Class {
    id: u32,
    key: ClassKey,
    lead: usize,
    priority: u16,
}

#[inline(always)]
pub fn classify(frame: &Frame, port: &PortEntry, scope: &mut Scope) -> Result<Origin, DropReason> {
    let ifindex = frame.ifindex();
    let class = if port.whole != 0 {
        Class { id: port.whole, key: ClassKey::whole(ifindex), lead: 0, priority: 0 }
    } else {
        find(frame, ifindex)?
    };
    let attachment = ATTACHMENTS.get(class.id).ok_or(DropReason::StaleExit)?;
    // An element of the class table may be used anew for another key while we hold it: the attachment tells.
    if attachment.class != class.key || attachment.segment == 0 {
        return Err(DropReason::StaleExit);
    }
    *scope = Scope::attachment(class.id);
    count::received(Exit::attachment(class.id), frame.len());
    Ok(origin(attachment, &class))
}

#[inline(always)]
fn origin(attachment: &Attachment, class: &Class) -> Origin {
    Origin {
        ingress: Exit::attachment(class.id),
        segment: attachment.segment,
        cross: attachment.cross,
        fdb_limit: attachment.fdb_limit,
        vni: attachment.vni,
        mtu: attachment.mtu,
        service: attachment.service,
        leaf: attachment.leaf != 0,
        tos: attachment.tos,
        lead: class.lead,
        priority: class.priority,
        transparent: attachment.class.encap().is_transparent(),
        outer_ecn: 0,
    }
}

/// The attachment of a class. The key is looked up from a copy of its own, which leaves the rest in registers.
#[inline(always)]
fn id_of(key: ClassKey) -> Option<u32> {
    // SAFETY: one aligned word, read at once.
    CLASSES.get_ptr(key).map(|id| unsafe { core::ptr::read_volatile(id) })
}

#[inline(always)]
fn attached(key: ClassKey, lead: usize, priority: u16) -> Result<Class, DropReason> {
    let id = id_of(key).ok_or(DropReason::NoAttachment)?;
    Ok(Class { id, key, lead, priority })
}

#[inline(always)]
fn find(frame: &Frame, ifindex: u32) -> Result<Class, DropReason> {
    let tpid = frame.read_be16(ETHERTYPE)?;
    if !is_tpid(tpid) {
        return attached(ClassKey::untagged(ifindex), 0, 0);
    }
    if tpid != C_TPID && tpid != S_TPID {
        return Err(DropReason::UnknownTpid);
    }
    let tci = frame.read_be16(ETHERTYPE + 2)?;
    let (vid, priority) = (tci & VID, tci & PRIORITY);
    if vid == VID {
        Err(DropReason::ReservedVid)
    } else if vid == 0 {
        attached(ClassKey::untagged(ifindex), TAG, priority)
    } else if tpid == C_TPID {
        attached(ClassKey::dot1q(ifindex, vid), TAG, priority)
    } else {
        service_tagged(frame, ifindex, vid, priority)
    }
}

#[inline(always)]
fn service_tagged(frame: &Frame, ifindex: u32, vid: u16, priority: u16) -> Result<Class, DropReason> {
    if frame.read_be16(ETHERTYPE + TAG)? == C_TPID {
        let inner = frame.read_be16(ETHERTYPE + TAG + 2)? & VID;
        let key = ClassKey::qinq(ifindex, vid, inner);
        if let Some(id) = id_of(key) {
            return Ok(Class { id, key, lead: 2 * TAG, priority });
        }
    }
    attached(ClassKey::qinq(ifindex, vid, ClassKey::ANY), TAG, priority)
}
