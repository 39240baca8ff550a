//! The forwarding database: which MAC was last seen where.

use crate::{Endpoint, Mac, pod};

/// A MAC in a segment. The segment's uid is never used twice, so what one operator's segment
/// learned can't be found by another that gets the same VNI later.
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
        let words = [
            segment,
            u32::from_ne_bytes([a[0], a[1], b[0], b[1]]),
            u32::from_ne_bytes([c[0], c[1], 0, 0]),
        ];
        // SAFETY: the same twelve bytes. They are put together in aligned words, since the compiler
        // would join the 16-bit ones into words at odd places of the stack, which the
        // verifier refuses.
        unsafe { core::mem::transmute(words) }
    }
}

/// Where a MAC was last seen, and when.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FdbEntry {
    /// Where it was last seen.
    pub endpoint: Endpoint,
    /// [`FdbEntry::CONFIGURED`] | [`FdbEntry::FROZEN`].
    pub flags: u16,
    /// How often it has moved since `since`.
    pub moves: u16,
    /// When, in nanoseconds of `CLOCK_MONOTONIC_COARSE`; refreshed at most twice a second.
    pub seen: u64,
    /// When the first of its moves was, or when it was frozen; the same clock.
    pub since: u64,
}

impl FdbEntry {
    /// In `flags`: it was configured, not learned. It does not move, age or count.
    pub const CONFIGURED: u16 = 1;
    /// In `flags`: it moved too often, and stays where it is for a while (RFC 7432 section 15.1).
    pub const FROZEN: u16 = 2;

    /// What was learned at `endpoint`, just now.
    #[inline(always)]
    pub const fn learned(endpoint: Endpoint, now: u64) -> Self {
        Self { endpoint, flags: 0, moves: 0, seen: now, since: 0 }
    }

    /// What is configured for `endpoint`.
    #[inline(always)]
    pub const fn configured(endpoint: Endpoint) -> Self {
        Self { endpoint, flags: Self::CONFIGURED, moves: 0, seen: 0, since: 0 }
    }

    /// Whether it was configured.
    #[inline(always)]
    pub const fn is_configured(&self) -> bool {
        self.flags & Self::CONFIGURED != 0
    }
}

/// How the kernel programs filled a segment's share of the FDB, or of the bindings. Only they write
/// it (atomically); what the agent removed again stands in a map of its own, so that no count is
/// lost to a race. A segment has `learned - removed` entries.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FdbUse {
    /// Entries inserted.
    pub learned: u64,
    /// Frames that were forwarded without their source (or whose address it is) being learned,
    /// since the segment had its share.
    pub refused: u64,
}

/// An address and where it is: what the programs tell the agent of what they learned at
/// attachments, and what the agent has them learn of remotes. Only between an agent and the
/// programs that it has loaded itself: no pinned map has any.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacLocation {
    /// The address.
    pub key: FdbKey,
    /// Where it is.
    pub endpoint: Endpoint,
}

/// What stands before addresses that the programs shall learn: each run of `sillon_inject` takes
/// the next one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InjectHeader {
    /// Which is next, from 0.
    pub next: u32,
    /// [`InjectHeader::LEARN`] or [`InjectHeader::REFRESH`].
    pub how: u32,
    /// Zero. A frame is at least as long as an Ethernet header.
    pub pad: [u32; 2],
}

impl InjectHeader {
    /// As if a frame had come from there.
    pub const LEARN: u32 = 0;
    /// Only those that are known to be there: they were seen just now.
    pub const REFRESH: u32 = 1;
    /// So many addresses can stand behind it: they must fit a page, with what the kernel keeps
    /// around them.
    pub const MOST: u32 = 128;
}

pod!(FdbKey = 12, FdbEntry = 24, FdbUse = 16, MacLocation = 16, InjectHeader = 16);
