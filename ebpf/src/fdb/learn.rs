//! Source addresses are learned where their frames come in, and move with them, within the rules of
//! `fdb::moves`. A segment has at most its share of the FDB: past it, frames are still forwarded,
//! but new addresses are not learned, and that is counted. The agent is told of what is learned at
//! an attachment.

use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use sillon_abi::{DropReason, Endpoint, FdbEntry, FdbKey, Guards, Mac};

use crate::{
    fdb::{
        learn_events,
        moves::{self, Learned},
    },
    frame::mac_of,
    maps::FDB,
    meta::{Ingress, Inner},
};

/// An entry is not written more often than this: a cache line that every frame writes would travel
/// between CPUs.
pub const REFRESH_NS: u64 = 500_000_000;

/// Returns whether the address is known to be where the frame came in.
#[inline(always)]
pub fn learn(ingress: &Ingress, inner: &Inner) -> Result<bool, DropReason> {
    let Ingress { segment, endpoint, guards, fdb_limit, .. } = *ingress;
    Learned(sillon_learn(
        segment,
        inner.macs.src_number(),
        endpoint.word(),
        guards.into(),
        fdb_limit,
    ))
    .result()
}

/// A global function: see `hook::subprograms`. `src` is the address as a number; returns what
/// [`Learned`] has.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sillon_learn(
    segment: u32,
    src: u64,
    ingress: u32,
    guards: u32,
    fdb_limit: u32,
) -> u32 {
    let key = FdbKey::new(segment, mac_of(src));
    learned(&key, Endpoint::from_word(ingress), guards as u16, fdb_limit).0
}

#[inline(always)]
fn learned(key: &FdbKey, ingress: Endpoint, guards: u16, fdb_limit: u32) -> Learned {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let learned = match FDB.get_ptr_mut(key) {
        None => moves::learn(key, ingress, guards, fdb_limit, now),
        // SAFETY: a value of the FDB, which is aligned; each field is one word, read and written at
        // once.
        Some(entry) => unsafe {
            if (*entry).endpoint == ingress {
                return seen_again(entry, guards, now);
            }
            moves::moved(entry, key.segment, ingress, guards, now)
        },
    };
    if learned == Learned::YES && !ingress.is_remote() {
        learn_events::tell(key, ingress, now);
    }
    learned
}

/// # Safety
/// `entry` must be a value of the FDB.
#[inline(always)]
unsafe fn seen_again(entry: *mut FdbEntry, guards: u16, now: u64) -> Learned {
    // SAFETY: as above.
    unsafe {
        if guards & Guards::FIXED_MACS != 0 && !(*entry).is_configured() {
            return Learned::dropped(DropReason::MacNotListed);
        }
        if now - (*entry).seen > REFRESH_NS {
            (*entry).seen = now;
        }
    }
    Learned::YES
}

/// Where an address was last seen.
#[inline(always)]
pub fn find(segment: u32, mac: Mac) -> Option<Endpoint> {
    // SAFETY: one aligned word, read at once.
    FDB.get_ptr(FdbKey::new(segment, mac))
        .map(|entry| unsafe { core::ptr::read_volatile(&raw const (*entry).endpoint) })
}
