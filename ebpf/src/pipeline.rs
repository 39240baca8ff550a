//! The pipeline. Every frame takes the same steps, at XDP and at TC; each step is a file:
//!
//! ```text
//! port ──→ hw_vlan → classify::tags ─┐
//!                                    ├→ flow_cache ─ hit, nothing to look at → fast_path ─┐
//! uplink → vxlan::decap ─────────────┘       │                                            │
//!                              miss, or more to look at                                   │
//!                                            ↓                                            │
//!   classify → parse → guard → ecn → police → fdb::{learn, lookup} → suppress             │
//!                                                                       │                 │
//!                                                                       ├─ known ──→ deliver
//!                                                                       ├─ answered → police → back
//!                                                                       └─ for many, or a miss:
//!                                                                          storm → handoff → flood
//! ```
//!
//! `deliver` gives the frame the tags of the attachment that it goes to (`rewrite`), or a tunnel's
//! header (`vxlan::encap`), polices it there, and redirects it. `flood` runs at TC, since XDP can't
//! copy.
//!
//! `xdp.rs` and `tc.rs` are the entries.

use core::mem::MaybeUninit;

use sillon_abi::{DropReason, Endpoint, PortEntry, Role};

use crate::{
    classify::{self, Tags},
    count::{self, Scope},
    deliver, ecn,
    fdb::lookup::{self, Route},
    flow_cache::{FlowKey, Miss},
    frame::Macs,
    guard,
    hook::Hook,
    meta::Origin,
    own_tunnel, parse, police, storm, suppress,
    verdict::{Verdict, dropped},
    vxlan::decap::{self, TunnelPacket},
};

/// What becomes of a frame that is not on the fast path. `fresh` is room for what is found out of
/// it.
#[inline(always)]
pub fn in_full(frame: &impl Hook, len: usize, fresh: &mut MaybeUninit<Origin>) -> Verdict {
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
    frame: &impl Hook,
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
fn onwards(frame: &impl Hook, arrival: &Arrival) -> Result<Verdict, DropReason> {
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
    frame: &impl Hook,
    port: &PortEntry,
    len: usize,
    fresh: &'a mut MaybeUninit<Origin>,
) -> Result<Arrival<'a>, DropReason> {
    let tags = classify::tags(frame, port)?;
    let (origin, cached): (&Origin, _) = match FlowKey::on_port(&tags).lookup() {
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
    frame: &impl Hook,
    port: &PortEntry,
    len: usize,
    scope: &mut Scope,
    fresh: &'a mut MaybeUninit<Origin>,
) -> Result<Option<Arrival<'a>>, DropReason> {
    let Some(packet) = decap::packet(frame, port, len)? else { return Ok(None) };
    let len = packet.header + packet.len;
    let (origin, cached): (&Origin, _) = match FlowKey::in_tunnel(&packet).lookup() {
        Ok(decision) => (&decision.origin, Ok(decision.endpoint)),
        Err(miss) => (fresh.write(decap::classify(&packet, scope)?), Err(miss)),
    };
    count::received_from_tunnel(origin.ingress, packet.len);
    if let Err(reason) = frame.trim(packet.padding) {
        *scope = Scope::of(origin);
        return Err(reason);
    }
    let eligible = if packet.vxlan.is_yellow() { police::ELIGIBLE } else { 0 };
    let TunnelPacket { macs, ecn: outer_ecn, .. } = packet;
    Ok(Some(Arrival { origin, macs, priority: 0, cached, len, outer_ecn, eligible }))
}
