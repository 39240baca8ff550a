//! What becomes of a frame at TC, by what the pipeline has left with it. A frame without a handoff
//! is one that XDP has not seen: it passes on uplinks alone.

use sillon_abi::{DropReason, Handoff, MASKED_ETHERTYPE, PortEntry, Role};

use crate::{
    count::Scope,
    flood::flood,
    maps::{self, ATTACHMENTS, HANDOFFS},
    skb::{Skb, offloads::Whence},
    verdict::{Verdict, dropped},
    vxlan::encap,
    wire::ETHERTYPE,
};

/// What becomes of a frame that the pipeline of the port `ifindex` left to be copied.
#[inline(always)]
pub fn take(skb: Skb, ifindex: u32) -> Verdict {
    let port = Scope::port(ifindex);
    // Zero, since the verifier wants to see every word of it written.
    let mut handoff = Handoff::default();
    let is_at_tc = maps::port(ifindex).is_some_and(PortEntry::is_at_tc);
    let (scope, result) = match handoff_on(skb, is_at_tc, &mut handoff) {
        Ok(true) if handoff.ingress.is_none() => (port, send(skb, is_at_tc, handoff)),
        Ok(true) => (Scope::of_handoff(&handoff), send(skb, is_at_tc, handoff)),
        Ok(false) => (port, without_handoff(skb)),
        Err(reason) => (port, Err(reason)),
    };
    match result {
        Ok(verdict) => verdict,
        Err(reason) => dropped(scope, reason),
    }
}

/// On an uplink, what is for the host passes. On other ports XDP lets nothing through without a
/// handoff.
#[inline(always)]
fn without_handoff(skb: Skb) -> Result<Verdict, DropReason> {
    let is_uplink = maps::port(skb.ifindex()).is_some_and(|port| port.role == Role::Uplink as u8);
    if is_uplink && skb.protocol() != MASKED_ETHERTYPE.to_be() {
        Ok(Verdict::PASSED)
    } else {
        Err(DropReason::Unclassified)
    }
}

/// Takes the handoff of a frame, and returns whether there is one. The one at TC is taken away: it
/// must not speak for a later frame.
#[inline(always)]
fn handoff_on(skb: Skb, is_at_tc: bool, handoff: &mut Handoff) -> Result<bool, DropReason> {
    if !is_at_tc {
        let Some(taken) = skb.take_handoff()? else { return Ok(false) };
        *handoff = taken;
        return Ok(true);
    }
    let left = HANDOFFS.get_ptr_mut(0).ok_or(DropReason::Unclassified)?;
    // SAFETY: a per-CPU value, which only this frame's programs touch until they are done.
    *handoff = unsafe { core::mem::take(&mut *left) };
    if handoff.seal == Handoff::AT_TC { Ok(true) } else { Err(DropReason::Unclassified) }
}

#[inline(always)]
fn send(skb: Skb, is_at_tc: bool, handoff: Handoff) -> Result<Verdict, DropReason> {
    let is_onward = handoff.flags & Handoff::ONWARD != 0;
    let has_hw_vlan = skb.has_hw_vlan();
    if handoff.flags & Handoff::HW_VLAN != 0 {
        // XDP has it in the data, or took it off there. No other frame's handoff says so.
        if !has_hw_vlan {
            return Err(DropReason::Unclassified);
        }
        skb.pop_tag()?;
    } else if !is_at_tc && !is_onward && has_hw_vlan {
        // XDP has not seen that tag. On a frame that goes `ONWARD` it is XDP's own, lifted out of
        // the data by the kernel.
        return Err(DropReason::NestedTag);
    }
    if handoff.flags & Handoff::FOR_HOST != 0 {
        // A peer's control frame has an attachment. What else is for the host passes on uplinks
        // alone, as behind XDP.
        return if handoff.ingress.is_none() { without_handoff(skb) } else { Ok(Verdict::PASSED) };
    }
    if !is_at_tc && !is_onward {
        skb.store(ETHERTYPE, handoff.ethertype)?;
    }
    if is_onward { onward(skb, &handoff) } else { flood(skb, handoff) }
}

/// Out of the one port that XDP found, and has no way to.
#[inline(always)]
fn onward(skb: Skb, handoff: &Handoff) -> Result<Verdict, DropReason> {
    let endpoint = handoff.ingress;
    // What the sender's kernel left to the device is still with the frame: XDP has not seen it.
    skb.as_it_stands(Whence::PORT)?;
    if endpoint.is_remote() {
        let path = encap::path(endpoint.id(), handoff.hash).ok_or(DropReason::Unreachable)?;
        skb.set_mark(0);
        return skb.redirect(path.ifindex);
    }
    let attachment = ATTACHMENTS.get(endpoint.id()).ok_or(DropReason::StaleExit)?;
    if attachment.segment != handoff.segment {
        return Err(DropReason::StaleExit);
    }
    let ifindex = attachment.class.ifindex;
    let port = maps::port(ifindex).ok_or(DropReason::NoDevice)?;
    // The kernel has read the ethertype of the frame as it leaves.
    let is_understood = skb.destination().is_some_and(|to| !to.is_group());
    skb.hand_to_port(ifindex, port, is_understood)
}
