//! XDP cannot copy, so a frame for many goes on to TC, with a note of what is known of it. The frame that goes on has no tags
//! but those that it carries for its operator; its ethertype is masked (see [`MASKED_ETHERTYPE`]), so that it can only ever be
//! what TC makes of it.

use aya_ebpf::bindings::{xdp_action, xdp_md};
use sillon_abi::{DropReason, Exit, Handoff, MASKED_ETHERTYPE, PortEntry};

use crate::{
    classify::Origin,
    flow,
    frame::{Frame, Way, XdpFrame},
    maps::PORTS,
    parse::{ETHERTYPE, IPV4, IPV6, Inner, TAG},
    rewrite,
};

#[inline(always)]
pub fn hand_over(frame: &XdpFrame, origin: &Origin, inner: &Inner) -> Result<u32, DropReason> {
    let mut note = note(frame, origin, inner);
    let lifted = if inner.priority_tag { TAG } else { 0 };
    let strip = origin.lead() + lifted;
    rewrite::move_front(frame, inner, strip as i32)?;
    note.ethertype = frame.read(ETHERTYPE)?;
    frame.write(ETHERTYPE, MASKED_ETHERTYPE.to_be())?;
    frame.leave_note(note)?;
    Ok(xdp_action::XDP_PASS)
}

/// What is to be known of a frame that is copied, but for the ethertype.
#[inline(always)]
pub fn note(frame: &impl Frame, origin: &Origin, inner: &Inner) -> Handoff {
    let flow = flow::of(frame, inner);
    let mut flags = 0;
    if origin.leaf {
        flags |= Handoff::LEAF;
    }
    if inner.eligible != 0 {
        flags |= Handoff::YELLOW;
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
        hash: flow.hash,
        ethertype: 0,
        priority: inner.priority,
        flags,
        ecn: flow.ecn,
        pad: 0,
    }
}

/// XDP has no way out of a port that has the pipeline at TC (a container's veth takes no frame from XDP): the frame, which is as it shall
/// leave, goes on to TC with a note of where. A driver that leaves no room for the note has no device that it could leave by, either.
#[inline(always)]
pub fn onward(frame: &XdpFrame, way: &Way) -> Result<(), DropReason> {
    let proof = if way.exit.is_remote() { way.hash } else { way.segment };
    let is_done = sillon_onward(frame.ctx(), way.exit.word(), way.ifindex, proof) != 0;
    if is_done { Ok(()) } else { Err(DropReason::NoDevice) }
}

/// A function of its own, since most frames never come here. `proof` is the hash by which a remote's path was found, or the attachment's segment.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sillon_onward(ctx: *mut xdp_md, exit: u32, ifindex: u32, proof: u32) -> u32 {
    let (frame, exit) = (XdpFrame::of(ctx), Exit::from_word(exit));
    // SAFETY: a map value, alive for the run of the program.
    let flags = PORTS.get_ptr(ifindex).map_or(0, |port| unsafe { (*port).flags });
    if flags & PortEntry::AT_TC == 0 {
        return 0;
    }
    let note = || {
        let ethertype: u16 = frame.read(ETHERTYPE)?;
        if exit.is_remote() || !may_be_merged(ethertype) {
            frame.write(ETHERTYPE, MASKED_ETHERTYPE.to_be())?;
        }
        frame.leave_note(Handoff {
            magic: Handoff::MAGIC,
            segment: proof,
            ingress: exit,
            hash: proof,
            ethertype,
            flags: Handoff::ONWARD,
            ..Handoff::default()
        })
    };
    u32::from(note().is_ok())
}

/// IP frames for a port keep their ethertype, so that GRO knows them: packets of one flow have equal notes, and become one again. TC is put on
/// a port before XDP and taken off after it, so that there is always who takes them.
#[inline(always)]
fn may_be_merged(ethertype: u16) -> bool {
    ethertype == IPV4.to_be() || ethertype == IPV6.to_be()
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
