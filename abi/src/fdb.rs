//! The forwarding database: which MAC was last seen where.

use crate::{Exit, Mac, pod};

/// A MAC in a segment. The segment's uid is never used twice, so what one operator's segment learned can't be found
/// by another that gets the same VNI later.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FdbKey {
    /// Segment uid.
    pub segment: u32,
    /// The MAC.
    pub mac: Mac,
    /// Zero.
    pub pad: u16,
}

impl FdbKey {
    /// The key of `mac` in segment `segment`.
    #[inline(always)]
    pub const fn new(segment: u32, mac: Mac) -> Self {
        let [a, b, c] = [mac.0[0].to_ne_bytes(), mac.0[1].to_ne_bytes(), mac.0[2].to_ne_bytes()];
        let words =
            [segment, u32::from_ne_bytes([a[0], a[1], b[0], b[1]]), u32::from_ne_bytes([c[0], c[1], 0, 0])];
        // SAFETY: the same twelve bytes. They are put together in aligned words, since the compiler would join the 16-bit
        // ones into words at odd places of the stack, which the verifier refuses.
        unsafe { core::mem::transmute(words) }
    }
}

/// Where a MAC was last seen, and when.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FdbEntry {
    /// Where it was last seen.
    pub exit: Exit,
    /// Zero.
    pub pad: u32,
    /// When, in nanoseconds of `CLOCK_MONOTONIC_COARSE`; refreshed at most twice a second.
    pub seen: u64,
}

/// How the kernel programs filled a segment's share of the FDB. Only they write it (atomically); what the agent removed
/// again stands in a map of its own, so that no count is lost to a race. A segment has `learned - removed` entries.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FdbUse {
    /// Entries ever inserted.
    pub learned: u64,
    /// Frames that were forwarded without their source being learned, since the segment had its share.
    pub refused: u64,
}

pod!(FdbKey = 12, FdbEntry = 16, FdbUse = 16);
