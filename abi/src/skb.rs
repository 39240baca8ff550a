//! Where the running kernel keeps what `__sk_buff` does not show of an skb.

use crate::pod;

/// Offsets in bytes, as the kernel's BTF has them; the loader writes them into the programs as
/// constants.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SkbLayout {
    /// Of the byte of `struct sk_buff` that has `ip_summed`.
    pub ip_summed: u32,
    /// Of the two bits of `ip_summed` in that byte.
    pub ip_summed_shift: u32,
    /// `sk_buff.csum_start`: from `head` to where a checksum begins that is left to the device.
    pub csum_start: u32,
    /// `sk_buff.csum_offset`: from there to the checksum's own field.
    pub csum_offset: u32,
    /// `sk_buff.inner_network_header`, from `head`.
    pub inner_network_header: u32,
    /// `sk_buff.inner_mac_header`, from `head`.
    pub inner_mac_header: u32,
    /// `sk_buff.end`: from `head` to `struct skb_shared_info`.
    pub end: u32,
    /// `sk_buff.head`.
    pub head: u32,
    /// `sk_buff.data`.
    pub data: u32,
    /// `skb_shared_info.gso_type`.
    pub gso_type: u32,
    /// `sk_buff.network_header`, with `mac_header` behind it, both from `head`.
    pub network_header: u32,
    /// `sk_buff.vlan_proto`, with `vlan_tci` behind it.
    pub vlan: u32,
    /// `xdp_buff.data_hard_start`: of a frame that is an skb, that one's `head`.
    pub hard_start: u32,
    /// `veth_xdp_buff.skb`: the skb that a veth runs an XDP program on, null where it is none. 0
    /// where the kernel does not say; there are no veths, then, or none that is known.
    pub veth_skb: u32,
}

pod!(SkbLayout = 56);
