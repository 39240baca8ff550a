//! What a segment may have of a map that all segments share. What is counted is counted before it
//! is done and taken back if it fails, so that two CPUs never exceed a limit together. The agent
//! counts what it removes again in a map of its own.

use aya_ebpf::maps::HashMap;
use sillon_abi::FdbUse;

use crate::count;

/// Takes one of the entries that a segment may have, if there is one left.
#[inline(always)]
pub fn take(
    used: &HashMap<u32, FdbUse>,
    removed: &HashMap<u32, u64>,
    segment: u32,
    limit: u32,
) -> bool {
    let Some(used) = used.get_ptr_mut(segment) else { return false };
    // SAFETY: aligned words of map values, changed atomically.
    unsafe {
        let removed = removed.get_ptr(segment).map_or(0, |removed| *removed);
        let before = count::fetch_add(&raw mut (*used).learned, 1);
        if before.wrapping_sub(removed) < u64::from(limit) {
            return true;
        }
        count::add(&raw mut (*used).learned, u64::MAX);
        count::add(&raw mut (*used).refused, 1);
    }
    false
}

/// Gives it back.
#[inline(always)]
pub fn give(used: &HashMap<u32, FdbUse>, segment: u32) {
    if let Some(used) = used.get_ptr_mut(segment) {
        // SAFETY: as above.
        unsafe { count::add(&raw mut (*used).learned, u64::MAX) };
    }
}
