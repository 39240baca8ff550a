//! The one place that touches packet memory at TC. Offsets are bytes from the first of the frame's bytes.
//!
//! Frames are written through helpers alone. A program that wrote to packet memory itself would get a prologue from the verifier that
//! makes a cloned frame its own first, and the kernel forgets the metadata when it does that: with a `tcpdump` on the port, which
//! clones, XDP's note would be lost.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{
    EbpfContext,
    bindings::{
        __sk_buff, BPF_F_ADJ_ROOM_DECAP_L3_IPV4, BPF_F_ADJ_ROOM_DECAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L2_ETH,
        BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L4_UDP,
        BPF_F_ADJ_ROOM_FIXED_GSO, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC, bpf_hdr_start_off::BPF_HDR_START_MAC,
    },
    helpers::generated::{
        bpf_clone_redirect, bpf_redirect, bpf_skb_adjust_room, bpf_skb_change_head, bpf_skb_change_tail,
        bpf_skb_load_bytes, bpf_skb_load_bytes_relative, bpf_skb_pull_data, bpf_skb_store_bytes,
        bpf_skb_vlan_pop, bpf_skb_vlan_push,
    },
    programs::TcContext,
};
use sillon_abi::{DropReason, ETHERNET, Handoff, Mac, Note, PathEntry, V4_OUTER, V6_OUTER};

use crate::{
    frame::{Shape, Wire},
    outer::Outer,
    parse::{C_TPID, IPV4, IPV6, TAG},
};

/// Tells the copies that we send out of a port from what the node's own stack sends.
pub const COPY_MARK: u32 = 0x5111_0417;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// Bytes of a frame's two addresses.
const MACS: usize = 12;

/// How much of a frame the pipeline may want to see at once: the headers of a tunnel and those of a neighbour solicitation in it.
const REACH: u32 = 192;

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

    /// Makes the frame one that is `header` bytes into a tunnel: its tags beside the data, or one with this priority where it has none, are in
    /// the data then. The outer header is to be written.
    ///
    /// The kernel is told of the tunnel, so that packets that travel as one do so inside, too, until a device wants them one by one.
    #[inline(always)]
    pub fn enter_tunnel(self, header: usize, priority: Option<u16>) -> Result<(), DropReason> {
        let (mut outer, mut inner) = (None, None);
        if self.has_lifted_tag() {
            outer = Some(self.lifted_tag());
            self.pop_tag()?;
            if self.has_lifted_tag() {
                inner = Some(self.lifted_tag());
                self.pop_tag()?;
                if self.has_lifted_tag() {
                    return Err(DropReason::NestedTag);
                }
            }
        } else if let Some(priority) = priority {
            outer = Some(Tag { tpid: C_TPID, tci: priority });
        }
        let tags = usize::from(outer.is_some()) + usize::from(inner.is_some());
        // Of 64-bit words: the verifier wants them aligned on the stack.
        let mut front = MaybeUninit::<[u64; 2]>::uninit();
        let into: *mut c_void = front.as_mut_ptr().cast();
        // SAFETY: there is room for 16 bytes, and the helper fills what is stored before it is stored.
        unsafe {
            if bpf_skb_load_bytes(self.ctx.cast(), 0, into, ETHERNET as u32) != 0 {
                return Err(DropReason::Truncated);
            }
            self.make_room(header, tags * TAG)?;
            self.store_bytes(header, into, MACS)?;
            let mut at = header + MACS;
            if let Some(tag) = outer {
                self.store(at, tag.on_wire())?;
                at += TAG;
            }
            if let Some(tag) = inner {
                self.store(at, tag.on_wire())?;
                at += TAG;
            }
            self.store_bytes(at, into.byte_add(MACS), ETHERNET - MACS)
        }
    }

    #[inline(always)]
    fn make_room(self, header: usize, tags: usize) -> Result<(), DropReason> {
        if self.is_ip() {
            let l3 =
                if header == V4_OUTER { BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 } else { BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 };
            let flags =
                l3 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2_ETH | BPF_F_ADJ_ROOM_FIXED_GSO;
            let inner = (ETHERNET + tags) as u64;
            // SAFETY: no packet reference is held across it.
            let done = unsafe {
                bpf_skb_adjust_room(
                    self.ctx,
                    (header + tags) as i32,
                    BPF_ADJ_ROOM_MAC as u32,
                    u64::from(flags) | inner << 56,
                )
            };
            if done == 0 {
                return Ok(());
            }
        }
        // What is no IP, or came out of another tunnel. One packet can be put together all the same.
        if self.segment_size() != 0 { Err(DropReason::NoHeadroom) } else { self.grow(header + tags) }
    }

    /// Takes `by` bytes off behind the first 14, which are the addresses and the ethertype of what is left.
    #[inline(always)]
    pub fn shrink(self, by: usize, ethertype: u16) -> Result<(), DropReason> {
        let left = self.len() - by - ETHERNET;
        let flags = match ethertype {
            IPV4 if left >= 20 => BPF_F_ADJ_ROOM_DECAP_L3_IPV4 | BPF_F_ADJ_ROOM_FIXED_GSO,
            IPV6 if left >= 40 => BPF_F_ADJ_ROOM_DECAP_L3_IPV6 | BPF_F_ADJ_ROOM_FIXED_GSO,
            _ => BPF_F_ADJ_ROOM_FIXED_GSO,
        };
        // SAFETY: no packet reference is held across it.
        match unsafe { bpf_skb_adjust_room(self.ctx, -(by as i32), BPF_ADJ_ROOM_MAC as u32, flags.into()) } {
            0 => Ok(()),
            _ => Err(DropReason::NoHeadroom),
        }
    }

    /// Takes `by` bytes off the end.
    #[inline(always)]
    pub fn trim(self, by: usize) -> Result<(), DropReason> {
        // SAFETY: as above.
        if by != 0 && unsafe { bpf_skb_change_tail(self.ctx, (self.len() - by) as u32, 0) } != 0 {
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
    pub fn lifted_tag(self) -> Tag {
        // SAFETY: the kernel gives a valid context for the run of the program.
        unsafe { Tag { tpid: u16::from_be((*self.ctx).vlan_proto as u16), tci: (*self.ctx).vlan_tci as u16 } }
    }

    /// Payload of each packet but the last, where several travel as one; else 0.
    #[inline(always)]
    pub fn segment_size(self) -> usize {
        // SAFETY: as above.
        unsafe { (*self.ctx).gso_size as usize }
    }

    /// What is to be known of several packets that travel as one. `l3` is an offset in the data. What is neither TCP nor UDP directly behind an
    /// IP header is taken as if it were one packet, which is too big for all.
    #[inline(always)]
    pub fn shape(self, ethertype: u16, l3: usize) -> Shape {
        if self.segment_size() == 0 {
            return Shape::default();
        }
        let packed = packets(self.ctx, ethertype, l3 as u32);
        Shape { surplus: (packed >> 32) as usize & 0xf_ffff, repeated: packed as u32 as usize }
    }

    /// Makes the first bytes of the frame those in direct reach.
    #[inline(always)]
    pub fn pull(self) {
        // SAFETY: as above; no packet reference is held across it.
        unsafe {
            let reach = (*self.ctx).data_end - (*self.ctx).data;
            let wanted = if (*self.ctx).len < REACH { (*self.ctx).len } else { REACH };
            if reach < wanted {
                bpf_skb_pull_data(self.ctx, wanted);
            }
        }
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

    /// Reads at any offset of the data.
    #[inline(always)]
    pub fn load<T: Wire>(self, offset: usize) -> Result<T, DropReason> {
        /// As in `frame.rs`.
        #[repr(align(8))]
        struct Aligned<T>(MaybeUninit<T>);
        let mut value = Aligned(MaybeUninit::<T>::uninit());
        let into = value.0.as_mut_ptr().cast();
        // SAFETY: `value` is as long as we say, and filled where the helper says so; `Wire` says that any bytes are a value.
        unsafe {
            match bpf_skb_load_bytes(self.ctx.cast(), offset as u32, into, size_of::<T>() as u32) {
                0 => Ok(value.0.assume_init()),
                _ => Err(DropReason::Truncated),
            }
        }
    }

    /// Writes at any offset of the data.
    #[inline(always)]
    pub fn write<T: Wire>(self, offset: usize, value: &T) -> Result<(), DropReason> {
        // SAFETY: `value` is as long as we say.
        unsafe { self.store_bytes(offset, (&raw const *value).cast(), size_of::<T>()) }
    }

    /// Sends the frame itself out of a device.
    #[inline(always)]
    pub fn redirect(self, ifindex: u32) -> i32 {
        // SAFETY: a helper without pointers.
        unsafe { bpf_redirect(ifindex, 0) as i32 }
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

/// [`Shape`] in a word. A function of its own, which most frames never come to.
#[inline(never)]
fn packets(ctx: *mut __sk_buff, ethertype: u16, l3: u32) -> u64 {
    let (skb, l3) = (Skb::of(ctx), l3 as usize & 0xff);
    let (protocol, l4) = match ethertype {
        IPV4 => {
            let head = skb.load::<u8>(l3).unwrap_or(0);
            (skb.load::<u8>(l3 + 9), l3 + usize::from(head & 0xf) * 4)
        }
        IPV6 => (skb.load::<u8>(l3 + 6), l3 + 40),
        _ => return 0,
    };
    let headers = match protocol {
        Ok(TCP) => l4 + usize::from(skb.load::<u8>(l4 + 12).unwrap_or(0) >> 4) * 4,
        Ok(UDP) => l4 + 8,
        _ => return 0,
    };
    let (len, size) = (skb.len(), skb.segment_size());
    if size == 0 || len <= headers + size {
        return 0;
    }
    let payload = len - headers;
    let repeated = (payload - 1) / size * headers;
    ((payload - size) as u64) << 32 | repeated as u64 & 0xffff_ffff
}
