//! A tunnel's packet of which nothing is out of the ordinary: to this port and its VTEP, whole and
//! without options or padding, not marked as yellow, and its outer header without a word on
//! congestion. `crate::vxlan::decap` says what is wrong with any other.

use sillon_abi::{PortEntry, V4_OUTER, V6_OUTER};

use crate::{
    flow_cache::Source,
    frame::{Frame, Macs, Wire},
    vxlan::{
        decap::{self, UDP_AND_VXLAN, Vxlan},
        encap::VXLAN_PORT,
    },
    wire::ETHERTYPE,
};

use super::{HEAD, HEAD_MASK, L3};
use crate::wire::{ANY_FRAGMENT, IPV6_HEADER, UDP};

/// Ethertype, version, header length and ECN, of each family: DSCP may be any. Over IPv4 as of a
/// packet at an attachment, but for ECN.
const V4_HEAD_MASK: u32 = HEAD_MASK | u32::from_ne_bytes([0, 0, 0, 0x03]);
const V6_HEAD: u32 = u32::from_ne_bytes([0x86, 0xdd, 0x60, 0]);
const V6_HEAD_MASK: u32 = u32::from_ne_bytes([0xff, 0xff, 0xf0, 0x30]);
/// Fragment, TTL and protocol.
const V4_WHOLE_UDP: u32 = u32::from_ne_bytes([0, 0, 0, UDP]);
const V4_WHOLE_UDP_MASK: u32 = ANY_FRAGMENT as u32 | u32::from_ne_bytes([0, 0, 0, 0xff]);

/// What is known of it.
pub struct PlainTunnel {
    pub source: Source,
    pub vxlan: Vxlan,
    /// The inner frame's addresses.
    pub macs: Macs,
    /// Where the inner frame begins.
    pub header: usize,
    /// The inner frame's, as on the wire.
    pub ethertype: u16,
}

/// The first bytes of a packet to this port over IP, as many as the longer of the two headers and
/// an inner frame's addresses and ethertype take.
#[derive(Clone, Copy)]
pub struct Head {
    at: *const u8,
    is_over_ipv4: bool,
}

impl Head {
    const LEN: usize = V6_OUTER + L3;

    #[inline(always)]
    pub fn of(frame: &impl Frame, port: &PortEntry) -> Option<Self> {
        let at = frame.at::<[u16; Self::LEN / 2]>(0).ok()?.cast_const().cast::<u8>();
        // SAFETY: both are there; behind the port's address are two more bytes.
        let (destination, own, head) = unsafe {
            (
                at.cast::<u64>().read_unaligned(),
                (&raw const port.mac).cast::<u64>().read_unaligned(),
                at.add(ETHERTYPE).cast::<u32>().read_unaligned(),
            )
        };
        let is_over_ipv4 = head & V4_HEAD_MASK == HEAD;
        let is_ours = (destination ^ own) << 16 == 0
            && (is_over_ipv4 || head & V6_HEAD_MASK == V6_HEAD)
            && frame.hw_vlan_len() == 0;
        is_ours.then_some(Self { at, is_over_ipv4 })
    }

    #[inline(always)]
    pub fn is_over_ipv4(self) -> bool {
        self.is_over_ipv4
    }

    /// What stands `offset` bytes from the first.
    #[inline(always)]
    fn get<T: Wire>(self, offset: usize) -> T {
        // SAFETY: all that is asked for is within these bytes, or the verifier would refuse the
        // program.
        unsafe { self.at.add(offset).cast::<T>().read_unaligned() }
    }

    /// A field in network order, as a number.
    #[inline(always)]
    fn number(self, offset: usize) -> usize {
        u16::from_be(self.get(offset)) as usize
    }

    #[inline(always)]
    pub fn over_ipv4(self, port: &PortEntry, len: usize) -> Option<PlainTunnel> {
        let vtep = u32::from_ne_bytes(port.vtep4);
        let ip = [0, 4, 8, 12, 16].map(|offset| self.get::<u32>(L3 + offset));
        let is_ours = self.get::<u32>(L3 + 6) & V4_WHOLE_UDP_MASK == V4_WHOLE_UDP
            && ip[4] == vtep
            && vtep != 0;
        if !is_ours || self.number(L3 + 2) + L3 != len || !decap::sums_up(&ip) {
            return None;
        }
        self.behind(Source::V4(ip[3]), V4_OUTER, len)
    }

    #[inline(always)]
    pub fn over_ipv6(self, port: &PortEntry, len: usize) -> Option<PlainTunnel> {
        // SAFETY: sixteen bytes of a map value.
        let vtep = unsafe { (&raw const port.vtep6).cast::<[u64; 2]>().read_unaligned() };
        let is_ours = self.get::<u8>(L3 + 6) == UDP
            && self.get::<[u64; 2]>(L3 + 24) == vtep
            && vtep != [0; 2];
        if !is_ours || self.number(L3 + 4) + L3 + IPV6_HEADER != len {
            return None;
        }
        // No flow is decided that came from a mapped IPv4 address: `crate::vxlan::decap` makes that
        // nobody's.
        self.behind(Source::V6(self.get(L3 + 8)), V6_OUTER, len)
    }

    /// What is behind the IP header.
    #[inline(always)]
    fn behind(self, source: Source, header: usize, len: usize) -> Option<PlainTunnel> {
        let udp = header - UDP_AND_VXLAN;
        let vxlan = Vxlan { flags: self.get(udp + 8), vni: self.get(udp + 12) };
        let is_plain = self.get::<u16>(udp + 2) == VXLAN_PORT.to_be()
            && self.number(udp + 4) + udp == len
            && vxlan.is_plain();
        if !is_plain {
            return None;
        }
        // SAFETY: as for `get`.
        let macs = unsafe { Macs::read(self.at.add(header)) };
        Some(PlainTunnel { source, vxlan, macs, header, ethertype: self.get(header + ETHERTYPE) })
    }
}
