//! The outer header: the path's prebuilt bytes, with what differs from frame to frame filled in.
//! XDP and TC both use it.
//!
//! ECN is copied in (RFC 6040 section 4.1, normal mode). DSCP is the owner's to choose, per
//! segment: if it followed the inner packet (RFC 2983's uniform model), an operator could promote
//! itself on the underlay that all share. A yellow frame has the next drop precedence of the
//! same class, where the segment's DSCP is one of assured forwarding (RFC 2597; RFC 2698 section 5
//! colours so): it is not delayed by that, nor gets before others.

use sillon_abi::{PATH_BUCKETS, PathEntry, RemoteEntry, V4_OUTER};

use crate::maps::{PATHS, REMOTES};

/// The IANA port of VXLAN.
pub const VXLAN_PORT: u16 = 4789;
/// In the reserved bits behind the VXLAN flags: from a leaf of a `tree`.
pub const LEAF: u16 = 1;
/// Beside it: a bandwidth profile found the frame yellow.
pub const YELLOW: u16 = 2;

/// Outer source ports are of the dynamic range, 49152–65535.
const SOURCE_PORTS: u16 = 49152;

/// What differs from frame to frame.
pub struct Outer {
    pub vni: u32,
    pub hash: u32,
    /// Traffic class: DSCP and ECN.
    pub tos: u8,
    /// [`LEAF`] and [`YELLOW`].
    pub marks: u16,
    /// Bytes of the inner frame.
    pub inner: usize,
}

/// What is said of a frame to the node that it goes to.
#[inline(always)]
pub fn marks(leaf: bool, is_yellow: bool) -> u16 {
    (if leaf { LEAF } else { 0 }) | (if is_yellow { YELLOW } else { 0 })
}

/// The DSCP, in place, of a yellow frame of a segment that has `tos`. The codepoints AFxy are
/// `xxxyy0`, with x from 1 to 4 and y from 1 to 3.
#[inline(always)]
pub fn yellow(tos: u8) -> u8 {
    const LAST: u8 = 1 << 2;
    const PRECEDENCE: u8 = 3 << 3;
    let (class, precedence) = (tos >> 5, tos & PRECEDENCE);
    let is_lower =
        matches!(class, 1..=4) && precedence != 0 && precedence != PRECEDENCE && tos & LAST == 0;
    if is_lower { tos + (1 << 3) } else { tos }
}

/// The path that a flow takes to a remote.
#[inline(always)]
pub fn path(remote: u32, hash: u32) -> Option<&'static PathEntry> {
    let remote: &RemoteEntry = REMOTES.get(remote)?;
    let bucket = (hash >> 16) as usize & (PATH_BUCKETS - 1);
    // SAFETY: in bounds by the mask; one aligned word, read at once.
    let id =
        unsafe { core::ptr::read_volatile((&raw const remote.paths).cast::<u32>().add(bucket)) };
    by_id(id)
}

/// A path, unless its id is 0.
#[inline(always)]
pub fn by_id(id: u32) -> Option<&'static PathEntry> {
    if id == 0 { None } else { PATHS.get(id) }
}

/// The path that all flows take to a remote; 0 where there are several, or none. Who remembers it
/// must forget it when the remote's paths are others.
#[inline(always)]
pub fn only(remote: u32) -> u32 {
    let Some(remote) = REMOTES.get(remote) else { return 0 };
    let first = remote.paths[0];
    if remote.paths.iter().all(|path| *path == first) { first } else { 0 }
}

/// The path's header in words of eight bytes. What differs from frame to frame is zero in it, and
/// is added to a word on its way into the frame: to write over bytes that were just written costs
/// more.
struct Words<'a>(&'a PathEntry);

impl Words<'_> {
    #[inline(always)]
    fn get(&self, place: usize) -> u64 {
        const { assert!(size_of::<[u16; 36]>() == size_of::<[u64; 9]>()) };
        // SAFETY: one of the nine.
        unsafe { (&raw const self.0.header).cast::<u64>().add(place).read_unaligned() }
    }
}

/// A field of the header's word, `bytes` from the word's start.
#[inline(always)]
fn at(bytes: u32, field: u16) -> u64 {
    u64::from(field) << (bytes * 8)
}

impl Outer {
    #[inline(always)]
    fn source_port(&self) -> u16 {
        (SOURCE_PORTS | self.hash as u16 & !SOURCE_PORTS).to_be()
    }

    /// Of the UDP datagram.
    #[inline(always)]
    fn udp_len(&self) -> u16 {
        (self.inner as u16 + 16).to_be()
    }

    /// The VNI and the reserved byte behind it, as on the wire.
    #[inline(always)]
    fn vni(&self) -> u32 {
        (self.vni << 8).to_be()
    }

    /// # Safety
    /// `header` must point to [`V4_OUTER`] writable bytes.
    #[inline(always)]
    pub unsafe fn write_v4(&self, header: *mut u16, path: &PathEntry) {
        let total = self.inner as u32 + (V4_OUTER - 14) as u32;
        let sum = path.checksum + u32::from(self.tos) + total;
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        let (vni, words, to) = (self.vni(), Words(path), header.cast::<u64>());
        // SAFETY: as the caller promises.
        unsafe {
            to.write_unaligned(words.get(0));
            to.add(1).write_unaligned(words.get(1) | at(6, u16::from(self.tos).to_be()));
            to.add(2).write_unaligned(words.get(2) | at(0, (total as u16).to_be()));
            to.add(3).write_unaligned(words.get(3) | at(0, (!(sum as u16)).to_be()));
            to.add(4)
                .write_unaligned(words.get(4) | at(2, self.source_port()) | at(6, self.udp_len()));
            to.add(5)
                .write_unaligned(words.get(5) | at(4, self.marks.to_be()) | u64::from(vni) << 48);
            header.add(24).write_unaligned((vni >> 16) as u16);
        }
    }

    /// # Safety
    /// `header` must point to [`sillon_abi::V6_OUTER`] writable bytes.
    #[inline(always)]
    pub unsafe fn write_v6(&self, header: *mut u16, path: &PathEntry) {
        let (vni, words, to) = (self.vni(), Words(path), header.cast::<u64>());
        // SAFETY: as the caller promises.
        unsafe {
            to.write_unaligned(words.get(0));
            to.add(1).write_unaligned(words.get(1) | at(6, (u16::from(self.tos) << 4).to_be()));
            to.add(2).write_unaligned(words.get(2) | at(2, self.udp_len()));
            to.add(3).write_unaligned(words.get(3));
            to.add(4).write_unaligned(words.get(4));
            to.add(5).write_unaligned(words.get(5));
            to.add(6).write_unaligned(words.get(6) | at(6, self.source_port()));
            to.add(7).write_unaligned(words.get(7) | at(2, self.udp_len()));
            // Two and four bytes that stand well: at TC the header is made on the stack.
            header.add(32).cast::<u32>().write_unaligned(u32::from(self.marks.to_be()) | vni << 16);
            header.add(34).write_unaligned((vni >> 16) as u16);
        }
    }
}
