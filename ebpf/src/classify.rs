//! Whose frame is it? On an access or handover port the tags decide, and only exactly the tags of
//! an attachment do:
//!
//! - no tag, or one priority tag (TPID 0x8100 or 0x88a8 with VID 0, IEEE 802.1Q clause 6.9.1): the
//!   `untagged` attachment.
//! - one C-tag: the `dot1q` attachment of that VID. An S-tag: the `qinq S.C` attachment of it and
//!   the C-tag inside, else the `qinq S` attachment, which takes any tags inside.
//! - a `port` attachment takes everything as it is.
//!
//! Nothing falls through to another attachment: that is VLAN hopping. VID 4095 is reserved, other
//! TPIDs (0x9100 …) are unknown, and both are dropped. So is a tag inside the tags of an attachment
//! that is not transparent (`parse`).

use sillon_abi::{Attachment, ClassKey, DropReason, Endpoint, PortEntry};

use crate::{
    frame::{Frame, Macs},
    maps::{ATTACHMENTS, CLASSES},
    meta::Ingress,
    wire::{C_TPID, ETHERTYPE, PRIORITY, S_TPID, TAG, is_tpid},
};

const VID: u16 = 0x0fff;

/// What the tags say. Of a frame with an S-tag and a C-tag it is not known yet how many of them are
/// the attachment's.
pub struct Tags {
    /// What to look up; of a frame with a priority tag, `inner` is [`PRIORITY_TAG`].
    pub key: ClassKey,
    /// The addresses in front of them.
    pub macs: Macs,
    pub lead: usize,
    pub priority: u16,
}

/// In `inner`, which is no VID: the frame has a priority tag, and is an untagged one otherwise.
const PRIORITY_TAG: u16 = 0x7fff;

/// The attachment that the tags name, and how many bytes of them are its own.
struct Class {
    id: u32,
    key: ClassKey,
    lead: usize,
}

#[inline(always)]
pub fn classify(port: &PortEntry, tags: &Tags) -> Result<Ingress, DropReason> {
    let class = find(port, tags)?;
    let attachment = ATTACHMENTS.get(class.id).ok_or(DropReason::StaleExit)?;
    // An element of the class table may be used anew for another key while we hold it: the
    // attachment tells.
    if attachment.class != class.key || attachment.segment == 0 {
        return Err(DropReason::StaleExit);
    }
    Ok(ingress(attachment, &class))
}

#[inline(always)]
fn ingress(attachment: &Attachment, class: &Class) -> Ingress {
    Ingress {
        endpoint: Endpoint::attachment(class.id),
        segment: attachment.segment,
        cross: attachment.cross,
        fdb_limit: attachment.fdb_limit,
        vni: attachment.vni,
        lead: class.lead as u8,
        mtu: attachment.mtu,
        service: attachment.service,
        leaf: attachment.leaf != 0,
        tos: attachment.tos,
        transparent: attachment.class.encap().is_transparent(),
        guards: attachment.guards,
    }
}

/// The attachment of a class. The key is looked up from a copy of its own, which leaves the rest in
/// registers.
#[inline(always)]
fn id_of(key: ClassKey) -> Option<u32> {
    // SAFETY: one aligned word, read at once.
    CLASSES.get_ptr(key).map(|id| unsafe { core::ptr::read_volatile(id) })
}

#[inline(always)]
fn find(port: &PortEntry, tags: &Tags) -> Result<Class, DropReason> {
    let Tags { mut key, lead, .. } = *tags;
    if key.inner == PRIORITY_TAG {
        key.inner = 0;
    }
    if port.whole != 0 {
        return Ok(Class { id: port.whole, key, lead });
    }
    if let Some(id) = id_of(key) {
        return Ok(Class { id, key, lead });
    }
    if lead != 2 * TAG {
        return Err(DropReason::NoAttachment);
    }
    // No attachment has both tags; one may have the S-tag, whatever is inside.
    let key = ClassKey { inner: ClassKey::ANY, ..key };
    let id = id_of(key).ok_or(DropReason::NoAttachment)?;
    Ok(Class { id, key, lead: TAG })
}

/// Reads the tags, as far as they may be an attachment's.
#[inline(always)]
pub fn tags(frame: &impl Frame, port: &PortEntry) -> Result<Tags, DropReason> {
    let ifindex = frame.ifindex();
    let at = frame.at::<[u16; ETHERTYPE / 2 + 1]>(0)?.cast::<u8>();
    // SAFETY: addresses and an ethertype are there.
    let (macs, tpid) =
        unsafe { (Macs::read(at), u16::from_be(at.add(ETHERTYPE).cast::<u16>().read_unaligned())) };
    let tpid = frame.first_tpid(tpid);
    if port.whole != 0 {
        return Ok(Tags { key: ClassKey::whole(ifindex), macs, lead: 0, priority: 0 });
    }
    if !is_tpid(tpid) {
        return Ok(Tags { key: ClassKey::untagged(ifindex), macs, lead: 0, priority: 0 });
    }
    if tpid != C_TPID && tpid != S_TPID {
        return Err(DropReason::UnknownTpid);
    }
    let tci = frame.read_tag(ETHERTYPE + 2)?;
    let (vid, priority) = (tci & VID, tci & PRIORITY);
    if vid == VID {
        return Err(DropReason::ReservedVid);
    }
    let (key, lead) = if vid == 0 {
        (ClassKey { inner: PRIORITY_TAG, ..ClassKey::untagged(ifindex) }, TAG)
    } else if tpid == C_TPID {
        (ClassKey::dot1q(ifindex, vid), TAG)
    } else if frame.read_tag(ETHERTYPE + TAG)? == C_TPID {
        let inner = frame.read_tag(ETHERTYPE + TAG + 2)? & VID;
        (ClassKey::qinq(ifindex, vid, inner), 2 * TAG)
    } else {
        (ClassKey::qinq(ifindex, vid, ClassKey::ANY), TAG)
    };
    Ok(Tags { key, macs, lead, priority })
}
