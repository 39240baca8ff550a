//! Into tunnels and out of them, at TC. The kernel is told of the tunnel, so that packets that
//! travel as one (GSO) do so inside, too, until a device wants them one by one.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_F_ADJ_ROOM_DECAP_L3_IPV4, BPF_F_ADJ_ROOM_DECAP_L3_IPV6,
        BPF_F_ADJ_ROOM_ENCAP_L2_ETH, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6,
        BPF_F_ADJ_ROOM_ENCAP_L4_UDP, BPF_F_ADJ_ROOM_FIXED_GSO, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
    },
    helpers::generated::{bpf_skb_adjust_room, bpf_skb_load_bytes},
};
use sillon_abi::{DropReason, ETHERNET, MASKED_ETHERTYPE, PathEntry, V4_OUTER, V6_OUTER};

use super::{MACS, Skb, Tag, pop_tags};
use crate::{
    register::{to_number, to_result},
    vxlan::encap::Outer,
    wire::{C_TPID, ETHERTYPE, IPV4, IPV4_HEADER, IPV6, IPV6_HEADER, S_TPID, TAG},
};

impl Skb {
    /// Makes the frame one that is `header` bytes into a tunnel. `pops` of its tags go for good;
    /// its other tags beside the data, or one with this priority where it has none, are in
    /// the data then. The outer header is to be written.
    #[inline(always)]
    pub fn enter_tunnel(
        self,
        header: usize,
        pops: usize,
        priority: Option<u16>,
    ) -> Result<(), DropReason> {
        let tag = priority.map_or(0, |tci| Tag { tpid: C_TPID, tci }.on_wire());
        to_result(sillon_enter_tunnel(self.ctx, header as u32, pops as u32, tag))
    }

    #[inline(always)]
    fn make_room(self, header: usize, tags: usize) -> Result<(), DropReason> {
        // What is shorter than an IP header was never taken for a packet, and the kernel could not
        // take it out of the tunnel again.
        if self.is_ip() && self.len() >= ETHERNET + IPV4_HEADER {
            let l3 = if header == V4_OUTER {
                BPF_F_ADJ_ROOM_ENCAP_L3_IPV4
            } else {
                BPF_F_ADJ_ROOM_ENCAP_L3_IPV6
            };
            let flags = l3
                | BPF_F_ADJ_ROOM_ENCAP_L4_UDP
                | BPF_F_ADJ_ROOM_ENCAP_L2_ETH
                | BPF_F_ADJ_ROOM_FIXED_GSO;
            let inner = (ETHERNET + tags) as u64;
            // SAFETY: no packet reference is held across it.
            let done = unsafe {
                bpf_skb_adjust_room(
                    self.ctx,
                    (header + tags) as i32,
                    BPF_ADJ_ROOM_MAC,
                    u64::from(flags) | inner << 56,
                )
            };
            if done == 0 {
                return Ok(());
            }
        }
        // What is no IP, or came out of another tunnel. One packet can be put together all the
        // same.
        if self.segment_size() != 0 {
            Err(DropReason::NoHeadroom)
        } else {
            self.grow(header + tags)
        }
    }

    /// Takes `by` bytes off behind the first 14, which are the addresses and the ethertype of what
    /// is left.
    #[inline(always)]
    pub fn shrink(self, by: usize, ethertype: u16) -> Result<(), DropReason> {
        let left = self.len() - by - ETHERNET;
        // The kernel leaves no less than an IPv4 header. What is shorter is lengthened as long as
        // that takes.
        let short = IPV4_HEADER.saturating_sub(left);
        self.resize(self.len() + short)?;
        let flags = match ethertype {
            IPV4 if left >= IPV4_HEADER => BPF_F_ADJ_ROOM_DECAP_L3_IPV4,
            IPV6 if left >= IPV6_HEADER => BPF_F_ADJ_ROOM_DECAP_L3_IPV6,
            // Behind an IPv6 header it leaves no less than another one, unless it is told that an
            // IPv4 header follows. It says so of ARP, too; whoever receives the frame
            // looks at its ethertype.
            _ if left < IPV6_HEADER => BPF_F_ADJ_ROOM_DECAP_L3_IPV4,
            _ => 0,
        };
        let flags = u64::from(flags | BPF_F_ADJ_ROOM_FIXED_GSO);
        // SAFETY: no packet reference is held across it.
        match unsafe { bpf_skb_adjust_room(self.ctx, -(by as i32), BPF_ADJ_ROOM_MAC, flags) } {
            0 => self.resize(left + ETHERNET),
            _ => Err(DropReason::NoHeadroom),
        }
    }

    /// Writes the outer header over the front.
    #[inline(always)]
    pub fn write_outer(self, outer: &Outer, path: &PathEntry) -> Result<(), DropReason> {
        let rest =
            outer.inner as u32 & INNER | u32::from(outer.tos) << 20 | u32::from(outer.marks) << 28;
        to_result(write_outer(self.ctx, path, outer.vni, outer.hash, rest))
    }
}

/// See [`Skb::enter_tunnel`]; `tag` is one as on the wire, or 0. A function of its own, for which
/// there is room on the stack.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sillon_enter_tunnel(ctx: *mut __sk_buff, header: u32, pops: u32, tag: u32) -> u32 {
    let (skb, header) = (Skb::of(ctx), header as usize & 0x7f);
    let enter = || {
        pop_tags(skb, pops as usize)?;
        let (tags, hidden) = take_tags(skb, tag)?;
        put_in(skb, header, tags, hidden)
    };
    to_number(enter())
}

/// Takes the tags that are the operator's off the frame, two at most; `tag` is the first if it has
/// none. None is 0 on the wire: its TPID is not. A third one stays in the data, where its TPID is
/// hidden, since the kernel would lift it; that is returned, too.
#[inline(always)]
fn take_tags(skb: Skb, tag: u32) -> Result<([u32; 2], u16), DropReason> {
    if !skb.has_hw_vlan() {
        return Ok(([tag, 0], 0));
    }
    let mut hidden = 0;
    if is_hw_vlan(skb.load(ETHERTYPE)?) {
        let third = skb.load(ETHERTYPE + TAG)?;
        if is_hw_vlan(third) {
            hidden = third;
            skb.store(ETHERTYPE + TAG, MASKED_ETHERTYPE.to_be())?;
        }
    }
    let outer = skb.hw_vlan().on_wire();
    skb.pop_tag()?;
    let mut inner = 0;
    if skb.has_hw_vlan() {
        inner = skb.hw_vlan().on_wire();
        skb.pop_tag()?;
    }
    Ok(([outer, inner], hidden))
}

/// Whether the kernel lifts a tag with this TPID, as on the wire, out of a frame.
#[inline(always)]
pub fn is_hw_vlan(tpid: u16) -> bool {
    tpid == C_TPID.to_be() || tpid == S_TPID.to_be()
}

/// Makes room for an outer header, and puts the addresses, these tags and, if it is not 0, the
/// ethertype behind it.
#[inline(always)]
fn put_in(
    skb: Skb,
    header: usize,
    [outer, inner]: [u32; 2],
    hidden: u16,
) -> Result<(), DropReason> {
    let len = match (outer, inner) {
        (0, _) => 0,
        (_, 0) => TAG,
        _ => 2 * TAG,
    };
    // Of 64-bit words: the verifier wants them aligned on the stack.
    let mut front = [0u64; 2];
    let into: *mut c_void = front.as_mut_ptr().cast();
    // SAFETY: there is room for 16 bytes, and `ETHERNET` are 14.
    unsafe {
        if bpf_skb_load_bytes(skb.ctx.cast(), 0, into, ETHERNET as u32) != 0 {
            return Err(DropReason::Truncated);
        }
        skb.make_room(header, len)?;
        skb.store_bytes(header, into, MACS)?;
        if outer != 0 {
            skb.store(header + MACS, outer)?;
        }
        if inner != 0 {
            skb.store(header + MACS + TAG, inner)?;
        }
        if hidden != 0 {
            return skb.store(header + MACS + len, hidden);
        }
        skb.store_bytes(header + MACS + len, into.byte_add(MACS), ETHERNET - MACS)
    }
}

/// In `rest`: bytes of the inner frame.
const INNER: u32 = 0xf_ffff;

/// A function of its own, for which there is room on the stack. `rest` is the frame's length, its
/// traffic class, and its marks.
#[inline(never)]
fn write_outer(ctx: *mut __sk_buff, path: &PathEntry, vni: u32, hash: u32, rest: u32) -> u32 {
    let skb = Skb::of(ctx);
    let outer = Outer {
        vni,
        hash,
        tos: (rest >> 20) as u8,
        marks: (rest >> 28) as u16,
        inner: (rest & INNER) as usize,
    };
    // Of 64-bit words: the verifier wants them aligned on the stack.
    let mut header = MaybeUninit::<[u64; V6_OUTER.div_ceil(8)]>::uninit();
    // SAFETY: `header` is as long as the longer of the two, and each writes all of what is stored.
    let written = unsafe {
        if path.header_len as usize == V4_OUTER {
            outer.write_v4(header.as_mut_ptr().cast(), path);
            skb.store_bytes(0, header.as_ptr().cast(), V4_OUTER)
        } else {
            outer.write_v6(header.as_mut_ptr().cast(), path);
            skb.store_bytes(0, header.as_ptr().cast(), V6_OUTER)
        }
    };
    to_number(written)
}
