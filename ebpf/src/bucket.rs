//! Token buckets in maps, which all CPUs share. What they do is in the ABI crate, where userspace
//! tests it (`abi/src/rate.rs`); here is how BPF reads, swaps and adds.

use core::intrinsics::{AtomicOrdering::Relaxed, atomic_cxchg};

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use sillon_abi::{Word, ticks};

use crate::count;

/// A word of a map value.
pub struct Bucket(*mut u64);

impl Bucket {
    /// # Safety
    /// `word` must point to an aligned word of a map value.
    #[inline(always)]
    pub unsafe fn new(word: *mut u64) -> Self {
        Self(word)
    }
}

impl Word for Bucket {
    #[inline(always)]
    fn load(&self) -> u64 {
        // SAFETY: an aligned word, read at once.
        unsafe { core::ptr::read_volatile(self.0) }
    }

    #[inline(always)]
    fn replace(&self, old: u64, new: u64) -> bool {
        // SAFETY: an aligned word, changed atomically.
        unsafe { atomic_cxchg::<u64, { Relaxed }, { Relaxed }>(self.0, old, new).1 }
    }

    #[inline(always)]
    fn add(&self, by: u64) {
        // SAFETY: an aligned word of a map value.
        unsafe { count::add(self.0, by) };
    }
}

/// The time of all buckets.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: a helper without arguments. Not the coarse clock: within its 4 ms a bucket of 10
    // Gbit/s would get 5 MB at once.
    ticks(unsafe { bpf_ktime_get_ns() })
}
