//! What `__sk_buff` does not show of an skb, read where the kernel keeps it. At TC, the context of
//! a program is the skb itself.
//!
//! A function of the kernel's own that would give us the same (`bpf_cast_to_kern_ctx`) came with
//! Linux 6.2, and can't be called through aya.

use aya_ebpf::{bindings::xdp_md, helpers::generated::bpf_probe_read_kernel};
use sillon_abi::{DropReason, ETHERNET, SkbLayout};

use super::Skb;
use crate::{
    frame::{Wire, loaded},
    wire::ETHERTYPE,
};

/// The loader writes it, from the kernel's BTF.
#[unsafe(no_mangle)]
static SKB_LAYOUT: SkbLayout = SkbLayout {
    ip_summed: 0,
    ip_summed_shift: 0,
    csum_start: 0,
    csum_offset: 0,
    inner_network_header: 0,
    inner_mac_header: 0,
    end: 0,
    head: 0,
    data: 0,
    gso_type: 0,
    network_header: 0,
    vlan: 0,
    hard_start: 0,
    veth_skb: 0,
};

/// An offset in [`SKB_LAYOUT`].
macro_rules! offset {
    ($field:ident) => {
        // SAFETY: a static, which the loader wrote before the program was loaded.
        unsafe { core::ptr::read_volatile(&raw const SKB_LAYOUT.$field) }
    };
}

/// A checksum that the kernel or a device shall finish.
#[derive(Clone, Copy)]
pub struct Unfinished {
    /// Where in the data it begins; past all frames if that is in front of them.
    pub start: usize,
    /// From there to its field.
    pub offset: usize,
}

/// `CHECKSUM_PARTIAL` (include/linux/skbuff.h).
const PARTIAL: u8 = 3;
/// What is less is a length (IEEE 802.3 clause 3.2.6).
const LEAST_ETHERTYPE: u16 = 0x600;
/// What the kernel calls a frame with a length (include/uapi/linux/if_ether.h): of old IPX, and all
/// others.
const ETH_P_802_3: u16 = 1;
const ETH_P_802_2: u16 = 4;

#[inline(always)]
fn kernels<T: Wire>(address: *const u8) -> Result<T, DropReason> {
    // SAFETY: the helper fills what it says that it did, and bears any address.
    unsafe { loaded(|into, len| bpf_probe_read_kernel(into, len, address.cast())) }
}

/// At XDP on a veth: the tag that the kernel keeps beside the data of a frame, as on the wire; 0
/// where there is none.
#[inline(always)]
pub fn hw_vlan(ctx: *mut xdp_md) -> Result<u32, DropReason> {
    let field = |offset: u32| ctx.cast::<u8>().cast_const().wrapping_add(offset as usize);
    if offset!(veth_skb) == 0 {
        return Err(DropReason::HwVlan);
    }
    let skb: u64 = kernels(field(offset!(veth_skb)))?;
    if skb == 0 {
        return Ok(0);
    }
    // `BPF_PROG_TEST_RUN` has no such struct, and anything behind the context.
    let head = kernels::<u64>((skb as *const u8).wrapping_add(offset!(head) as usize)).unwrap_or(0);
    if head == 0 || head != kernels::<u64>(field(offset!(hard_start)))? {
        return Ok(0);
    }
    let [tpid, tci]: [u16; 2] = kernels((skb as *const u8).wrapping_add(offset!(vlan) as usize))?;
    // Together they are zero where there is no tag.
    Ok(u32::from(tpid) | u32::from(tci.to_be()) << 16)
}

impl Skb {
    #[inline(always)]
    fn field<T: Wire>(self, offset: u32) -> Result<T, DropReason> {
        kernels(self.ctx.cast::<u8>().wrapping_add(offset as usize))
    }

    /// Whether its checksum is left to the device.
    #[inline(always)]
    pub fn is_unfinished(self) -> Result<bool, DropReason> {
        let byte: u8 = self.field(offset!(ip_summed))?;
        Ok(byte >> (offset!(ip_summed_shift) & 7) & 3 == PARTIAL)
    }

    /// Asks that the frame is what the kernel was told: a packet of the protocol that stands in its
    /// bytes, directly behind one Ethernet header. So `eth_type_trans` leaves every frame, but a
    /// container's own program may send one past that (`bpf_redirect_peer`), and choose both. The
    /// kernel takes tags off by the protocol, and whoever gets the frame at once finds the packet by
    /// its offset.
    #[inline(always)]
    pub fn as_told(self) -> Result<(), DropReason> {
        let [network, mac]: [u16; 2] = self.field(offset!(network_header))?;
        if network.wrapping_sub(mac) != ETHERNET as u16 {
            return Err(DropReason::HeaderOffsets);
        }
        let ethertype: u16 = self.read(ETHERTYPE)?;
        let is_length = u16::from_be(ethertype) < LEAST_ETHERTYPE;
        let is_so = if is_length {
            let protocol = u16::from_be(self.protocol());
            protocol == ETH_P_802_3 || protocol == ETH_P_802_2
        } else {
            self.protocol() == ethertype
        };
        if is_so { Ok(()) } else { Err(DropReason::HeaderOffsets) }
    }

    /// Where the data begins, from the buffer's head: what the kernel's offsets are relative to.
    #[inline(always)]
    fn headroom(self) -> Result<u64, DropReason> {
        let [head, data]: [u64; 2] = [self.field(offset!(head))?, self.field(offset!(data))?];
        Ok(data.wrapping_sub(head))
    }

    #[inline(always)]
    pub fn unfinished(self) -> Result<Unfinished, DropReason> {
        let start: u16 = self.field(offset!(csum_start))?;
        let offset: u16 = self.field(offset!(csum_offset))?;
        let start = u64::from(start).wrapping_sub(self.headroom()?) as usize;
        Ok(Unfinished { start, offset: offset.into() })
    }

    /// Where in the data the inner packet and the inner frame of a tunnel begin, as the kernel will
    /// take it apart.
    #[inline(always)]
    pub fn inner_headers(self) -> Result<[usize; 2], DropReason> {
        let network: u16 = self.field(offset!(inner_network_header))?;
        let mac: u16 = self.field(offset!(inner_mac_header))?;
        let headroom = self.headroom()?;
        Ok([network, mac].map(|at| u64::from(at).wrapping_sub(headroom) as usize))
    }

    /// What kind of packets travel as one: `SKB_GSO_…`.
    #[inline(always)]
    pub fn gso_type(self) -> Result<u32, DropReason> {
        let head: u64 = self.field(offset!(head))?;
        let end: u32 = self.field(offset!(end))?;
        let info = head.wrapping_add(end.into()).wrapping_add(offset!(gso_type).into());
        kernels(info as *const u8)
    }
}
