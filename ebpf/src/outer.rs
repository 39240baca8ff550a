//! The outer header: the path's prebuilt bytes, with what differs from frame to frame filled in. XDP and TC both use it.
//!
//! ECN is copied in (RFC 6040 section 4.1, normal mode). DSCP is the owner's to choose, per segment: if it followed the inner packet
//! (RFC 2983's uniform model), an operator could promote itself on the underlay that all share. A yellow frame has the next drop precedence of the
//! same class, where the segment's DSCP is one of assured forwarding (RFC 2597; RFC 2698 section 5 colours so): it is not delayed by that, nor gets before others.

use sillon_abi::{PATH_BUCKETS, PathEntry, RemoteEntry, V4_OUTER, V6_OUTER};

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

/// The DSCP, in place, of a yellow frame of a segment that has `tos`. The codepoints AFxy are `xxxyy0`, with x from 1 to 4 and y from 1 to 3.
#[inline(always)]
pub fn yellow(tos: u8) -> u8 {
    const LAST: u8 = 1 << 2;
    const PRECEDENCE: u8 = 3 << 3;
    let (class, precedence) = (tos >> 5, tos & PRECEDENCE);
    let is_lower = matches!(class, 1..=4) && precedence != 0 && precedence != PRECEDENCE && tos & LAST == 0;
    if is_lower { tos + (1 << 3) } else { tos }
}

/// The path that a flow takes to a remote.
#[inline(always)]
pub fn path(remote: u32, hash: u32) -> Option<&'static PathEntry> {
    let remote: &RemoteEntry = REMOTES.get(remote)?;
    let bucket = (hash >> 16) as usize & (PATH_BUCKETS - 1);
    // SAFETY: in bounds by the mask; one aligned word, read at once.
    let id = unsafe { core::ptr::read_volatile((&raw const remote.paths).cast::<u32>().add(bucket)) };
    if id == 0 { None } else { PATHS.get(id) }
}

/// Copies the first `N` bytes of a path's header, in words as wide as there are: of what is only 2-aligned the compiler would
/// copy two bytes at a time.
///
/// # Safety
/// `to` must point to `N` writable bytes.
#[inline(always)]
unsafe fn copy<const N: usize>(to: *mut u16, path: &PathEntry) {
    const { assert!(N.is_multiple_of(2) && N <= size_of::<[u16; 36]>()) };
    let from = (&raw const path.header).cast::<u64>();
    for word in 0..N / 8 {
        // SAFETY: as the caller promises; the path's header is longer.
        unsafe { to.cast::<u64>().add(word).write_unaligned(from.add(word).read_unaligned()) };
    }
    for word in N / 8 * 4..N / 2 {
        // SAFETY: as above.
        unsafe { to.add(word).write_unaligned(path.header[word]) };
    }
}

impl Outer {
    /// UDP source port, length and zero checksum, and the VXLAN header, from word `at`.
    ///
    /// # Safety
    /// `header` must point to as many writable bytes.
    #[inline(always)]
    unsafe fn udp_and_vxlan(&self, header: *mut u16, at: usize) {
        // SAFETY: as the caller promises.
        unsafe {
            header.add(at).write_unaligned((SOURCE_PORTS | self.hash as u16 & !SOURCE_PORTS).to_be());
            header.add(at + 2).write_unaligned((self.inner as u16 + 16).to_be());
            header.add(at + 5).write_unaligned(self.marks.to_be());
            // Not as one word: at TC the header is made on the stack, where it would stand at an odd place.
            header.add(at + 6).write_unaligned(((self.vni >> 8) as u16).to_be());
            header.add(at + 7).write_unaligned(((self.vni << 8) as u16).to_be());
        }
    }

    /// # Safety
    /// `header` must point to [`V4_OUTER`] writable bytes.
    #[inline(always)]
    pub unsafe fn write_v4(&self, header: *mut u16, path: &PathEntry) {
        let total = self.inner as u32 + (V4_OUTER - 14) as u32;
        let sum = path.checksum + u32::from(self.tos) + total;
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        // SAFETY: as the caller promises.
        unsafe {
            copy::<V4_OUTER>(header, path);
            header.add(7).write_unaligned((0x4500 | u16::from(self.tos)).to_be());
            header.add(8).write_unaligned((total as u16).to_be());
            header.add(12).write_unaligned((!(sum as u16)).to_be());
            self.udp_and_vxlan(header, 17);
        }
    }

    /// # Safety
    /// `header` must point to [`V6_OUTER`] writable bytes.
    #[inline(always)]
    pub unsafe fn write_v6(&self, header: *mut u16, path: &PathEntry) {
        // SAFETY: as the caller promises.
        unsafe {
            copy::<V6_OUTER>(header, path);
            header.add(7).write_unaligned((0x6000 | u16::from(self.tos) << 4).to_be());
            header.add(9).write_unaligned((self.inner as u16 + 16).to_be());
            self.udp_and_vxlan(header, 27);
        }
    }
}
