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
//!                                                                       ├─ answered → police, back
//!                                                                       └─ many, or unknown:
//!                                                                          storm → handoff → flood
//! ```
//!
//! A flow that is cached needs no `classify`, `learn` or `lookup`: those are skipped on a hit.
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
    meta::Ingress,
    own_tunnel, parse, police, storm, suppress,
    verdict::{Verdict, dropped},
    vxlan::decap::{self, TunnelPacket},
};

/// What becomes of a frame that is not on the fast path. `fresh` is room for what is found out of
/// it.
#[inline(always)]
pub fn in_full(frame: &impl Hook, len: usize, fresh: &mut MaybeUninit<Ingress>) -> Verdict {
    let mut scope = Scope::port(frame.ifindex());
    match arrive(frame, len, &mut scope, fresh) {
        Ok(Some(arrival)) => onwards(frame, &arrival)
            .unwrap_or_else(|reason| dropped(Scope::of(arrival.ingress), reason)),
        Ok(None) => frame.to_host(),
        Err(reason) => dropped(scope, reason),
    }
}

/// A frame, and what is known of it.
struct Arrival<'a> {
    ingress: &'a Ingress,
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
    fresh: &'a mut MaybeUninit<Ingress>,
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
    let &Arrival { ingress, len, .. } = arrival;
    let mut inner = parse::inner(frame, ingress, arrival.macs, arrival.priority, len)?;
    if arrival.cached.is_err() {
        guard::addresses(ingress, arrival.macs)?;
    }
    guard::packet(frame, ingress, &inner)?;
    ecn::decapsulated(frame, &inner, arrival.outer_ecn)?;
    inner.eligible = arrival.eligible
        | match frame.came_apart() {
            Some(eligible) => eligible,
            None => police::ingress(ingress, len + inner.gso.headers)?,
        };
    if arrival.cached.is_err() && guard::control::is_peers(ingress, &inner)? {
        // Of the link and not of the segment: not learned, nobody's claim, nor a question to
        // anybody in it.
        storm::allow(ingress, &inner)?;
        return frame.to_peer(ingress);
    }
    let route = match &arrival.cached {
        Ok(endpoint) => Route::To(*endpoint),
        Err(miss) => lookup::lookup(ingress, &inner, miss)?,
    };
    if let Some(question) = suppress::answer(frame, ingress, &inner) {
        return deliver::answer(frame, ingress, question, len);
    }
    match route {
        Route::To(endpoint) => deliver::deliver(frame, ingress, &inner, endpoint),
        Route::Flood if inner.gso.extra_segments != 0 && own_tunnel::is_due(frame, &inner) => {
            frame.take_apart(inner.eligible)
        }
        Route::Flood => {
            storm::allow(ingress, &inner)?;
            frame.hand_over(ingress, &inner)
        }
    }
}

#[inline(always)]
fn from_port<'a>(
    frame: &impl Hook,
    port: &PortEntry,
    len: usize,
    fresh: &'a mut MaybeUninit<Ingress>,
) -> Result<Arrival<'a>, DropReason> {
    let tags = classify::tags(frame, port)?;
    let (ingress, cached): (&Ingress, _) = match FlowKey::on_port(&tags).lookup() {
        Ok(decision) => (&decision.ingress, Ok(decision.endpoint)),
        Err(miss) => (fresh.write(classify::classify(port, &tags)?), Err(miss)),
    };
    if frame.came_apart().is_none() {
        count::received_on_port(ingress.endpoint, len);
    }
    let Tags { macs, priority, .. } = tags;
    Ok(Arrival { ingress, macs, priority, cached, len, outer_ecn: 0, eligible: 0 })
}

#[inline(always)]
fn from_tunnel<'a>(
    frame: &impl Hook,
    port: &PortEntry,
    len: usize,
    scope: &mut Scope,
    fresh: &'a mut MaybeUninit<Ingress>,
) -> Result<Option<Arrival<'a>>, DropReason> {
    let Some(packet) = decap::packet(frame, port, len)? else { return Ok(None) };
    let len = packet.header + packet.len;
    let (ingress, cached): (&Ingress, _) = match FlowKey::in_tunnel(&packet).lookup() {
        Ok(decision) => (&decision.ingress, Ok(decision.endpoint)),
        Err(miss) => (fresh.write(decap::classify(&packet, scope)?), Err(miss)),
    };
    count::received_from_tunnel(ingress.endpoint, packet.len);
    if let Err(reason) = frame.trim(packet.padding) {
        *scope = Scope::of(ingress);
        return Err(reason);
    }
    let eligible = if packet.vxlan.is_yellow() { police::ELIGIBLE } else { 0 };
    let TunnelPacket { macs, ecn: outer_ecn, .. } = packet;
    Ok(Some(Arrival { ingress, macs, priority: 0, cached, len, outer_ecn, eligible }))
}
