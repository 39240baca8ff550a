//! Who may use which source address? The FDB says where each is; these are the rules by which it
//! changes.
//!
//! - The node's own addresses are nobody's (`source-is-node`), and nobody in a segment is reached
//!   by them (`destination-is-node`): a tunnel that a server makes to the node's own VTEP ends
//!   there and is not flooded.
//! - An address that is *configured* for an attachment is nobody else's in the segment: a frame
//!   with it from elsewhere, also out of a tunnel, is dropped (`mac-configured`). It can't be
//!   moved, frozen or aged.
//! - An attachment with a list has no other addresses (`mac-not-listed`).
//! - An attachment learns as many as its `mac_limit`; frames from one more are dropped
//!   (`mac-limit`), or forwarded without being learned. So nobody fills a segment's share for its
//!   other attachments.
//! - An address that was learned at a *sticky* attachment stays there until it ages (`mac-sticky`).
//! - Others move with their frames. One that moves too often is frozen where it is, for a while
//!   (`mac-frozen`): RFC 7432 section 15.1. The move that is one too many is not made. A frame that
//!   finds no place at a full attachment is no move.
//!
//! What is counted is counted before it is done and taken back if it fails, so that two CPUs never
//! exceed a limit together. A move is made by compare-and-swap: of two CPUs that move one address,
//! one does.

use aya_ebpf::bindings::BPF_NOEXIST;
use sillon_abi::{
    Attachment, DropReason, Endpoint, FdbEntry, FdbKey, Guards, Mac, OverLimit, Segment,
};

use crate::{
    count,
    fdb::quota,
    flow_cache,
    maps::{
        ATTACHMENTS, FDB, FDB_REMOVED, FDB_USE, MAC_REMOVED, MAC_USE, NODE, OWN_MACS, SEGMENTS,
    },
    meta::Ingress,
};

const SECOND: u64 = 1_000_000_000;

/// What became of a source address: results of functions of their own must fit a register.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Learned(pub u32);

impl Learned {
    /// It is known to be where the frame came in.
    pub const YES: Self = Self(0);
    /// The frame is forwarded all the same.
    const NO: Self = Self(u32::MAX);

    #[inline(always)]
    pub const fn dropped(reason: DropReason) -> Self {
        Self(reason as u32)
    }

    #[inline(always)]
    pub fn result(self) -> Result<bool, DropReason> {
        match self {
            Self(0) => Ok(true),
            Self(u32::MAX) => Ok(false),
            Self(reason) => Err(DropReason::from_number(reason).unwrap_or(DropReason::StaleExit)),
        }
    }
}

/// Whether an address is one of the node's own.
#[inline(always)]
pub fn is_own(mac: Mac) -> bool {
    NODE.get(0).is_some_and(|node| node.own_macs & mac.own_bit() != 0)
        && OWN_MACS.get_ptr(mac).is_some()
}

/// In a `line`, which learns nothing: only whose an address is.
#[inline(always)]
pub fn on_line(ingress: &Ingress, src: Mac) -> Result<(), DropReason> {
    if is_own(src) {
        return Err(DropReason::SourceIsNode);
    }
    if ingress.guards & Guards::LINE_MACS == 0 {
        return Ok(());
    }
    match FDB.get_ptr(FdbKey::new(ingress.segment, src)) {
        // SAFETY: a map value; one aligned word, read at once.
        Some(entry) if unsafe { (*entry).endpoint } != ingress.endpoint => {
            Err(DropReason::MacConfigured)
        }
        None if ingress.guards & Guards::FIXED_MACS != 0 => Err(DropReason::MacNotListed),
        _ => Ok(()),
    }
}

/// Learns an address that is not in the FDB.
#[inline(never)]
pub fn learn(key: &FdbKey, ingress: Endpoint, guards: u16, fdb_limit: u32, now: u64) -> Learned {
    if is_own(key.mac) {
        return Learned::dropped(DropReason::SourceIsNode);
    }
    if guards & Guards::FIXED_MACS != 0 {
        return Learned::dropped(DropReason::MacNotListed);
    }
    if let Err(refused) = take_place(ingress) {
        return refused;
    }
    if !quota::take(&FDB_USE, &FDB_REMOVED, key.segment, fdb_limit) {
        give_place(ingress);
        return Learned::NO;
    }
    if FDB.insert(key, FdbEntry::learned(ingress, now), BPF_NOEXIST.into()).is_err() {
        // Another CPU was first, or the map is full.
        give_place(ingress);
        quota::give(&FDB_USE, key.segment);
        return Learned::NO;
    }
    Learned::YES
}

/// Takes one of an attachment's FDB entries; tunnels have no limit of their own.
#[inline(always)]
fn take_place(endpoint: Endpoint) -> Result<(), Learned> {
    if endpoint.is_remote() {
        return Ok(());
    }
    let (Some(attachment), Some(used)) =
        (ATTACHMENTS.get(endpoint.id()), MAC_USE.get_ptr_mut(endpoint.id()))
    else {
        return Err(Learned::NO);
    };
    let Attachment { mac_limit, over_limit, .. } = *attachment;
    // SAFETY: aligned words of map values, changed atomically.
    unsafe {
        let removed = MAC_REMOVED.get(endpoint.id()).map_or(0, |removed| *removed);
        let before = count::fetch_add(&raw mut (*used).held, 1);
        if before.wrapping_sub(removed) < u64::from(mac_limit) {
            return Ok(());
        }
        count::add(&raw mut (*used).held, u64::MAX);
        count::add(&raw mut (*used).refused, 1);
    }
    let drops = over_limit == OverLimit::Drop as u8;
    Err(if drops { Learned::dropped(DropReason::MacLimit) } else { Learned::NO })
}

#[inline(always)]
fn give_place(endpoint: Endpoint) {
    if !endpoint.is_remote()
        && let Some(used) = MAC_USE.get_ptr_mut(endpoint.id())
    {
        // SAFETY: as above.
        unsafe { count::add(&raw mut (*used).held, u64::MAX) };
    }
}

/// An address whose frames come from elsewhere than it was.
///
/// # Safety
/// `entry` must be a value of the FDB.
#[inline(never)]
pub unsafe fn moved(
    entry: *mut FdbEntry,
    segment: u32,
    ingress: Endpoint,
    guards: u16,
    now: u64,
) -> Learned {
    // SAFETY: an aligned map value; each field is one word.
    let (endpoint, flags) =
        unsafe { (core::ptr::read_volatile(&raw const (*entry).endpoint), (*entry).flags) };
    if flags & FdbEntry::CONFIGURED != 0 {
        return Learned::dropped(DropReason::MacConfigured);
    }
    if guards & Guards::FIXED_MACS != 0 {
        return Learned::dropped(DropReason::MacNotListed);
    }
    if is_sticky(endpoint) {
        return Learned::dropped(DropReason::MacSticky);
    }
    // SAFETY: as above.
    if unsafe { is_frozen(entry, segment, now) } {
        return Learned::dropped(DropReason::MacFrozen);
    }
    // Before it is counted: what finds no place is no move.
    if let Err(refused) = take_place(ingress) {
        return refused;
    }
    // SAFETY: as above.
    if unsafe { is_one_too_many(entry, segment, now) } {
        give_place(ingress);
        return Learned::dropped(DropReason::MacFrozen);
    }
    // SAFETY: as above.
    let won = unsafe {
        count::exchange((&raw mut (*entry).endpoint).cast(), endpoint.word(), ingress.word())
    };
    if !won {
        give_place(ingress);
        return Learned::NO;
    }
    give_place(endpoint);
    flow_cache::invalidate(segment);
    Learned::YES
}

#[inline(always)]
fn is_sticky(endpoint: Endpoint) -> bool {
    !endpoint.is_remote()
        && ATTACHMENTS
            .get(endpoint.id())
            .is_some_and(|attachment| attachment.guards & Guards::STICKY != 0)
}

/// Whether an address is frozen. Once its time is over, its moves are counted from zero.
#[inline(always)]
unsafe fn is_frozen(entry: *mut FdbEntry, segment: u32, now: u64) -> bool {
    let Some(rules) = SEGMENTS.get_ptr(segment) else { return false };
    // SAFETY: map values; each field is one word.
    unsafe {
        if (*entry).flags & FdbEntry::FROZEN == 0 {
            return false;
        }
        if now.wrapping_sub((*entry).since) < u64::from((*rules).freeze) * SECOND {
            return true;
        }
        (*entry).flags = 0;
        (*entry).moves = 0;
    }
    false
}

/// Counts a move, and whether it freezes the address, which then is not moved. Two CPUs may count
/// two moves as one: then it is frozen a move later.
#[inline(always)]
unsafe fn is_one_too_many(entry: *mut FdbEntry, segment: u32, now: u64) -> bool {
    let Some(rules) = SEGMENTS.get_ptr(segment) else { return false };
    // SAFETY: map values; each field is one word.
    unsafe {
        let Segment { move_limit, move_window, .. } = *rules;
        if (*entry).moves == 0 || now.wrapping_sub((*entry).since) > u64::from(move_window) * SECOND
        {
            (*entry).since = now;
            (*entry).moves = 0;
        }
        let moves = (*entry).moves.saturating_add(1);
        (*entry).moves = moves;
        if move_limit == 0 || moves < move_limit {
            return false;
        }
        (*entry).since = now;
        (*entry).flags = FdbEntry::FROZEN;
    }
    flow_cache::invalidate(segment);
    true
}
