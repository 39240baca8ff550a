//! The pipeline, written over a [`Frame`], and its entry at XDP, on every port but virtual ones: those have it at TC (`tc.rs`).

use core::mem::MaybeUninit;

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use sillon_abi::{DropReason, Exit, PortEntry, Role};

use crate::{
    classify::{self, Origin},
    count,
    count::Scope,
    deliver, ecn, flow,
    frame::{Frame, Macs, XdpFrame},
    guard,
    lookup::{self, Route},
    maps::PORTS,
    parse, plain, police,
    recall::{Flow, Undecided},
    storm, suppress,
    tunnel::{self, Packet},
};

#[xdp(frags)]
pub fn sillon_xdp(ctx: XdpContext) -> u32 {
    let frame = XdpFrame::new(&ctx);
    let mut scope = Scope::port(frame.ifindex());
    match pipeline(&frame, &mut scope, &mut MaybeUninit::uninit()) {
        Ok(action) => action,
        Err(reason) => {
            count::dropped(scope, reason);
            xdp_action::XDP_DROP
        }
    }
}

/// How far a frame has come once its flow is known.
enum Step<'a> {
    /// It has left, or is the host's.
    Gone(u32),
    /// The other steps have to look at it.
    On(Arrival<'a>),
}

/// A frame, and what is known of it.
struct Arrival<'a> {
    origin: &'a Origin,
    macs: Macs,
    /// PCP and DEI of its outermost tag.
    priority: u16,
    /// Where its flow was found to go, if that still holds.
    recalled: Result<Exit, Undecided>,
    /// Bytes, with all that is in front of the inner frame.
    len: usize,
    /// ECN field of the tunnel's outer header.
    outer_ecn: u8,
    /// `police::ELIGIBLE` if the node that it comes from says so.
    eligible: u16,
}

/// `fresh` is room for what is found out of a frame.
#[inline(always)]
pub fn pipeline(
    frame: &impl Frame,
    scope: &mut Scope,
    fresh: &mut MaybeUninit<Origin>,
) -> Result<u32, DropReason> {
    // SAFETY: a map value, alive for the run of the program.
    let port = PORTS.get_ptr(frame.ifindex()).map(|port| unsafe { &*port });
    let port = port.filter(|port| port.role != 0).ok_or(DropReason::NoAttachment)?;
    let step = if port.role == Role::Uplink as u8 {
        from_tunnel(frame, port, scope, fresh)?
    } else {
        from_port(frame, port, scope, fresh)?
    };
    let arrival = match step {
        Step::Gone(action) => return Ok(action),
        Step::On(arrival) => arrival,
    };
    let Arrival { origin, len, .. } = arrival;
    let mut inner = parse::inner(frame, origin, arrival.macs, arrival.priority, len)?;
    if arrival.recalled.is_err() {
        guard::addresses(origin, arrival.macs)?;
    }
    guard::packet(frame, origin, &inner)?;
    ecn::decapsulated(frame, &inner, arrival.outer_ecn)?;
    inner.eligible = arrival.eligible | police::ingress(origin, len + inner.shape.repeated)?;
    if arrival.recalled.is_err() && guard::control::is_peers(origin, &inner)? {
        // Of the link and not of the segment: not learned, nobody's claim, nor a question to anybody in it.
        storm::allow(origin, &inner)?;
        return frame.to_peer(origin);
    }
    let route = match arrival.recalled {
        Ok(exit) => Route::To(exit),
        Err(undecided) => lookup::lookup(origin, &inner, &undecided)?,
    };
    if let Some(question) = suppress::answer(frame, origin, &inner) {
        return deliver::back(frame, origin, question, len);
    }
    match route {
        Route::To(exit) => deliver::deliver(frame, origin, &inner, exit, || flow::of(frame, &inner)),
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
    scope: &mut Scope,
    fresh: &'a mut MaybeUninit<Origin>,
) -> Result<Step<'a>, DropReason> {
    let len = frame.len();
    let tags = classify::tags(frame, port)?;
    let macs = tags.macs;
    let (origin, recalled): (&Origin, _) = match Flow::on_port(&tags).recall() {
        Ok(decision) => (&decision.origin, Ok(decision.exit)),
        Err(undecided) => (fresh.write(classify::classify(port, &tags)?), Err(undecided)),
    };
    *scope = Scope::attachment(origin.ingress.id());
    count::received_on_port(origin.ingress, len);
    if let Ok(exit) = recalled
        && tags.priority == 0
        && let Some((inner, flow)) = plain::packet(frame, origin, macs, 0, len)
    {
        return deliver::deliver(frame, origin, &inner, exit, || flow).map(Step::Gone);
    }
    let (priority, outer_ecn, eligible) = (tags.priority, 0, 0);
    Ok(Step::On(Arrival { origin, macs, priority, recalled, len, outer_ecn, eligible }))
}

#[inline(always)]
fn from_tunnel<'a>(
    frame: &impl Frame,
    port: &PortEntry,
    scope: &mut Scope,
    fresh: &'a mut MaybeUninit<Origin>,
) -> Result<Step<'a>, DropReason> {
    let Some(packet) = tunnel::packet(frame, port)? else { return Ok(Step::Gone(frame.to_host())) };
    let len = packet.header + packet.len;
    let (origin, recalled): (&Origin, _) = match Flow::in_tunnel(&packet).recall() {
        Ok(decision) => (&decision.origin, Ok(decision.exit)),
        Err(undecided) => (fresh.write(tunnel::classify(&packet, scope)?), Err(undecided)),
    };
    *scope = Scope::segment(origin.segment);
    count::received_from_tunnel(origin.ingress, packet.len);
    if let Ok(exit) = recalled
        && packet.padding == 0
        && packet.ecn == 0
        && !packet.is_yellow()
        && let Some((inner, flow)) = plain::packet(frame, origin, packet.macs, packet.header, len)
    {
        return deliver::deliver(frame, origin, &inner, exit, || flow).map(Step::Gone);
    }
    frame.trim(packet.padding)?;
    let eligible = if packet.is_yellow() { police::ELIGIBLE } else { 0 };
    let Packet { macs, ecn: outer_ecn, .. } = packet;
    Ok(Step::On(Arrival { origin, macs, priority: 0, recalled, len, outer_ecn, eligible }))
}
