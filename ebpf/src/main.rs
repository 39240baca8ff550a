//! The kernel half of Sillon. Every frame takes the same steps, a file each:
//!
//! ```text
//! parse → recall | classify | tunnel → guard → police → learn → lookup → suppress → rewrite → police → deliver
//!                                                                    │    └─ group address or miss → storm → flood (TC)
//!                                                                    └─ answered → police → back
//! ```
//!
//! A plain packet whose flow's decision is recalled skips what is between: see `fast_path`.
//!
//! `xdp.rs` and `tc.rs` are the entry points and read as that line does.
#![no_std]
#![no_main]
#![allow(
    internal_features,
    reason = "atomic operations, which BPF has and `core::sync::atomic` does not offer for it"
)]
#![feature(core_intrinsics)]

mod arp;
mod bucket;
mod classify;
mod count;
mod deliver;
mod ecn;
mod fast_path;
mod fdb;
mod flow_cache;
mod flow_hash;
mod frame;
mod guard;
mod handoff;
mod hw_vlan;
mod maps;
mod own_tunnel;
mod parse;
mod police;
mod rewrite;
mod skb;
mod storm;
mod suppress;
mod tc;
mod vxlan;
mod xdp;

/// GPL-compatible, since the helpers that copy and redirect ask for it.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // Nothing here panics: the verifier would refuse a program that could reach this loop.
    loop {}
}
