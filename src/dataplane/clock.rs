//! The kernel's clock, as the programs read it.

use nix::time::{ClockId, clock_gettime};

/// The clock of [`sillon_abi::FdbEntry::seen`], in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE) else { return 0 };
    u64::try_from(now.tv_sec()).unwrap_or(0) * 1_000_000_000
        + u64::try_from(now.tv_nsec()).unwrap_or(0)
}
