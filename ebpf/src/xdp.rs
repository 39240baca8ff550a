//! The pipeline, written over a [`Frame`], and its entries at XDP, on every port but virtual ones:
//! those have it at TC (`tc.rs`).

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    macros::xdp,
    programs::XdpContext,
};
use sillon_abi::{DropReason, Endpoint, PortEntry, Role};

use crate::{
    classify::{self, Origin, Tags},
    count,
    count::Scope,
    deliver, ecn, fast_path,
    fdb::lookup::{self, Route},
    flow_cache::{Flow, Miss},
    frame::{Frame, Macs, XdpFrame},
    guard, hw_vlan, own_tunnel, parse, police, storm, suppress,
    vxlan::decap::{self, Packet},
};

/// On ports whose frames are all in one piece.
#[xdp]
pub fn sillon_xdp(ctx: XdpContext) -> u32 {
    let frame = XdpFrame::new(&ctx);
    run(&frame, frame.first_len())
}

/// On ports whose frames may be in many (multi-buffer).
#[xdp(frags)]
pub fn sillon_xdp_frags(ctx: XdpContext) -> u32 {
    let frame = XdpFrame::new(&ctx);
    run(&frame, frame.len())
}

#[inline(always)]
fn run(frame: &XdpFrame, mut len: usize) -> u32 {
    let Some(port) = frame.port() else { return sillon_in_full(frame.ctx(), len as u32) };
    if port.flags & PortEntry::HW_VLAN != 0 {
        let Some(longer) = hw_vlan::bring_in(frame) else { return xdp_action::XDP_DROP };
        len += longer;
    }
    match fast_path::forward(frame, port, len) {
        Some(action) => action,
        None => sillon_in_full(frame.ctx(), len as u32),
    }
}

/// Counts a drop, and says so to the kernel.
#[inline(always)]
pub fn dropped(scope: Scope, reason: DropReason) -> u32 {
    count::dropped(scope, reason);
    xdp_action::XDP_DROP
}

/// What most frames never come to: a function of its own, so that it takes no registers from what
/// they do; and a global one, which the verifier walks through once and by itself (see
/// `guard::sillon_kinds`), instead of from each place where a frame turns out not to be plain.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sillon_in_full(ctx: *mut xdp_md, len: u32) -> u32 {
    in_full(&XdpFrame::of(ctx), len as usize, &mut MaybeUninit::uninit())
}

/// `fresh` is room for what is found out of a frame. Of one that is dropped, the action is XDP's.
#[inline(always)]
pub fn in_full(frame: &impl Frame, len: usize, fresh: &mut MaybeUninit<Origin>) -> u32 {
    let mut scope = Scope::port(frame.ifindex());
    match arrive(frame, len, &mut scope, fresh) {
        Ok(Some(arrival)) => onwards(frame, &arrival)
            .unwrap_or_else(|reason| dropped(Scope::of(arrival.origin), reason)),
        Ok(None) => frame.to_host(),
        Err(reason) => dropped(scope, reason),
    }
}

/// A frame, and what is known of it.
struct Arrival<'a> {
    origin: &'a Origin,
    macs: Macs,
    /// PCP and DEI of its outermost tag.
    priority: u16,
    /// Where its flow was found to go, if that still holds.
    cached: Result<Endpoint, Miss>,
    /// Bytes, with all that is in front of the inner frame.
    len: usize,
    /// ECN field of the tunnel's outer header.
    outer_ecn: u8,
    /// `police::ELIGIBLE` if the node that it comes from says so.
    eligible: u16,
}

/// Whose it is; nothing where it is the host's.
#[inline(always)]
fn arrive<'a>(
    frame: &impl Frame,
    len: usize,
    scope: &mut Scope,
    fresh: &'a mut MaybeUninit<Origin>,
) -> Result<Option<Arrival<'a>>, DropReason> {
    let port = frame.port().ok_or(DropReason::NoAttachment)?;
    if port.role == Role::Uplink as u8 {
        from_tunnel(frame, port, len, scope, fresh)
    } else {
        from_port(frame, port, len, fresh).map(Some)
    }
}

/// All that comes before and after where it goes is known.
#[inline(always)]
fn onwards(frame: &impl Frame, arrival: &Arrival) -> Result<u32, DropReason> {
    let &Arrival { origin, len, .. } = arrival;
    let mut inner = parse::inner(frame, origin, arrival.macs, arrival.priority, len)?;
    if arrival.cached.is_err() {
        guard::addresses(origin, arrival.macs)?;
    }
    guard::packet(frame, origin, &inner)?;
    ecn::decapsulated(frame, &inner, arrival.outer_ecn)?;
    inner.eligible = arrival.eligible
        | match frame.back() {
            Some(eligible) => eligible,
            None => police::ingress(origin, len + inner.gso.headers)?,
        };
    if arrival.cached.is_err() && guard::control::is_peers(origin, &inner)? {
        // Of the link and not of the segment: not learned, nobody's claim, nor a question to
        // anybody in it.
        storm::allow(origin, &inner)?;
        return frame.to_peer(origin);
    }
    let route = match &arrival.cached {
        Ok(endpoint) => Route::To(*endpoint),
        Err(miss) => lookup::lookup(origin, &inner, miss)?,
    };
    if let Some(question) = suppress::answer(frame, origin, &inner) {
        return deliver::back(frame, origin, question, len);
    }
    match route {
        Route::To(endpoint) => deliver::deliver(frame, origin, &inner, endpoint),
        Route::Flood if inner.gso.extra_segments != 0 && own_tunnel::is_due(frame, &inner) => {
            frame.take_apart(inner.eligible)
        }
        Route::Flood => {
            storm::allow(origin, &inner)?;
            frame.hand_over(origin, &inner)
        }
    }
}

#[inline(always)]
fn from_port<'a>(
    frame: &impl Frame,
    port: &PortEntry,
    len: usize,
    fresh: &'a mut MaybeUninit<Origin>,
) -> Result<Arrival<'a>, DropReason> {
    let tags = classify::tags(frame, port)?;
    let (origin, cached): (&Origin, _) = match Flow::on_port(&tags).lookup() {
        Ok(decision) => (&decision.origin, Ok(decision.endpoint)),
        Err(miss) => (fresh.write(classify::classify(port, &tags)?), Err(miss)),
    };
    if frame.back().is_none() {
        count::received_on_port(origin.ingress, len);
    }
    let Tags { macs, priority, .. } = tags;
    Ok(Arrival { origin, macs, priority, cached, len, outer_ecn: 0, eligible: 0 })
}

#[inline(always)]
fn from_tunnel<'a>(
    frame: &impl Frame,
    port: &PortEntry,
    len: usize,
    scope: &mut Scope,
    fresh: &'a mut MaybeUninit<Origin>,
) -> Result<Option<Arrival<'a>>, DropReason> {
    let Some(packet) = decap::packet(frame, port, len)? else { return Ok(None) };
    let len = packet.header + packet.len;
    let (origin, cached): (&Origin, _) = match Flow::in_tunnel(&packet).lookup() {
        Ok(decision) => (&decision.origin, Ok(decision.endpoint)),
        Err(miss) => (fresh.write(decap::classify(&packet, scope)?), Err(miss)),
    };
    count::received_from_tunnel(origin.ingress, packet.len);
    if let Err(reason) = frame.trim(packet.padding) {
        *scope = Scope::of(origin);
        return Err(reason);
    }
    let eligible = if packet.vxlan.is_yellow() { police::ELIGIBLE } else { 0 };
    let Packet { macs, ecn: outer_ecn, .. } = packet;
    Ok(Some(Arrival { origin, macs, priority: 0, cached, len, outer_ecn, eligible }))
}
