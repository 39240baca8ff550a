//! XDP cannot copy, so a frame for many goes on to TC, with a note of what is known of it. The frame that goes on has no tags
//! but those that it carries for its operator; its ethertype is masked (see [`MASKED_ETHERTYPE`]), so that it can only ever be
//! what TC makes of it.

use aya_ebpf::bindings::xdp_action;
use sillon_abi::{DropReason, Exit, Handoff, MASKED_ETHERTYPE};

use crate::{
    classify::Origin,
    flow::{self, Flow},
    frame::{Frame, XdpFrame},
    parse::{ETHERTYPE, IPV4, IPV6, Inner, TAG},
    rewrite,
};

#[inline(always)]
pub fn hand_over(frame: &XdpFrame, origin: &Origin, inner: &Inner, to: Exit) -> Result<u32, DropReason> {
    // What is for one needs neither hash nor ECN; without them its flow's frames have equal notes, and can become one (GRO).
    let flow = if to.is_none() { flow::of(frame, inner) } else { Flow { hash: 0, ecn: 0 } };
    let lifted = if inner.priority_tag { TAG } else { 0 };
    let strip = origin.lead() + lifted;
    rewrite::move_front(frame, inner, strip as i32)?;
    let ethertype: u16 = frame.read(ETHERTYPE)?;
    if to.is_none() || !may_be_merged(ethertype) {
        frame.write(ETHERTYPE, MASKED_ETHERTYPE.to_be())?;
    }
    let mut handoff = note(origin, inner);
    handoff.hash = flow.hash;
    handoff.ecn = flow.ecn;
    handoff.ethertype = ethertype;
    handoff.to = to;
    frame.leave_note(handoff)?;
    Ok(xdp_action::XDP_PASS)
}

/// IP frames for one place keep their ethertype, so that GRO knows them. TC is put on a port before XDP and taken off after it, so
/// that there is always who takes them.
#[inline(always)]
fn may_be_merged(ethertype: u16) -> bool {
    ethertype == IPV4.to_be() || ethertype == IPV6.to_be()
}

/// What is to be known of a frame at TC, whoever hands it over.
#[inline(always)]
pub fn note(origin: &Origin, inner: &Inner) -> Handoff {
    let mut flags = 0;
    if origin.leaf {
        flags |= Handoff::LEAF;
    }
    if inner.priority_tag {
        flags |= Handoff::PRIORITY_TAGGED;
    } else if inner.carried != 0 {
        flags |= Handoff::CARRIES_TAGS;
    }
    Handoff {
        magic: Handoff::MAGIC,
        segment: origin.segment,
        ingress: origin.ingress,
        priority: inner.priority,
        flags,
        ..Handoff::default()
    }
}

/// Passes a control frame of an attachment to the host's own stack, past the flood.
#[inline(always)]
pub fn to_peer(frame: &XdpFrame, origin: &Origin) -> Result<u32, DropReason> {
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
pub fn to_host(frame: &XdpFrame) -> u32 {
    // A driver without metadata can't have anybody's note either.
    let _ = frame.leave_note(Handoff::default());
    xdp_action::XDP_PASS
}
