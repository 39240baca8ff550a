//! From the tags of the way in to the tags, or the tunnel, of the way out. The front of the frame
//! is moved once, whatever the combination.
//!
//! PCP and DEI go with the frame: into the tags of the way out, or, through a tunnel, in a priority
//! tag (VID 0) when they are not zero. A yellow frame (`police`) has DEI in the tags of the way out
//! besides.

use sillon_abi::{ClassKey, DropReason, Encap, PathEntry, V4_OUTER, V6_OUTER};

use crate::{
    frame::{Frame, XdpFrame},
    meta::{Carried, Front, Ingress, Inner},
    vxlan::encap::Outer,
    wire::{C_TPID, ETHERTYPE, S_TPID, TAG},
};

#[inline(always)]
fn tag(frame: &XdpFrame, offset: usize, tpid: u16, tci: u16) -> Result<(), DropReason> {
    frame.write(offset, [tpid.to_be(), tci.to_be()])
}

/// Puts the addresses at the front, where `by` bytes were taken off, unless they are there.
#[inline(always)]
pub fn put_addresses(frame: &XdpFrame, inner: &Inner, by: i32) -> Result<(), DropReason> {
    if inner.start as i32 != by { frame.write_macs(0, inner.macs) } else { Ok(()) }
}

/// What becomes of a frame's front on the way to an attachment.
#[inline(always)]
pub fn front(ingress: &Ingress, inner: &Inner, encap: Encap) -> Result<Front, DropReason> {
    let mut strip = ingress.lead();
    if !encap.is_transparent() && inner.carried != Carried::NOTHING {
        if inner.carried != Carried::PRIORITY_TAG {
            return Err(DropReason::NestedTag);
        }
        strip += TAG;
    }
    Ok(Front { strip, push: encap.tags() * TAG })
}

/// At XDP: gives the frame the tags of an attachment, with this PCP and DEI, once there is room.
#[inline(always)]
pub fn to_attachment(
    frame: &XdpFrame,
    inner: &Inner,
    class: ClassKey,
    front: Front,
    priority: u16,
) -> Result<(), DropReason> {
    put_addresses(frame, inner, front.by())?;
    let outer = priority | class.outer_vid();
    match class.encap() {
        Encap::Untagged | Encap::Port => Ok(()),
        Encap::Dot1q => tag(frame, ETHERTYPE, C_TPID, outer),
        Encap::QinqS => tag(frame, ETHERTYPE, S_TPID, outer),
        Encap::QinqSC => {
            tag(frame, ETHERTYPE, S_TPID, outer)?;
            tag(frame, ETHERTYPE + TAG, C_TPID, priority | class.inner)
        }
    }
}

/// Whether the inner frame needs a priority tag of its own to keep PCP and DEI.
#[inline(always)]
pub fn needs_priority_tag(ingress: &Ingress, inner: &Inner) -> bool {
    ingress.lead() != 0 && inner.carried == Carried::NOTHING && inner.priority != 0
}

/// Bytes of the inner frame in a tunnel.
#[inline(always)]
pub fn inner_len(ingress: &Ingress, inner: &Inner) -> usize {
    inner.len - ingress.lead() + pushed(ingress, inner)
}

/// At XDP: makes room for a tunnel's header.
#[inline(always)]
pub fn make_room(
    frame: &XdpFrame,
    ingress: &Ingress,
    inner: &Inner,
    header: usize,
) -> Result<(), DropReason> {
    frame.shift(ingress.lead() as i32 - pushed(ingress, inner) as i32 - header as i32)
}

/// Bytes of tags that a frame gets on its way into a tunnel.
#[inline(always)]
fn pushed(ingress: &Ingress, inner: &Inner) -> usize {
    if needs_priority_tag(ingress, inner) { TAG } else { 0 }
}

/// At XDP: puts the frame into a tunnel, once there is room.
#[inline(always)]
pub fn to_tunnel(
    frame: &XdpFrame,
    ingress: &Ingress,
    inner: &Inner,
    outer: &Outer,
    path: &PathEntry,
) -> Result<(), DropReason> {
    let push = pushed(ingress, inner);
    let at = if path.header_len as usize == V4_OUTER {
        // SAFETY: `at` checked that the bytes are there.
        unsafe { outer.write_v4(frame.at::<[u16; V4_OUTER / 2]>(0)?.cast(), path) };
        V4_OUTER
    } else {
        // SAFETY: as above.
        unsafe { outer.write_v6(frame.at::<[u16; V6_OUTER / 2]>(0)?.cast(), path) };
        V6_OUTER
    };
    if ingress.lead() != push {
        frame.write_macs(at, inner.macs)?;
    }
    if push != 0 {
        tag(frame, at + ETHERTYPE, C_TPID, inner.priority)?;
    }
    Ok(())
}
