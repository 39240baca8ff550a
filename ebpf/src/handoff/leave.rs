//! What is left for TC, in metadata in front of the frame: what is known of it, under a seal.
//!
//! The frame that goes on has no tags but those that it carries for its operator; its ethertype is
//! masked (see [`MASKED_ETHERTYPE`]), so that it can only ever be what TC makes of it.

use aya_ebpf::bindings::xdp_md;
use sillon_abi::{DropReason, Endpoint, Handoff, MASKED_ETHERTYPE, PortEntry};

use crate::{
    flow_hash,
    frame::{Frame, XdpFrame},
    hook::Egress,
    hw_vlan, maps,
    meta::{Carried, Ingress, Inner},
    register::{to_number, to_result},
    rewrite,
    verdict::Verdict,
    wire::{ETHERTYPE, TAG},
};

#[inline(always)]
pub fn hand_over(
    frame: &XdpFrame,
    ingress: &Ingress,
    inner: &Inner,
) -> Result<Verdict, DropReason> {
    let mut handoff = handoff(frame, ingress, inner);
    let lifted = if inner.carried == Carried::PRIORITY_TAG { TAG } else { 0 };
    let strip = ingress.lead() + lifted;
    frame.shift(strip as i32)?;
    rewrite::put_addresses(frame, inner, strip as i32)?;
    handoff.ethertype = frame.read(ETHERTYPE)?;
    frame.write(ETHERTYPE, MASKED_ETHERTYPE.to_be())?;
    sealed(frame, handoff)?;
    Ok(Verdict::PASSED)
}

/// Leaves a handoff in front of the frame, sealed.
#[inline(always)]
fn sealed(frame: &XdpFrame, handoff: Handoff) -> Result<(), DropReason> {
    let handoff = Handoff { flags: handoff.flags | hw_vlan::handoff_flag(frame)?, ..handoff };
    frame.leave(Handoff { seal: maps::seal(&handoff, frame.ifindex()), ..handoff })
}

/// What is to be known of a frame that is copied, but for the ethertype.
#[inline(always)]
pub fn handoff(frame: &impl Frame, ingress: &Ingress, inner: &Inner) -> Handoff {
    let flow = flow_hash::of(frame, inner);
    let mut flags = 0;
    if ingress.leaf {
        flags |= Handoff::LEAF;
    }
    if inner.eligible != 0 {
        flags |= Handoff::YELLOW;
    }
    flags |= match inner.carried {
        Carried::NOTHING => 0,
        Carried::PRIORITY_TAG => Handoff::PRIORITY_TAGGED,
        _ => Handoff::CARRIES_TAGS,
    };
    Handoff {
        seal: Handoff::AT_TC,
        segment: ingress.segment,
        ingress: ingress.endpoint,
        hash: flow.hash,
        ethertype: 0,
        priority: inner.priority,
        flags,
        ecn: flow.ecn,
        pad: 0,
    }
}

/// XDP has no way out of a port that has the pipeline at TC (a container's veth takes no frame from
/// XDP): the frame, once it is as it shall leave, goes on to TC with a handoff that says where. It
/// keeps its ethertype, so that GRO knows it: packets of one flow have equal handoffs, and become
/// one again. A driver that leaves no room for the handoff has no device that it could leave by,
/// either.
#[inline(always)]
pub fn onward(frame: &XdpFrame, way: &Egress<'_>) -> Result<(), DropReason> {
    to_result(sillon_onward(frame.ctx(), way.endpoint.word(), way.ifindex, way.proof))
}

/// A function of its own, since most frames never come here. The kernel keeps the handoff in front
/// of the frame when that is changed.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sillon_onward(ctx: *mut xdp_md, endpoint: u32, ifindex: u32, proof: u32) -> u32 {
    if !maps::port(ifindex).is_some_and(PortEntry::is_at_tc) {
        return DropReason::NoDevice as u32;
    }
    to_number(sealed(
        &XdpFrame::of(ctx),
        Handoff {
            seal: Handoff::AT_TC,
            segment: proof,
            ingress: Endpoint::from_word(endpoint),
            hash: proof,
            flags: Handoff::ONWARD,
            ..Handoff::default()
        },
    ))
}

/// Passes a control frame of an attachment to the host's own stack, past the flood.
#[inline(always)]
pub fn to_peer(frame: &XdpFrame, ingress: &Ingress) -> Result<Verdict, DropReason> {
    sealed(
        frame,
        Handoff {
            seal: Handoff::AT_TC,
            ingress: ingress.endpoint,
            flags: Handoff::FOR_HOST,
            ..Handoff::default()
        },
    )?;
    Ok(Verdict::PASSED)
}

/// Passes a frame to the host's own stack, with a handoff that says so: a handoff that somebody
/// else left must not speak for it.
#[inline(always)]
pub fn to_host(frame: &XdpFrame) -> Verdict {
    // A driver without metadata can't have anybody's handoff either. Where there is no room for
    // ours, the other goes.
    if frame.leave(Handoff::default()).is_err() {
        frame.drop_metadata();
    }
    Verdict::PASSED
}
