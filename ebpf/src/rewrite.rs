//! From the tags of the way in to the tags, or the tunnel, of the way out. The front of the frame is moved once, whatever
//! the combination.
//!
//! PCP and DEI go with the frame: into the tags of the way out, or, through a tunnel, in a priority tag (VID 0) when they
//! are not zero.

use sillon_abi::{ClassKey, DropReason, Encap, PathEntry, V4_OUTER, V6_OUTER};

use crate::{
    classify::Origin,
    frame::Frame,
    outer::Outer,
    parse::{C_TPID, ETHERTYPE, Inner, S_TPID, TAG},
};

#[inline(always)]
fn tag(frame: &Frame, offset: usize, tpid: u16, tci: u16) -> Result<(), DropReason> {
    frame.write(offset, [tpid.to_be(), tci.to_be()])
}

/// Takes `by` bytes off in front of the inner packet (or adds them), and puts the addresses at the front, unless they are there.
#[inline(always)]
pub fn move_front(frame: &Frame, inner: &Inner, by: i32) -> Result<(), DropReason> {
    frame.shift(by)?;
    if inner.start as i32 != by { frame.write_macs(0, inner.macs) } else { Ok(()) }
}

/// Gives the frame the tags of an attachment; returns its length then.
#[inline(always)]
pub fn to_attachment(
    frame: &Frame,
    origin: &Origin,
    inner: &Inner,
    class: ClassKey,
) -> Result<usize, DropReason> {
    let encap = class.encap();
    let mut strip = origin.lead();
    if !encap.is_transparent() && inner.carried != 0 {
        if !inner.priority_tag {
            return Err(DropReason::NestedTag);
        }
        strip += TAG;
    }
    let outer = inner.priority | class.outer_vid();
    let pushed = match encap {
        Encap::Untagged | Encap::Port => {
            move_front(frame, inner, strip as i32)?;
            0
        }
        Encap::Dot1q => {
            move_front(frame, inner, strip as i32 - TAG as i32)?;
            tag(frame, ETHERTYPE, C_TPID, outer)?;
            TAG
        }
        Encap::QinqS => {
            move_front(frame, inner, strip as i32 - TAG as i32)?;
            tag(frame, ETHERTYPE, S_TPID, outer)?;
            TAG
        }
        Encap::QinqSC => {
            move_front(frame, inner, strip as i32 - 2 * TAG as i32)?;
            tag(frame, ETHERTYPE, S_TPID, outer)?;
            tag(frame, ETHERTYPE + TAG, C_TPID, inner.priority | class.inner)?;
            2 * TAG
        }
    };
    Ok(inner.len - strip + pushed)
}

/// Whether the inner frame needs a priority tag of its own to keep PCP and DEI.
#[inline(always)]
pub fn needs_priority_tag(origin: &Origin, inner: &Inner) -> bool {
    origin.lead() != 0 && inner.carried == 0 && inner.priority != 0
}

/// Bytes of the inner frame in a tunnel.
#[inline(always)]
pub fn inner_len(origin: &Origin, inner: &Inner) -> usize {
    inner.len - origin.lead() + if needs_priority_tag(origin, inner) { TAG } else { 0 }
}

/// Puts the frame into a tunnel.
#[inline(always)]
pub fn to_tunnel(
    frame: &Frame,
    origin: &Origin,
    inner: &Inner,
    outer: &Outer,
    path: &PathEntry,
) -> Result<(), DropReason> {
    let push = if needs_priority_tag(origin, inner) { TAG } else { 0 };
    let header = path.header_len as usize;
    frame.shift(origin.lead() as i32 - push as i32 - header as i32)?;
    let at = if header == V4_OUTER {
        // SAFETY: `at` checked that the bytes are there.
        unsafe { outer.write_v4(frame.at::<[u16; V4_OUTER / 2]>(0)?.cast(), path) };
        V4_OUTER
    } else {
        // SAFETY: as above.
        unsafe { outer.write_v6(frame.at::<[u16; V6_OUTER / 2]>(0)?.cast(), path) };
        V6_OUTER
    };
    if origin.lead() != push {
        frame.write_macs(at, inner.macs)?;
    }
    if push != 0 {
        tag(frame, at + ETHERTYPE, C_TPID, inner.priority)?;
    }
    Ok(())
}
