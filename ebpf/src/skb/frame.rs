//! A frame at TC, as the pipeline sees it: with the tag that the kernel has lifted out of it, in
//! its place.

use aya_ebpf::bindings::__sk_buff;
use sillon_abi::{DropReason, ETHERNET};

use super::Skb;
use crate::{
    frame::{Frame, Wire},
    own_tunnel,
    wire::{ETHERTYPE, TAG},
};

/// A frame at TC.
pub struct SkbFrame {
    pub skb: Skb,
    /// Bytes of the tag that the kernel holds beside the data.
    hw_vlan_len: usize,
}

impl SkbFrame {
    /// Where in the data an offset of the frame is: behind the addresses, it is less by the bytes
    /// of the lifted tag. An offset that is not a constant is never within the addresses or that
    /// tag.
    #[inline(always)]
    fn place(&self, offset: usize) -> usize {
        if is_in_front(offset) { offset } else { offset.max(TAG) - self.hw_vlan_len }
    }

    /// The same for the kernel's helpers, which look at the offset themselves; the verifier would
    /// walk through each loop twice as often if it were done here.
    #[inline(always)]
    fn unchecked_place(&self, offset: usize) -> usize {
        if is_in_front(offset) { offset } else { offset.wrapping_sub(self.hw_vlan_len) }
    }
}

/// Whether an offset is known to be one of the addresses, in front of all tags.
#[inline(always)]
fn is_in_front(offset: usize) -> bool {
    core::intrinsics::is_val_statically_known(offset) && offset < ETHERNET
}

impl Frame for SkbFrame {
    type Context = __sk_buff;

    #[inline(always)]
    fn of(ctx: *mut __sk_buff) -> Self {
        let skb = Skb::of(ctx);
        Self { skb, hw_vlan_len: skb.hw_vlan_len() }
    }

    #[inline(always)]
    fn ctx(&self) -> *mut __sk_buff {
        self.skb.ctx()
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        own_tunnel::port(self.skb)
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.skb.len() + self.hw_vlan_len
    }

    #[inline(always)]
    fn at<T: Wire>(&self, offset: usize) -> Result<*mut T, DropReason> {
        self.skb.at(core::hint::black_box(self.place(offset)))
    }

    #[inline(always)]
    fn first_tpid(&self, read: u16) -> u16 {
        if self.hw_vlan_len == 0 { read } else { self.skb.hw_vlan().tpid }
    }

    #[inline(always)]
    fn hw_vlan_len(&self) -> usize {
        self.hw_vlan_len
    }

    #[inline(always)]
    fn read_tag(&self, offset: usize) -> Result<u16, DropReason> {
        if self.hw_vlan_len == 0 || offset > ETHERTYPE + 2 {
            return Ok(u16::from_be(
                self.skb.read(core::hint::black_box(offset - self.hw_vlan_len))?,
            ));
        }
        let tag = self.skb.hw_vlan();
        Ok(if offset == ETHERTYPE { tag.tpid } else { tag.tci })
    }

    #[inline(always)]
    fn load<T: Wire>(&self, offset: usize) -> Result<T, DropReason> {
        self.skb.load(self.unchecked_place(offset))
    }

    #[inline(always)]
    fn write<T: Wire>(&self, offset: usize, value: T) -> Result<(), DropReason> {
        self.skb.write(self.unchecked_place(offset), &value)
    }

    #[inline(always)]
    fn write_words<const N: usize>(
        &self,
        offset: usize,
        words: [u32; N],
    ) -> Result<(), DropReason> {
        self.write(offset, words)
    }

    #[inline(always)]
    fn trim(&self, by: usize) -> Result<(), DropReason> {
        self.skb.trim(by)
    }
}
