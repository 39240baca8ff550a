//! How much an attachment may send and be sent: bandwidth profiles and storm control.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BitRate, ByteSize, Name};

/// A bandwidth profile (MEF 10.3 section 12, RFC 4115): how much traffic is guaranteed, how much
/// more is carried as long as there is room, and how much of either may come at once. It satisfies
/// the rules that are told here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Profile {
    /// What it is called.
    pub name: Name,
    /// Committed information rate; not zero where `eir` is.
    pub cir: BitRate,
    /// Committed burst size; zero exactly if `cir` is.
    pub cbs: ByteSize,
    /// Excess information rate.
    pub eir: BitRate,
    /// Excess burst size; zero exactly if `eir` is.
    pub ebs: ByteSize,
}

impl Profile {
    /// How long a burst may last at its rate, in milliseconds.
    pub const LONGEST_BURST_MS: u64 = 10_000;
    /// The default of a burst size, in milliseconds at its rate …
    const DEFAULT_BURST_MS: u64 = 10;
    /// … and the least that it is then: several of the largest frames that there are.
    const LEAST_DEFAULT: u64 = 64 << 10;

    /// The burst size for a rate, where none is given.
    pub fn default_burst(rate: BitRate) -> ByteSize {
        if rate == BitRate::ZERO {
            return ByteSize(0);
        }
        ByteSize((rate.get() / 8 * Self::DEFAULT_BURST_MS / 1000).max(Self::LEAST_DEFAULT))
    }

    /// How long a burst takes at its rate, in milliseconds, rounded up.
    pub fn burst_ms(rate: BitRate, burst: ByteSize) -> u128 {
        (u128::from(burst.0) * 8000).div_ceil(u128::from(rate.get().max(1)))
    }
}

/// How many frames a second an attachment may have flooded; none is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StormControl {
    /// Broadcasts.
    pub broadcast: Option<u32>,
    /// Other multicasts.
    pub multicast: Option<u32>,
    /// Frames to unicast addresses that are not known.
    pub unknown: Option<u32>,
}

impl StormControl {
    /// The largest limit.
    pub const MAX: u32 = 10_000_000;
    /// No limits.
    pub const OFF: Self = Self { broadcast: None, multicast: None, unknown: None };
}

impl Default for StormControl {
    /// Far more than a rack of servers needs to find each other, and far less than what makes a
    /// node busy.
    fn default() -> Self {
        Self { broadcast: Some(10_000), multicast: Some(10_000), unknown: Some(10_000) }
    }
}
