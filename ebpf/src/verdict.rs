//! What becomes of a frame, and what the kernel calls that at each hook.

use aya_ebpf::bindings::{TC_ACT_REDIRECT, TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action};
use sillon_abi::DropReason;

use crate::{count, count::Scope};

/// What becomes of a frame. An `enum` in spirit: as one, with the niche that `Option` finds in it,
/// the fast path at XDP has 27 instructions more. Its numbers are XDP's, so that nothing is to be
/// done there.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Verdict(u32);

impl Verdict {
    /// It goes no further: it was dropped and counted, or its copies are on their way.
    pub const GONE: Self = Self(xdp_action::XDP_DROP);
    /// On to the next program, or to the node's own stack.
    pub const PASSED: Self = Self(xdp_action::XDP_PASS);
    /// Out of a device, which the kernel has been told.
    pub const REDIRECTED: Self = Self(xdp_action::XDP_REDIRECT);

    /// The verdict that XDP calls so.
    #[inline(always)]
    pub const fn from_xdp(action: u32) -> Self {
        Self(action)
    }

    #[inline(always)]
    pub const fn into_xdp(self) -> u32 {
        self.0
    }

    #[inline(always)]
    pub const fn into_tc(self) -> i32 {
        match self {
            Self::PASSED => TC_ACT_UNSPEC,
            Self::REDIRECTED => TC_ACT_REDIRECT,
            _ => TC_ACT_SHOT,
        }
    }
}

/// Counts a drop.
#[inline(always)]
pub fn dropped(scope: Scope, reason: DropReason) -> Verdict {
    count::dropped(scope, reason);
    Verdict::GONE
}
