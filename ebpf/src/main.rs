//! The kernel half of Sillon. Every frame takes the same steps, a file each: [`pipeline`] is their
//! picture, and `xdp.rs` and `tc.rs` are the entries.
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
mod flood;
mod flow_cache;
mod flow_hash;
mod frame;
mod guard;
mod handoff;
mod hook;
mod hw_vlan;
mod maps;
mod meta;
mod own_tunnel;
mod parse;
mod pipeline;
mod police;
mod register;
mod rewrite;
mod skb;
mod storm;
mod suppress;
mod tc;
mod verdict;
mod vxlan;
mod wire;
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
