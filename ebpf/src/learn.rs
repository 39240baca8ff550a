//! Source addresses are learned where their frames come in, and move with them. A segment has at most its share of the
//! FDB: past it, frames are still forwarded, but new addresses are not learned, and that is counted.

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_ktime_get_coarse_ns};
use sillon_abi::{Exit, FdbEntry, FdbKey};

use crate::{
    classify::Origin,
    count,
    maps::{FDB, FDB_REMOVED, FDB_USE},
    parse::Inner,
    recall::{self, EPOCHS},
};

/// An entry is not written more often than this: a cache line that every frame writes would travel between CPUs.
const REFRESH_NS: u64 = 500_000_000;

/// Returns whether the address is known to be where the frame came in.
#[inline(always)]
pub fn learn(origin: &Origin, inner: &Inner) -> bool {
    let key = FdbKey::new(origin.segment, inner.macs.src());
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let Some(entry) = FDB.get_ptr_mut(key) else {
        return insert(origin, key, FdbEntry { exit: origin.ingress, pad: 0, seen: now });
    };
    // SAFETY: map values are aligned; each field is one word, written at once.
    unsafe {
        if (*entry).exit != origin.ingress {
            (*entry).exit = origin.ingress;
            // Whoever remembers the old place must ask again.
            if let Some(epoch) = EPOCHS.get_ptr_mut(recall::place_of(origin.segment)) {
                count::add(epoch, 1);
            }
        }
        if now - (*entry).seen > REFRESH_NS {
            (*entry).seen = now;
        }
    }
    true
}

#[inline(always)]
fn insert(origin: &Origin, key: FdbKey, entry: FdbEntry) -> bool {
    let Some(used) = FDB_USE.get_ptr_mut(origin.segment) else { return false };
    // SAFETY: aligned words, changed atomically.
    unsafe {
        let removed = FDB_REMOVED.get_ptr(origin.segment).map_or(0, |removed| *removed);
        let learned = &raw mut (*used).learned;
        if (*learned).wrapping_sub(removed) >= u64::from(origin.fdb_limit) {
            count::add(&raw mut (*used).refused, 1);
            return false;
        }
        let is_new = FDB.insert(key, entry, BPF_NOEXIST.into()).is_ok();
        if is_new {
            count::add(learned, 1);
        }
        is_new
    }
}

/// Where a frame's destination was last seen.
#[inline(always)]
pub fn find(segment: u32, inner: &Inner) -> Option<Exit> {
    // SAFETY: one aligned word, read at once.
    FDB.get_ptr(FdbKey::new(segment, inner.macs.dst()))
        .map(|entry| unsafe { core::ptr::read_volatile(&raw const (*entry).exit) })
}
