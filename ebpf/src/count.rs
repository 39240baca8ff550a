//! Counters. Every drop has one reason and is counted once, for the narrowest thing that is known
//! by then.

use core::intrinsics::{
    AtomicOrdering::{Relaxed, SeqCst},
    atomic_cxchg, atomic_xadd,
};

use aya_ebpf::maps::PerCpuArray;
use sillon_abi::{Counters, DropKey, DropReason, Drops, Endpoint, Handoff, ScopeKind};

use crate::{
    maps::{ANSWERS, ATTACHMENT_COUNTERS, DROPS, REMOTE_COUNTERS},
    meta::{Ingress, Question},
};

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

    /// Of a frame of which it is known whose it is.
    #[inline(always)]
    pub fn of(ingress: &Ingress) -> Self {
        if ingress.endpoint.is_remote() {
            Self::segment(ingress.segment)
        } else {
            Self::attachment(ingress.endpoint.id())
        }
    }

    /// Of a frame that was handed over.
    #[inline(always)]
    pub fn of_handoff(handoff: &Handoff) -> Self {
        if handoff.ingress.is_remote() {
            Self::segment(handoff.segment)
        } else {
            Self::attachment(handoff.ingress.id())
        }
    }

    #[inline(always)]
    pub fn attachment(id: u32) -> Self {
        Self { kind: ScopeKind::Attachment, id }
    }
}

#[inline(never)]
pub fn dropped(scope: Scope, reason: DropReason) {
    const LAST: usize = Drops::PLACES - 1;
    const { assert!(Drops::PLACES.is_power_of_two()) };
    let key = DropKey { scope: scope.kind as u32, id: scope.id };
    let Some(drops) = DROPS.get_ptr_mut(key) else { return };
    // The compiler knows that the mask changes nothing, and would leave it out; the verifier knows
    // the bounds only by it.
    let place = core::hint::black_box(reason as usize) & LAST;
    // SAFETY: an aligned word of a map value.
    unsafe { add((&raw mut (*drops).0).cast::<u64>().add(place), 1) };
}

/// Adds to a word that several CPUs change.
///
/// # Safety
/// `word` must point to an aligned word of a map value.
#[inline(always)]
pub unsafe fn add(word: *mut u64, by: u64) {
    // The integer atomics of `core::sync` are not offered for BPF, which has no compare-and-swap at
    // its base level; this compiles to its atomic add.
    // SAFETY: as the caller promises.
    unsafe { atomic_xadd::<u64, u64, { Relaxed }>(word, by) };
}

/// Adds to a word that several CPUs change; returns what it was.
///
/// # Safety
/// `word` must point to an aligned word of a map value.
#[inline(always)]
pub unsafe fn fetch_add(word: *mut u64, by: u64) -> u64 {
    // Not relaxed: LLVM makes of that the instruction that adds and fetches nothing, whoever uses
    // the result.
    // SAFETY: as the caller promises.
    unsafe { atomic_xadd::<u64, u64, { SeqCst }>(word, by) }
}

/// Writes `new` where `old` is, in one step; returns whether it was done.
///
/// # Safety
/// `word` must point to an aligned word of a map value.
#[inline(always)]
pub unsafe fn exchange(word: *mut u32, old: u32, new: u32) -> bool {
    // SAFETY: as the caller promises.
    unsafe { atomic_cxchg::<u32, { SeqCst }, { SeqCst }>(word, old, new) }.1
}

#[inline(always)]
fn counters(of: &PerCpuArray<Counters>, endpoint: Endpoint) -> Option<&'static mut Counters> {
    // SAFETY: a per-CPU value, and XDP and TC of one CPU do not interrupt each other.
    of.get_ptr_mut(endpoint.id()).map(|counters| unsafe { &mut *counters })
}

#[inline(always)]
fn received(counters: Option<&mut Counters>, bytes: usize) {
    if let Some(counters) = counters {
        counters.in_frames += 1;
        counters.in_bytes += bytes as u64;
    }
}

#[inline(always)]
pub fn received_on_port(ingress: Endpoint, bytes: usize) {
    received(counters(&ATTACHMENT_COUNTERS, ingress), bytes);
}

#[inline(always)]
pub fn received_from_tunnel(ingress: Endpoint, bytes: usize) {
    received(counters(&REMOTE_COUNTERS, ingress), bytes);
}

#[inline(always)]
fn sent(counters: Option<&mut Counters>, bytes: usize) {
    if let Some(counters) = counters {
        counters.out_frames += 1;
        counters.out_bytes += bytes as u64;
    }
}

#[inline(always)]
pub fn sent_to_attachment(endpoint: Endpoint, bytes: usize) {
    sent(counters(&ATTACHMENT_COUNTERS, endpoint), bytes);
}

#[inline(always)]
pub fn sent_to_remote(endpoint: Endpoint, bytes: usize) {
    sent(counters(&REMOTE_COUNTERS, endpoint), bytes);
}

/// A question of an attachment that was answered.
#[inline(always)]
pub fn answered(attachment: u32, question: Question) {
    if let Some(answers) = ANSWERS.get_ptr_mut(attachment) {
        // SAFETY: a per-CPU value, and XDP and TC of one CPU do not interrupt each other.
        unsafe {
            match question {
                Question::Arp => (*answers).arp += 1,
                Question::Neighbour => (*answers).nd += 1,
            }
        }
    }
}
