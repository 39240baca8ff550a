//! The entries at TC: the pipeline of ports that have it there, what a pipeline has handed over,
//! and a port's way out.
//!
//! On ports that serve operators nothing else passes TC in either direction: not a frame that XDP
//! has not seen, nor one of the node's own stack (router solicitations, LLDP, a mistaken route).

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC},
    macros::{classifier, map},
    maps::PerCpuArray,
    programs::TcContext,
};
use sillon_abi::{DropReason, PortEntry, Role};

use crate::{
    count::{self, Scope},
    fast_path,
    frame::Frame,
    guard::control,
    handoff::take::take,
    maps,
    meta::Ingress,
    own_tunnel, pipeline,
    skb::{Skb, frame::SkbFrame},
    verdict::{Verdict, dropped},
};

/// Where the pipeline keeps whose a frame is: there is no room for it on the stack.
#[map]
static INGRESS: PerCpuArray<MaybeUninit<Ingress>> = PerCpuArray::with_max_entries(1, 0);

/// The pipeline, on ports that have it at TC. What is to be copied goes on to `sillon_ingress`,
/// which comes next.
#[classifier]
pub fn sillon_tc(ctx: TcContext) -> i32 {
    run(Skb::new(&ctx)).into_tc()
}

#[inline(always)]
pub fn run(skb: Skb) -> Verdict {
    skb.pull();
    if let Err(reason) = skb.as_told()
        && !maps::port(own_tunnel::port(skb)).is_some_and(|port| port.role == Role::Uplink as u8)
    {
        return dropped(Scope::port(own_tunnel::port(skb)), reason);
    }
    let mut verdict = sillon_fast_path_skb(skb.ctx());
    if verdict == NOT_FAST_PATH {
        verdict = sillon_in_full_skb(skb.ctx());
    }
    Verdict::from_xdp(verdict)
}

/// No verdict: the frame is to be looked at in full.
const NOT_FAST_PATH: u32 = 1 << 16;

/// A function of its own, so that its part of the stack is free again when the frame is looked at
/// in full.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sillon_fast_path_skb(ctx: *mut __sk_buff) -> u32 {
    let frame = SkbFrame::of(ctx);
    let forwarded = frame.port().and_then(|port| fast_path::forward(&frame, port, frame.len()));
    forwarded.map_or(NOT_FAST_PATH, Verdict::into_xdp)
}

/// See `xdp::sillon_in_full`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sillon_in_full_skb(ctx: *mut __sk_buff) -> u32 {
    let frame = SkbFrame::of(ctx);
    // SAFETY: a per-CPU value, which only this frame's program touches; it is written before it is
    // read.
    let verdict = match INGRESS.get_ptr_mut(0).map(|ingress| unsafe { &mut *ingress }) {
        Some(ingress) => pipeline::in_full(&frame, frame.len(), ingress),
        None => dropped(Scope::port(frame.ifindex()), DropReason::Unclassified),
    };
    verdict.into_xdp()
}

#[classifier]
pub fn sillon_ingress(ctx: TcContext) -> i32 {
    let skb = Skb::new(&ctx);
    take(skb, skb.ifindex()).into_tc()
}

#[classifier]
pub fn sillon_egress(ctx: TcContext) -> i32 {
    let skb = Skb::new(&ctx);
    if skb.mark() == maps::mark_cookie() {
        skb.set_mark(0);
        return TC_ACT_UNSPEC;
    }
    if is_for_peer(skb) {
        return TC_ACT_UNSPEC;
    }
    count::dropped(Scope::port(skb.ifindex()), DropReason::HostEgress);
    TC_ACT_SHOT
}

/// Whether a frame of the node's own stack is a control frame, on a port where that takes part in
/// them.
#[inline(always)]
fn is_for_peer(skb: Skb) -> bool {
    maps::port(skb.ifindex()).is_some_and(|port| port.flags & PortEntry::PEERS != 0)
        && !skb.has_hw_vlan()
        && skb.destination().is_some_and(control::is_control)
}

/// On the loopback device: what comes back taken apart (`own_tunnel`).
#[classifier]
pub fn sillon_apart(ctx: TcContext) -> i32 {
    let skb = Skb::new(&ctx);
    // Most of what the node sends to itself ends here.
    if skb.mark() == 0 || !skb.is_for_another() {
        return TC_ACT_UNSPEC;
    }
    let is_operators = |port: &&PortEntry| port.is_at_tc() && port.role != Role::Uplink as u8;
    let ifindex = own_tunnel::port(skb);
    if maps::port(ifindex).filter(is_operators).is_none() {
        return TC_ACT_UNSPEC;
    }
    let verdict = run(skb);
    if verdict != Verdict::PASSED {
        return verdict.into_tc();
    }
    match sillon_copies_skb(skb.ctx(), ifindex) {
        // Nothing of an operator's goes to the node's own stack from here.
        TC_ACT_UNSPEC => TC_ACT_SHOT,
        action => action,
    }
}

/// A function of its own, for which there is room on the stack.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sillon_copies_skb(ctx: *mut __sk_buff, ifindex: u32) -> i32 {
    take(Skb::of(ctx), ifindex).into_tc()
}
