//! The one place that touches packet memory at TC. Offsets are bytes from the first of the frame's bytes.
//!
//! Frames are written through helpers alone. A program that wrote to packet memory itself would get a prologue from the verifier that
//! makes a cloned frame its own first, and the kernel forgets the metadata when it does that: with a `tcpdump` on the port, which
//! clones, XDP's note would be lost.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{
    EbpfContext,
    bindings::{__sk_buff, bpf_hdr_start_off::BPF_HDR_START_MAC},
    helpers::generated::{
        bpf_clone_redirect, bpf_skb_change_head, bpf_skb_load_bytes, bpf_skb_load_bytes_relative,
        bpf_skb_store_bytes, bpf_skb_vlan_pop, bpf_skb_vlan_push,
    },
    programs::TcContext,
};
use sillon_abi::{DropReason, ETHERNET, Handoff, Mac, Note, PathEntry, V4_OUTER, V6_OUTER};

use crate::{outer::Outer, parse::TAG};

/// Bytes of a frame's two addresses.
const MACS: usize = 12;

/// A frame at TC.
#[derive(Clone, Copy)]
pub struct Skb {
    ctx: *mut __sk_buff,
}

impl Skb {
    #[inline(always)]
    pub fn new(ctx: &TcContext) -> Self {
        Self { ctx: ctx.as_ptr().cast() }
    }

    #[inline(always)]
    pub fn ifindex(self) -> u32 {
        // SAFETY: the kernel gives a valid context for the run of the program.
        unsafe { (*self.ctx).ifindex }
    }

    /// Bytes, without FCS and without a tag that stands beside the data.
    #[inline(always)]
    pub fn len(self) -> usize {
        // SAFETY: as above.
        unsafe { (*self.ctx).len as usize }
    }

    /// The ethertype that the kernel took the frame for, as on the wire.
    #[inline(always)]
    pub fn protocol(self) -> u16 {
        // SAFETY: as above.
        unsafe { (*self.ctx).protocol as u16 }
    }

    /// The destination address.
    #[inline(always)]
    pub fn destination(self) -> Option<Mac> {
        // SAFETY: as above; the comparison bounds the read, and any bytes are an address.
        unsafe {
            let (data, end) = ((*self.ctx).data as usize, (*self.ctx).data_end as usize);
            if data + size_of::<Mac>() > end { None } else { Some((data as *const Mac).read_unaligned()) }
        }
    }

    /// Whether the kernel holds a tag of the frame beside the data.
    #[inline(always)]
    pub fn has_lifted_tag(self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.ctx).vlan_present != 0 }
    }

    #[inline(always)]
    pub fn mark(self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.ctx).mark }
    }

    #[inline(always)]
    pub fn set_mark(self, mark: u32) {
        // SAFETY: as above.
        unsafe { (*self.ctx).mark = mark };
    }

    /// What XDP handed over, if it handed this frame over at all. From then on the frame starts at its MAC header.
    #[inline(always)]
    pub fn take_handoff(self) -> Result<Option<Handoff>, DropReason> {
        if let Some(handoff) = self.handoff_at(Note::BEHIND) {
            self.start_at_mac_header()?;
            return Ok(Some(handoff));
        }
        Ok(self.handoff_at(Note::AHEAD))
    }

    /// Reads a handoff some 16-bit words into the metadata.
    #[inline(always)]
    fn handoff_at(self, word: usize) -> Option<Handoff> {
        const WORDS: usize = size_of::<Handoff>() / 2;
        // SAFETY: as above; the comparison bounds the read, metadata is 4-aligned, and any bytes are a `Handoff`.
        unsafe {
            let (meta, data) = ((*self.ctx).data_meta as usize, (*self.ctx).data as usize);
            if meta + size_of::<Note>() > data {
                return None;
            }
            let words = *(meta as *const [u16; WORDS]).byte_add(2 * word);
            let handoff: Handoff = core::mem::transmute(words);
            (handoff.magic == Handoff::MAGIC).then_some(handoff)
        }
    }

    /// Makes a frame that is at its payload start at its MAC header, as the kernel meant to (see [`Note`]).
    #[inline(always)]
    fn start_at_mac_header(self) -> Result<(), DropReason> {
        let mut header = [0u16; ETHERNET / 2];
        let into = (&raw mut header).cast();
        // SAFETY: `header` is as long as we say; no packet reference is held across it. Growing by a MAC header makes the
        // kernel take what is new for the MAC header, which it was before.
        let done = unsafe {
            bpf_skb_load_bytes_relative(self.ctx.cast(), 0, into, ETHERNET as u32, BPF_HDR_START_MAC) == 0
                && bpf_skb_change_head(self.ctx, ETHERNET as u32, 0) == 0
        };
        if done { self.store(0, header) } else { Err(DropReason::NoHeadroom) }
    }

    #[inline(always)]
    pub fn store<T: Copy>(self, offset: usize, value: T) -> Result<(), DropReason> {
        // SAFETY: `value` is as long as we say.
        unsafe { self.store_bytes(offset, (&raw const value).cast(), size_of::<T>()) }
    }

    /// # Safety
    /// `bytes` must point to `len` readable bytes.
    #[inline(always)]
    unsafe fn store_bytes(self, offset: usize, bytes: *const c_void, len: usize) -> Result<(), DropReason> {
        // SAFETY: as the caller promises; the helper checks the bounds of the frame.
        match unsafe { bpf_skb_store_bytes(self.ctx, offset as u32, bytes, len as u32, 0) } {
            0 => Ok(()),
            _ => Err(DropReason::Truncated),
        }
    }

    /// Gives the frame one more tag in front of those it has.
    #[inline(always)]
    pub fn push_tag(self, tpid: u16, tci: u16) -> Result<(), DropReason> {
        // SAFETY: no packet reference is held across it.
        match unsafe { bpf_skb_vlan_push(self.ctx, tpid.to_be(), tci) } {
            0 => Ok(()),
            _ => Err(DropReason::NoHeadroom),
        }
    }

    /// Takes off the tag that was pushed last.
    #[inline(always)]
    pub fn pop_tag(self) -> Result<(), DropReason> {
        // SAFETY: as above.
        match unsafe { bpf_skb_vlan_pop(self.ctx) } {
            0 => Ok(()),
            _ => Err(DropReason::CopyFailed),
        }
    }

    /// Puts `by` undefined bytes in front.
    #[inline(always)]
    pub fn grow(self, by: usize) -> Result<(), DropReason> {
        // SAFETY: as above.
        if by != 0 && unsafe { bpf_skb_change_head(self.ctx, by as u32, 0) } != 0 {
            return Err(DropReason::NoHeadroom);
        }
        Ok(())
    }

    /// With `TAG` bytes free in front of the addresses at `at + TAG`: moves them there and puts a tag behind them.
    #[inline(always)]
    pub fn tag_at(self, at: usize, tpid: u16, tci: u16) -> Result<(), DropReason> {
        let mut macs = MaybeUninit::<[u64; 2]>::uninit();
        let bytes = macs.as_mut_ptr().cast();
        // SAFETY: there is room for 12 bytes, and the helper fills them before they are stored.
        unsafe {
            if bpf_skb_load_bytes(self.ctx.cast(), (at + TAG) as u32, bytes, MACS as u32) != 0 {
                return Err(DropReason::Truncated);
            }
            self.store_bytes(at, bytes, MACS)?;
        }
        self.store(at + MACS, [tpid.to_be(), tci.to_be()])
    }

    /// Writes the outer header over the front.
    #[inline(always)]
    pub fn write_outer(self, outer: &Outer, path: &PathEntry) -> Result<(), DropReason> {
        // Of 64-bit words: the verifier wants them aligned on the stack.
        let mut header = MaybeUninit::<[u64; V6_OUTER.div_ceil(8)]>::uninit();
        // SAFETY: `header` is as long as the longer of the two, and each writes all of what is stored.
        unsafe {
            if path.header_len as usize == V4_OUTER {
                outer.write_v4(header.as_mut_ptr().cast(), path);
                self.store_bytes(0, header.as_ptr().cast(), V4_OUTER)
            } else {
                outer.write_v6(header.as_mut_ptr().cast(), path);
                self.store_bytes(0, header.as_ptr().cast(), V6_OUTER)
            }
        }
    }

    /// Sends a copy out of a device.
    #[inline(always)]
    pub fn copy_to(self, ifindex: u32) -> Result<(), DropReason> {
        // SAFETY: no packet reference is held across it.
        match unsafe { bpf_clone_redirect(self.ctx, ifindex, 0) } {
            0 => Ok(()),
            _ => Err(DropReason::CopyFailed),
        }
    }
}
