//! The pipeline, on every port, at XDP.

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use sillon_abi::{DropReason, Exit, PortEntry, Role};

use crate::{
    classify::{self, Origin},
    count,
    count::Scope,
    deliver, ecn, flood,
    frame::Frame,
    guard,
    lookup::{self, Route},
    maps::PORTS,
    parse,
    recall::{Flow, Undecided},
    tunnel,
};

#[xdp(frags)]
pub fn sillon_xdp(ctx: XdpContext) -> u32 {
    let frame = Frame::new(&ctx);
    let mut scope = Scope::port(frame.ifindex());
    match pipeline(&frame, &mut scope) {
        Ok(action) => action,
        Err(reason) => {
            count::dropped(scope, reason);
            xdp_action::XDP_DROP
        }
    }
}

/// A frame out of its tunnel, and what is known of it.
struct Arrival {
    origin: Origin,
    /// Where its flow was found to go, if that still holds.
    recalled: Option<Exit>,
    undecided: Undecided,
    /// Bytes.
    len: usize,
    /// ECN field of the tunnel's outer header.
    outer_ecn: u8,
}

#[inline(always)]
fn pipeline(frame: &Frame, scope: &mut Scope) -> Result<u32, DropReason> {
    // SAFETY: a map value, alive for the run of the program.
    let port = PORTS.get_ptr(frame.ifindex()).map(|port| unsafe { &*port });
    let port = port.filter(|port| port.role != 0).ok_or(DropReason::NoAttachment)?;
    let arrival = if port.role == Role::Uplink as u8 {
        match from_tunnel(frame, port, scope)? {
            Some(arrival) => arrival,
            None => return Ok(flood::to_host(frame)),
        }
    } else {
        from_port(frame, port, scope)?
    };
    let Arrival { origin, len, .. } = &arrival;
    let inner = parse::inner(frame, origin)?;
    guard::addresses(origin, inner.dst, inner.src)?;
    guard::packet(frame, origin, &inner, *len)?;
    ecn::decapsulated(frame, &inner, arrival.outer_ecn)?;
    let route = match arrival.recalled {
        Some(exit) => Route::To(exit),
        None => lookup::lookup(origin, &inner, &arrival.undecided)?,
    };
    match route {
        Route::To(exit) => deliver::deliver(frame, origin, &inner, exit, *len),
        Route::Flood => flood::hand_over(frame, origin, &inner),
    }
}

#[inline(always)]
fn from_port(frame: &Frame, port: &PortEntry, scope: &mut Scope) -> Result<Arrival, DropReason> {
    let len = frame.len();
    let tags = classify::tags(frame, port)?;
    let undecided = Undecided::new(Flow::on_port(frame, &tags)?);
    let (mut origin, recalled) = match undecided.recall() {
        Some((origin, exit)) => (origin, Some(exit)),
        None => (classify::classify(port, &tags)?, None),
    };
    // The frame's, not the flow's.
    origin.priority = tags.priority;
    *scope = Scope::attachment(origin.ingress.id());
    count::received(origin.ingress, len);
    Ok(Arrival { origin, recalled, undecided, len, outer_ecn: 0 })
}

#[inline(always)]
fn from_tunnel(frame: &Frame, port: &PortEntry, scope: &mut Scope) -> Result<Option<Arrival>, DropReason> {
    let Some(packet) = tunnel::packet(frame, port)? else { return Ok(None) };
    let undecided = Undecided::new(Flow::in_tunnel(frame, &packet)?);
    let (origin, recalled) = match undecided.recall() {
        Some((origin, exit)) => (origin, Some(exit)),
        None => (tunnel::classify(&packet, scope)?, None),
    };
    *scope = Scope::segment(origin.segment);
    tunnel::decapsulate(frame, &packet)?;
    count::received(origin.ingress, packet.len);
    Ok(Some(Arrival { origin, recalled, undecided, len: packet.len, outer_ecn: packet.ecn }))
}
