//! XDP cannot copy, so a frame for many goes on to TC, with a note of what is known of it. The frame that goes on has no tags
//! but those that it carries for its operator; its ethertype is masked (see [`MASKED_ETHERTYPE`]), so that it can only ever be
//! what TC makes of it.

use aya_ebpf::bindings::xdp_action;
use sillon_abi::{DropReason, Handoff, MASKED_ETHERTYPE};

use crate::{
    classify::Origin,
    flow,
    frame::Frame,
    parse::{Carried, ETHERTYPE, Inner, TAG},
    rewrite,
};

#[inline(always)]
pub fn hand_over(frame: &Frame, origin: &Origin, inner: &Inner) -> Result<u32, DropReason> {
    let flow = flow::of(frame, inner);
    let lifted = if inner.carried == Carried::PriorityTag { TAG } else { 0 };
    let strip = origin.lead() + lifted;
    frame.shift(strip as i32)?;
    rewrite::put_addresses(frame, inner, strip as i32)?;
    let ethertype: u16 = frame.read(ETHERTYPE)?;
    frame.write(ETHERTYPE, MASKED_ETHERTYPE.to_be())?;
    let mut flags = 0;
    if origin.leaf {
        flags |= Handoff::LEAF;
    }
    if inner.eligible != 0 {
        flags |= Handoff::YELLOW;
    }
    flags |= match inner.carried {
        Carried::Nothing => 0,
        Carried::PriorityTag => Handoff::PRIORITY_TAGGED,
        Carried::Tags => Handoff::CARRIES_TAGS,
    };
    frame.leave_note(Handoff {
        magic: Handoff::MAGIC,
        segment: origin.segment,
        ingress: origin.ingress,
        hash: flow.hash,
        ethertype,
        priority: inner.priority,
        flags,
        ecn: flow.ecn,
        pad: 0,
    })?;
    Ok(xdp_action::XDP_PASS)
}

/// Passes a control frame of an attachment to the host's own stack, past the flood.
#[inline(always)]
pub fn to_peer(frame: &Frame, origin: &Origin) -> Result<u32, DropReason> {
    frame.leave_note(Handoff {
        magic: Handoff::MAGIC,
        ingress: origin.ingress,
        flags: Handoff::FOR_HOST,
        ..Handoff::default()
    })?;
    Ok(xdp_action::XDP_PASS)
}

/// Passes a frame to the host's own stack, with a note that says so: a note that somebody else left must not speak for it.
#[inline(always)]
pub fn to_host(frame: &Frame) -> u32 {
    // A driver without metadata can't have anybody's note either.
    let _ = frame.leave_note(Handoff::default());
    xdp_action::XDP_PASS
}
