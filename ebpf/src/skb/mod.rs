//! The one place that touches packet memory at TC. Offsets are bytes from the first of the frame's
//! bytes.
//!
//! Frames are written through helpers alone. A program that wrote to packet memory itself would get
//! a prologue from the verifier that makes a cloned frame its own first, and the kernel forgets the
//! metadata when it does that: with a `tcpdump` on the port, which clones, XDP's handoff would be
//! lost.

pub mod frame;
pub mod kernel;
pub mod offloads;
pub mod tunnel;

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    bindings::{__sk_buff, bpf_hdr_start_off::BPF_HDR_START_MAC},
    helpers::generated::{
        bpf_clone_redirect, bpf_redirect, bpf_redirect_peer, bpf_skb_change_head,
        bpf_skb_change_tail, bpf_skb_change_type, bpf_skb_load_bytes, bpf_skb_load_bytes_relative,
        bpf_skb_pull_data, bpf_skb_store_bytes, bpf_skb_vlan_pop, bpf_skb_vlan_push,
    },
    programs::TcContext,
};
use sillon_abi::{DropReason, ETHERNET, Handoff, HandoffMetadata, Mac, PortEntry};

use crate::{
    frame::{Wire, loaded},
    maps,
    verdict::Verdict,
    wire::{IPV4, IPV6, TAG},
};

/// Bytes of a frame's two addresses.
const MACS: usize = 12;

/// How much of a frame the pipeline may want to see at once: the headers of a tunnel and those of a
/// neighbour solicitation in it.
const REACH: u32 = 192;

/// `PACKET_OTHERHOST` (include/uapi/linux/if_packet.h).
const OTHER_HOST: u32 = 3;

/// Every network namespace's loopback is its first device (`LOOPBACK_IFINDEX`).
pub const LOOPBACK: u32 = 1;

/// A VLAN tag.
#[derive(Clone, Copy)]
pub struct Tag {
    pub tpid: u16,
    pub tci: u16,
}

impl Tag {
    #[inline(always)]
    fn on_wire(self) -> u32 {
        u32::from(self.tpid.to_be()) | u32::from(self.tci.to_be()) << 16
    }
}

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
    pub fn of(ctx: *mut __sk_buff) -> Self {
        Self { ctx }
    }

    #[inline(always)]
    pub fn ctx(self) -> *mut __sk_buff {
        self.ctx
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
            if data + size_of::<Mac>() > end {
                None
            } else {
                Some((data as *const Mac).read_unaligned())
            }
        }
    }

    /// Whether the kernel holds a tag of the frame beside the data.
    #[inline(always)]
    pub fn has_hw_vlan(self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.ctx).vlan_present != 0 }
    }

    /// Bytes of that tag, without a branch: the verifier would follow both.
    #[inline(always)]
    pub fn hw_vlan_len(self) -> usize {
        // SAFETY: as above.
        unsafe { ((*self.ctx).vlan_present as usize & 1) * TAG }
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

    /// What XDP handed over, if it handed this frame over at all. From then on the frame starts at
    /// its MAC header.
    #[inline(always)]
    pub fn take_handoff(self) -> Result<Option<Handoff>, DropReason> {
        // Of a handoff that is ahead, these are zeros.
        let is_behind =
            self.handoff_at(HandoffMetadata::BEHIND).is_some_and(|handoff| handoff.seal != [0; 2]);
        let handoff = if is_behind {
            self.handoff_at(HandoffMetadata::BEHIND)
        } else {
            self.handoff_at(HandoffMetadata::AHEAD)
        };
        let ours = handoff.filter(|handoff| handoff.seal == maps::seal(handoff, self.ifindex()));
        if is_behind && ours.is_some() {
            self.start_at_mac_header()?;
        }
        Ok(ours)
    }

    /// Reads a handoff some 16-bit words into the metadata.
    #[inline(always)]
    fn handoff_at(self, word: usize) -> Option<Handoff> {
        const WORDS: usize = size_of::<Handoff>() / 2;
        // SAFETY: as above; the comparison bounds the read, metadata is 4-aligned, and any bytes
        // are a `Handoff`.
        unsafe {
            let (meta, data) = ((*self.ctx).data_meta as usize, (*self.ctx).data as usize);
            if meta + size_of::<HandoffMetadata>() > data {
                return None;
            }
            let words = *(meta as *const [u16; WORDS]).byte_add(2 * word);
            Some(core::mem::transmute::<[u16; WORDS], Handoff>(words))
        }
    }

    /// Makes a frame that is at its payload start at its MAC header, as the kernel meant to (see
    /// [`HandoffMetadata`]).
    #[inline(always)]
    fn start_at_mac_header(self) -> Result<(), DropReason> {
        let mut header = [0u16; ETHERNET / 2];
        let into = (&raw mut header).cast();
        // SAFETY: `header` is as long as we say; no packet reference is held across it. Growing by
        // a MAC header makes the kernel take what is new for the MAC header, which it was
        // before.
        let done = unsafe {
            bpf_skb_load_bytes_relative(
                self.ctx.cast(),
                0,
                into,
                ETHERNET as u32,
                BPF_HDR_START_MAC,
            ) == 0
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
    unsafe fn store_bytes(
        self,
        offset: usize,
        bytes: *const c_void,
        len: usize,
    ) -> Result<(), DropReason> {
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

    /// Takes `by` bytes off the end.
    #[inline(always)]
    pub fn trim(self, by: usize) -> Result<(), DropReason> {
        self.resize(self.len() - by)
    }

    /// Makes the frame end where it has `len` bytes; what is new is zero.
    #[inline(always)]
    fn resize(self, len: usize) -> Result<(), DropReason> {
        // SAFETY: as above.
        if len != self.len() && unsafe { bpf_skb_change_tail(self.ctx, len as u32, 0) } != 0 {
            return Err(DropReason::NoHeadroom);
        }
        Ok(())
    }

    /// Whether the kernel takes it for IP.
    #[inline(always)]
    fn is_ip(self) -> bool {
        matches!(u16::from_be(self.protocol()), IPV4 | IPV6)
    }

    /// The tag beside the data.
    #[inline(always)]
    pub fn hw_vlan(self) -> Tag {
        // SAFETY: the kernel gives a valid context for the run of the program.
        unsafe {
            Tag {
                tpid: u16::from_be((*self.ctx).vlan_proto as u16),
                tci: (*self.ctx).vlan_tci as u16,
            }
        }
    }

    /// Payload of each packet but the last, where several travel as one; else 0.
    #[inline(always)]
    pub fn segment_size(self) -> usize {
        // SAFETY: as above.
        unsafe { (*self.ctx).gso_size as usize }
    }

    /// Makes the first bytes of the frame those in direct reach.
    #[inline(always)]
    pub fn pull(self) {
        sillon_pull(self.ctx);
    }

    /// Where `T` stands in the data, if all of it is in direct reach.
    #[inline(always)]
    pub fn at<T: Wire>(self, offset: usize) -> Result<*mut T, DropReason> {
        // SAFETY: as above; the comparison is the one that the verifier wants to see.
        let (start, end) = unsafe { ((*self.ctx).data as usize, (*self.ctx).data_end as usize) };
        if start + offset + size_of::<T>() > end {
            return Err(DropReason::Truncated);
        }
        Ok((start + offset) as *mut T)
    }

    #[inline(always)]
    pub fn read<T: Wire>(self, offset: usize) -> Result<T, DropReason> {
        // SAFETY: `at` checked the bounds; `Wire` says that any bytes are a value.
        Ok(unsafe { self.at::<T>(offset)?.read_unaligned() })
    }

    /// Reads at any offset of what is in direct reach. What is behind may be memory that the sender
    /// still writes to (a ring of a packet socket, AF_XDP, `vmsplice`): it could be other bytes
    /// by the time that somebody else reads them.
    #[inline(always)]
    pub fn load<T: Wire>(self, offset: usize) -> Result<T, DropReason> {
        // SAFETY: as above.
        let reach = unsafe { (*self.ctx).data_end as usize - (*self.ctx).data as usize };
        if offset.wrapping_add(size_of::<T>()) > reach {
            return Err(DropReason::Truncated);
        }
        // SAFETY: the helper fills what it says that it did.
        unsafe { loaded(|into, len| bpf_skb_load_bytes(self.ctx.cast(), offset as u32, into, len)) }
    }

    /// Writes at any offset of the data.
    #[inline(always)]
    pub fn write<T: Wire>(self, offset: usize, value: &T) -> Result<(), DropReason> {
        // SAFETY: `value` is as long as we say.
        unsafe { self.store_bytes(offset, (&raw const *value).cast(), size_of::<T>()) }
    }

    /// Makes a frame ready to leave by a device, if that is still the one that was meant. When it
    /// shall be sent and how urgently is what its sender has said (`SO_TXTIME`, `SO_PRIORITY`),
    /// and the device's queue would believe it.
    #[inline(always)]
    fn leave_for(self, ifindex: u32) -> Result<(), DropReason> {
        if !maps::is_there(ifindex) {
            return Err(DropReason::NoDevice);
        }
        self.forget_when();
        Ok(())
    }

    /// Forgets when its sender wants it sent, and how urgently.
    #[inline(always)]
    fn forget_when(self) {
        // SAFETY: the kernel gives a valid context for the run of the program.
        unsafe {
            (&raw mut (*self.ctx).tstamp).write_volatile(0);
            (&raw mut (*self.ctx).priority).write_volatile(0);
        }
    }

    /// Sends the frame itself out of a device.
    #[inline(always)]
    pub fn redirect(self, ifindex: u32) -> Result<Verdict, DropReason> {
        self.leave_for(ifindex)?;
        // SAFETY: a helper without pointers.
        unsafe { bpf_redirect(ifindex, 0) };
        Ok(Verdict::REDIRECTED)
    }

    /// Sends the frame out of the loopback device, as one that is for another host: so the node's
    /// own stack takes none but one for many.
    #[inline(always)]
    pub fn loop_back(self) -> Result<Verdict, DropReason> {
        self.forget_when();
        // SAFETY: no packet reference is held across it.
        if unsafe { bpf_skb_change_type(self.ctx, OTHER_HOST) } != 0 {
            return Err(DropReason::NoHeadroom);
        }
        // SAFETY: a helper without pointers.
        unsafe { bpf_redirect(LOOPBACK, 0) };
        Ok(Verdict::REDIRECTED)
    }

    /// Whether the kernel takes the frame for one to another host.
    #[inline(always)]
    pub fn is_for_another(self) -> bool {
        // SAFETY: the kernel gives a valid context for the run of the program.
        unsafe { (*self.ctx).pkt_type == OTHER_HOST }
    }

    /// Sends the frame itself out of a port that faces an operator. Where the kernel can, it goes
    /// to the far end of the veth pair at once, and not through the queue between the two. The
    /// kernel takes such a frame for one to the far end's own address, with the ethertype that it
    /// had for it before; so only who is `is_understood` goes that way.
    #[inline(always)]
    pub fn hand_to_port(
        self,
        ifindex: u32,
        port: &PortEntry,
        is_understood: bool,
    ) -> Result<Verdict, DropReason> {
        if is_understood && port.flags & PortEntry::HAS_FAR_END != 0 {
            self.leave_for(ifindex)?;
            // It does not come through `sillon_egress`, and who receives it is not to see a mark of
            // ours.
            self.set_mark(0);
            // SAFETY: a helper without pointers.
            unsafe { bpf_redirect_peer(ifindex, 0) };
            return Ok(Verdict::REDIRECTED);
        }
        let action = self.redirect(ifindex)?;
        self.set_mark(maps::mark_cookie());
        Ok(action)
    }

    /// Sends a copy out of a device.
    #[inline(always)]
    pub fn copy_to(self, ifindex: u32) -> Result<(), DropReason> {
        self.leave_for(ifindex)?;
        // SAFETY: no packet reference is held across it.
        match unsafe { bpf_clone_redirect(self.ctx, ifindex, 0) } {
            0 => Ok(()),
            _ => Err(DropReason::CopyFailed),
        }
    }
}

/// Takes tags off, as many as an attachment and a priority may be.
#[inline(always)]
pub fn pop_tags(skb: Skb, count: usize) -> Result<(), DropReason> {
    for tag in 0..3 {
        if tag < count {
            skb.pop_tag()?;
        }
    }
    Ok(())
}

/// See [`Skb::pull`]. Where the kernel has no memory for it, reading ends early, and the frame is
/// dropped for that.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sillon_pull(ctx: *mut __sk_buff) -> u32 {
    // SAFETY: the kernel gives a valid context for the run of the program; no packet reference is
    // held across the call.
    unsafe {
        let reach = (*ctx).data_end - (*ctx).data;
        let wanted = if (*ctx).len < REACH { (*ctx).len } else { REACH };
        if reach < wanted {
            bpf_skb_pull_data(ctx, wanted);
        }
    }
    0
}
