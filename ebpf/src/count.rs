//! Counters. Every drop has one reason and is counted once, for the narrowest thing that is known by then.

use aya_ebpf::bindings::BPF_NOEXIST;
use sillon_abi::{Counters, DropKey, DropReason, Exit, ScopeKind};

use crate::maps::{ATTACHMENT_COUNTERS, DROPS, REMOTE_COUNTERS};

/// What a drop would be counted for at this point of the pipeline.
#[derive(Clone, Copy)]
pub struct Scope {
    kind: ScopeKind,
    id: u32,
}

impl Scope {
    #[inline(always)]
    pub fn port(ifindex: u32) -> Self {
        Self { kind: ScopeKind::Port, id: ifindex }
    }

    #[inline(always)]
    pub fn segment(uid: u32) -> Self {
        Self { kind: ScopeKind::Segment, id: uid }
    }

    #[inline(always)]
    pub fn attachment(id: u32) -> Self {
        Self { kind: ScopeKind::Attachment, id }
    }
}

/// Adds to a word that other CPUs change too; returns what it was.
///
/// # Safety
/// `word` must point to an aligned word of a map value.
#[inline(always)]
pub unsafe fn add(word: *mut u64, by: u64) -> u64 {
    // The integer atomics of `core::sync` are not offered for BPF, which has no compare-and-swap at its base level; this compiles to
    // its atomic add.
    // SAFETY: as the caller promises.
    unsafe {
        core::intrinsics::atomic_xadd::<u64, u64, { core::intrinsics::AtomicOrdering::SeqCst }>(word, by)
    }
}

/// Writes `new` where `old` is, in one step; returns what was there, and whether it was done.
///
/// # Safety
/// `word` must point to an aligned word of a map value.
#[inline(always)]
pub unsafe fn exchange(word: *mut u32, old: u32, new: u32) -> (u32, bool) {
    use core::intrinsics::{AtomicOrdering::SeqCst, atomic_cxchg};
    // SAFETY: as the caller promises.
    unsafe { atomic_cxchg::<u32, { SeqCst }, { SeqCst }>(word, old, new) }
}

#[inline(never)]
pub fn dropped(scope: Scope, reason: DropReason) {
    let key = DropKey { scope: scope.kind as u32, id: scope.id, reason: reason as u32 };
    if let Some(count) = DROPS.get_ptr_mut(key) {
        // SAFETY: a per-CPU value, and XDP and TC of one CPU do not interrupt each other.
        unsafe { *count += 1 };
    } else if DROPS.insert(key, 1, BPF_NOEXIST.into()).is_err()
        && let Some(count) = DROPS.get_ptr_mut(key)
    {
        // Another CPU was first to insert it.
        // SAFETY: as above.
        unsafe { *count += 1 };
    }
}

#[inline(always)]
fn counters(exit: Exit) -> Option<&'static mut Counters> {
    let counters = if exit.is_remote() {
        REMOTE_COUNTERS.get_ptr_mut(exit.id())
    } else {
        ATTACHMENT_COUNTERS.get_ptr_mut(exit.id())
    };
    // SAFETY: as above.
    counters.map(|counters| unsafe { &mut *counters })
}

#[inline(always)]
pub fn received(exit: Exit, bytes: usize) {
    if let Some(counters) = counters(exit) {
        counters.in_frames += 1;
        counters.in_bytes += bytes as u64;
    }
}

#[inline(always)]
pub fn sent(exit: Exit, bytes: usize) {
    if let Some(counters) = counters(exit) {
        counters.out_frames += 1;
        counters.out_bytes += bytes as u64;
    }
}
