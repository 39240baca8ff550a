//! Source addresses are learned where their frames come in, and move with them, within the rules of `guard::mac`. A segment has at most its
//! share of the FDB: past it, frames are still forwarded, but new addresses are not learned, and that is counted. The agent is told of what is
//! learned at an attachment.

use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use sillon_abi::{DropReason, Exit, FdbKey, Guards, Mac};

use crate::{
    classify::Origin,
    guard::mac::{self, Learned},
    maps::FDB,
    news,
    parse::Inner,
};

/// An entry is not written more often than this: a cache line that every frame writes would travel between CPUs.
pub const REFRESH_NS: u64 = 500_000_000;

/// Returns whether the address is known to be where the frame came in.
#[inline(always)]
pub fn learn(origin: &Origin, inner: &Inner) -> Result<bool, DropReason> {
    let key = FdbKey::new(origin.segment, inner.macs.src());
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let Some(entry) = FDB.get_ptr_mut(key) else {
        return told(
            mac::learn(&key, origin.ingress, origin.guards, origin.fdb_limit, now),
            &key,
            origin,
            now,
        );
    };
    // SAFETY: map values are aligned; each field is one word, written at once.
    unsafe {
        if (*entry).exit != origin.ingress {
            let moved = mac::moved(entry, origin.segment, origin.ingress, origin.guards, now);
            return told(moved, &key, origin, now);
        }
        if origin.guards & Guards::FIXED_MACS != 0 && !(*entry).is_configured() {
            return Err(DropReason::MacNotListed);
        }
        if now - (*entry).seen > REFRESH_NS {
            (*entry).seen = now;
        }
    }
    Ok(true)
}

/// Tells the agent what was learned at an attachment.
#[inline(always)]
fn told(learned: Learned, key: &FdbKey, origin: &Origin, now: u64) -> Result<bool, DropReason> {
    let is_learned = learned.result()?;
    if is_learned && !origin.ingress.is_remote() {
        news::tell(key, origin.ingress, now);
    }
    Ok(is_learned)
}

/// Where an address was last seen.
#[inline(always)]
pub fn find(segment: u32, mac: Mac) -> Option<Exit> {
    // SAFETY: one aligned word, read at once.
    FDB.get_ptr(FdbKey::new(segment, mac))
        .map(|entry| unsafe { core::ptr::read_volatile(&raw const (*entry).exit) })
}
