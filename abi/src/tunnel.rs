//! Remote VTEPs and the ways to them.

use crate::{Endpoint, pod};

/// Bytes of Ethernet + IPv4 + UDP + VXLAN header.
pub const V4_OUTER: usize = 14 + 20 + 8 + 8;
/// Bytes of Ethernet + IPv6 + UDP + VXLAN header.
pub const V6_OUTER: usize = 14 + 40 + 8 + 8;
/// How many buckets share a remote's paths; a power of two.
pub const PATH_BUCKETS: usize = 16;

/// An IP address as on the wire; IPv4 as IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2).
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addr(pub [u16; 8]);

impl Addr {
    /// From the four octets of an IPv4 address, as two words in network order.
    #[inline(always)]
    pub const fn v4(hi: u16, lo: u16) -> Self {
        Self([0, 0, 0, 0, 0, 0xffff, hi, lo])
    }

    /// Whether it is an IPv4 address.
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        self.0[0] | self.0[1] | self.0[2] | self.0[3] | self.0[4] == 0 && self.0[5] == 0xffff
    }
}

/// A VNI and who sent it. Aligned, since the verifier wants words on the stack to be.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelKey {
    /// Outer source.
    pub source: Addr,
    /// VNI, host order.
    pub vni: u32,
    /// Zero.
    pub pad: u32,
}

impl TunnelKey {
    /// The key of this VNI and source.
    #[inline(always)]
    pub const fn new(vni: u32, source: Addr) -> Self {
        Self { vni, source, pad: 0 }
    }
}

/// What a frame from a tunnel belongs to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelEntry {
    /// The key again: an element that is being used anew for another key shows itself by it.
    pub key: TunnelKey,
    /// Segment uid.
    pub segment: u32,
    /// Remote id.
    pub remote: u32,
    /// In a `line`: the attachment at this end.
    pub cross: Endpoint,
    /// FDB entries that the segment may have.
    pub fdb_limit: u32,
    /// Largest layer-3 packet that the segment carries, bytes.
    pub mtu: u16,
    /// A [`crate::Service`].
    pub service: u8,
    /// Zero.
    pub pad: u8,
    /// [`crate::Guards`].
    pub guards: u16,
    /// Zero.
    pub pad2: u16,
}

/// A remote VTEP, by id.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoteEntry {
    /// Its address; all zero in a free slot.
    pub addr: Addr,
    /// Path ids by flow hash; 0 where there is none. Each is replaced in one write.
    pub paths: [u32; PATH_BUCKETS],
}

/// One way to a remote: the header in front of a frame, ready but for lengths, source port, VNI and
/// traffic class. Never changed while it is referred to.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathEntry {
    /// Ethernet, IP, UDP and VXLAN header as on the wire; [`V4_OUTER`] or [`V6_OUTER`] bytes of it
    /// count.
    pub header: [u16; 36],
    /// The uplink.
    pub ifindex: u32,
    /// IPv4 only: the ones' complement sum of the header's words, with total length and TOS zero.
    pub checksum: u32,
    /// Largest layer-3 packet on this way, bytes.
    pub mtu: u16,
    /// Bytes of `header` that count; 0 in a free slot.
    pub header_len: u16,
}

impl Default for PathEntry {
    fn default() -> Self {
        Self { header: [0; 36], ifindex: 0, checksum: 0, mtu: 0, header_len: 0 }
    }
}

pod!(Addr = 16, TunnelKey = 24, TunnelEntry = 48, RemoteEntry = 80, PathEntry = 84);
