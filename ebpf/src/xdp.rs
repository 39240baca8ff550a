//! The entries at XDP, on ports that have the pipeline there; others have it at TC (`tc.rs`).

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    macros::xdp,
    programs::XdpContext,
};
use sillon_abi::PortEntry;

use crate::{
    fast_path,
    frame::{Frame, XdpFrame},
    hw_vlan, pipeline,
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
        Some(verdict) => verdict.into_xdp(),
        None => sillon_in_full(frame.ctx(), len as u32),
    }
}

/// What most frames never come to: a function of its own, so that it takes no registers from what
/// they do; and a global one, which the verifier walks through once and by itself (see
/// `hook::subprograms`), instead of from each place where a frame turns out not to be plain.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sillon_in_full(ctx: *mut xdp_md, len: u32) -> u32 {
    pipeline::in_full(&XdpFrame::of(ctx), len as usize, &mut MaybeUninit::uninit()).into_xdp()
}
