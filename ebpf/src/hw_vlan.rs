//! A VLAN tag beside the data, at XDP (`skb->vlan_tci`; "hardware-accelerated").
//!
//! The kernel of a container leaves the outermost tag of its VLAN devices to the device, and a veth
//! passes it on as it is. Native XDP on the other end sees the data alone, would take the frame for
//! one without that tag, and so for another attachment's. Where a port's tags decide, the tag is
//! therefore put into the data first ([`bring_in`]), and all steps see it.
//!
//! A frame that XDP redirects leaves its skb behind, and what is beside the data with it. One that
//! goes on to TC keeps both: its handoff says that the tag has been seen to
//! ([`Handoff::HW_VLAN`]), and TC takes away the one that is beside the data. On a port with an
//! untagged attachment alone no tag decides, so that none is looked for; but none goes on to TC
//! either (`nested-tag`).
//!
//! In native XDP on a veth the context is the first field of `struct veth_xdp_buff`, and the skb
//! stands behind it: null for frames that came as `xdp_frame`s, which have no tag beside the data.
//! `bpf_xdp_metadata_rx_vlan_tag` says the same, but is a kfunc, which aya can't call.

use aya_ebpf::bindings::xdp_md;
use sillon_abi::{DropReason, Handoff, PortEntry};

use crate::{
    count::{self, Scope},
    frame::{Frame, Macs, XdpFrame},
    maps,
    register::to_result,
    skb::kernel,
    wire::{ETHERTYPE, TAG},
};

/// Puts a tag beside the data into it, and returns the bytes that the frame has become longer;
/// nothing if it is dropped.
#[inline(always)]
pub fn bring_in(frame: &XdpFrame) -> Option<usize> {
    let longer = sillon_bring_in(frame.ctx());
    (longer != DROPPED).then_some(longer as usize & TAG)
}

/// No length of a tag.
const DROPPED: u32 = 1;

/// A function of its own, as most ports have no use for it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sillon_bring_in(ctx: *mut xdp_md) -> u32 {
    let frame = XdpFrame::of(ctx);
    let brought = match kernel::hw_vlan(ctx) {
        Ok(0) => return 0,
        Ok(tag) => put_in(&frame, tag),
        Err(reason) => Err(reason),
    };
    match brought {
        Ok(()) => TAG as u32,
        Err(reason) => {
            count::dropped(Scope::port(frame.ifindex()), reason);
            DROPPED
        }
    }
}

/// Makes a tag, as on the wire, the outermost of those in the data.
#[inline(always)]
fn put_in(frame: &XdpFrame, tag: u32) -> Result<(), DropReason> {
    frame.shift(-(TAG as i32))?;
    let at = frame.at::<[u32; 4]>(0)?.cast::<u8>();
    // SAFETY: sixteen bytes are there: the new ones, and the addresses.
    let macs = unsafe { Macs::read(at.add(TAG)) };
    frame.write_macs(0, macs)?;
    frame.write(ETHERTYPE, tag)
}

/// Above a flag: why the frame is dropped.
const REASON: u32 = 16;

/// What a handoff says of a tag beside the data.
#[inline(always)]
pub fn handoff_flag(frame: &XdpFrame) -> Result<u16, DropReason> {
    let flag = sillon_hw_vlan_flag(frame.ctx());
    to_result(flag >> REASON)?;
    Ok(flag as u16 & Handoff::HW_VLAN)
}

/// Only frames that go on to TC come here.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sillon_hw_vlan_flag(ctx: *mut xdp_md) -> u32 {
    let frame = XdpFrame::of(ctx);
    let flags = maps::port(frame.ifindex()).map_or(0, |port| port.flags);
    if flags & PortEntry::VETH == 0 {
        return 0;
    }
    match kernel::hw_vlan(ctx) {
        Ok(0) => 0,
        Ok(_) if flags & PortEntry::HW_VLAN != 0 => Handoff::HW_VLAN.into(),
        Ok(_) => (DropReason::NestedTag as u32) << REASON,
        Err(reason) => (reason as u32) << REASON,
    }
}
