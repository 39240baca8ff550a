//! Learn events, for the agent: an address was learned at an attachment, or has moved there. Each
//! segment may send so many in a while, so that one operator's flood of addresses leaves room for
//! the others' events. What is not sent the agent finds when it next walks the FDB.

use aya_ebpf::{
    macros::map,
    maps::{Array, RingBuf},
};
use sillon_abi::{Endpoint, FdbKey, MacLocation};

/// Room for what some hundred segments may send while the agent is busy for a second. Not pinned:
/// an agent reads what its own programs send.
#[map]
static NEWS: RingBuf = RingBuf::with_byte_size(4 << 20, 0);
/// What each segment has sent: when, in the upper half, and how much, in the lower one. Segments
/// whose uids differ by a multiple of this share one; a node would need as many segments for that
/// to happen by chance.
#[map]
static SAID: Array<u64> = Array::with_max_entries(1 << 16, 0);

/// Nanoseconds of a while, as a power of two: 134 ms.
const WHILE: u32 = 27;
/// How many events a segment may send in a while.
const MOST: u64 = 64;

#[inline(never)]
pub fn tell(key: &FdbKey, endpoint: Endpoint, now: u64) -> u32 {
    let Some(said) = SAID.get_ptr_mut(key.segment & 0xffff) else { return 0 };
    let when = (now >> WHILE) << 32;
    // SAFETY: one aligned word of a map value. Of two CPUs at once, one may not be counted.
    unsafe {
        let before = core::ptr::read_volatile(said);
        let word = if before & !0xffff_ffff == when & !0xffff_ffff { before + 1 } else { when + 1 };
        if word & 0xffff_ffff > MOST {
            return 0;
        }
        core::ptr::write_volatile(said, word);
    }
    let location = MacLocation { key: *key, endpoint };
    // Where the ring is full, the agent finds it when it walks the FDB.
    NEWS.output::<MacLocation>(&location, 0).map_or(0, |()| 1)
}
