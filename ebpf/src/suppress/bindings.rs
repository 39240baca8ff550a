//! What is known of who has which address: what is configured, then what was heard.

use aya_ebpf::{
    bindings::{BPF_EXIST, BPF_NOEXIST},
    helpers::generated::bpf_ktime_get_coarse_ns,
};
use sillon_abi::{Binding, BindingKey, Claim, Endpoint};

use super::Speaker;
use crate::{
    fdb::{
        learn::{self, REFRESH_NS},
        quota,
    },
    frame::mac_of,
    maps::{ATTACHMENTS, BINDING_REMOVED, BINDING_USE, BINDINGS, FIXED_BINDINGS, SEGMENTS},
};

/// An address, as two numbers; IPv4 as IPv4-mapped.
#[derive(Clone, Copy)]
pub struct Ip {
    pub head: u64,
    pub tail: u64,
}

impl Ip {
    #[inline(always)]
    pub const fn v4(ip: u32) -> Self {
        Self { head: 0, tail: 0xffff_0000_0000 | ip as u64 }
    }

    #[inline(always)]
    pub fn in_segment(self, segment: u32) -> BindingKey {
        // SAFETY: the same 24 bytes, on a little-endian machine. They are put together in words, as
        // `FdbKey`'s are.
        unsafe { core::mem::transmute([self.head.to_be(), self.tail.to_be(), u64::from(segment)]) }
    }
}

/// What a claim can do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Weight(u32);

impl Weight {
    /// It counts, whatever was known.
    pub const WORD: Self = Self(CREATES | MOVES);
    /// It counts where nothing is known, or the same (an advertisement without override, RFC 4861
    /// section 7.2.5).
    pub const OFFER: Self = Self(CREATES);
    /// It counts where something is known, and what it is does not change (a solicitation, RFC 4861
    /// section 7.2.3).
    pub const HINT: Self = Self(MOVES | KEEPS);

    #[inline(always)]
    const fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }
}

const CREATES: u32 = 1;
const MOVES: u32 = 2;
const KEEPS: u32 = 4;

/// Flags that are about the address and not about where it is.
const OF_ADDRESS: u16 = Claim::ROUTER | Claim::OVERRIDE;

/// Where a MAC is. A function of its own, which has the key at an aligned place.
#[inline(never)]
fn place(segment: u32, mac: u64) -> Endpoint {
    learn::find(segment, mac_of(mac)).unwrap_or(Endpoint::NONE)
}

/// A claim for an address, of the speaker's own MAC.
#[inline(always)]
pub fn hear(speaker: &Speaker, key: &BindingKey, flags: u16, weight: Weight) {
    if FIXED_BINDINGS.get_ptr(key).is_some()
        || place(speaker.segment, speaker.mac) != speaker.ingress
    {
        return;
    }
    let leaf = if speaker.is_leaf { Claim::LEAF } else { 0 };
    let claim = Claim { mac: mac_of(speaker.mac), flags: flags | leaf };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let binding = Binding { claim, endpoint: speaker.ingress, segment: speaker.segment, seen: now };
    match BINDINGS.get_ptr_mut(key) {
        // SAFETY: a value of the map.
        Some(known) => unsafe { heard_again(key, known, binding, weight) },
        None if weight.has(CREATES) => heard_first(key, &binding),
        None => {}
    }
}

#[inline(always)]
fn heard_first(key: &BindingKey, binding: &Binding) {
    // SAFETY: a map value; one aligned word.
    let limit = SEGMENTS.get_ptr(key.segment).map_or(0, |segment| unsafe { (*segment).fdb_limit });
    if quota::take(&BINDING_USE, &BINDING_REMOVED, key.segment, limit)
        && BINDINGS.insert(key, binding, BPF_NOEXIST.into()).is_err()
    {
        // Another CPU was first, or the map is full.
        quota::give(&BINDING_USE, key.segment);
    }
}

/// # Safety
/// `known` must be a value of the map.
#[inline(always)]
unsafe fn heard_again(key: &BindingKey, known: *mut Binding, mut binding: Binding, weight: Weight) {
    // SAFETY: map values are aligned; each is one word, read at once.
    let (old, endpoint, seen) = unsafe {
        let old =
            Claim::from_word(core::ptr::read_volatile((&raw const (*known).claim).cast::<u64>()));
        (old, (*known).endpoint, (*known).seen)
    };
    if old.mac != binding.claim.mac && !weight.has(MOVES) {
        return;
    }
    if weight.has(KEEPS) {
        binding.claim.flags |= old.flags & OF_ADDRESS;
    }
    if old == binding.claim && endpoint == binding.endpoint {
        if binding.seen.wrapping_sub(seen) > REFRESH_NS {
            // SAFETY: as above. Should the element be another's by now, that one is taken for
            // younger than it is.
            unsafe { (*known).seen = binding.seen };
        }
        return;
    }
    // Not in place, since the element may be another's by now. If the agent has removed it, it is
    // heard anew the next time.
    let _ = BINDINGS.insert(key, binding, BPF_EXIST.into());
}

/// The MAC to answer with, and its flags.
#[inline(always)]
pub fn owner(speaker: &Speaker, key: &BindingKey) -> Option<(u64, u16)> {
    let known = FIXED_BINDINGS.get_ptr(key).or_else(|| BINDINGS.get_ptr(key))?;
    // SAFETY: as in `heard_again`.
    let (word, segment) = unsafe {
        (core::ptr::read_volatile((&raw const (*known).claim).cast::<u64>()), (*known).segment)
    };
    if segment != speaker.segment {
        return None;
    }
    let (mac, flags) = (u64::from_be(word << 16), Claim::from_word(word).flags);
    let endpoint = place(speaker.segment, mac);
    if endpoint.is_none() || endpoint == speaker.ingress {
        return None;
    }
    let is_leaf = if endpoint.is_remote() {
        flags & Claim::LEAF != 0
    } else {
        let attachment =
            ATTACHMENTS.get(endpoint.id()).filter(|one| one.segment == speaker.segment)?;
        attachment.leaf != 0
    };
    if is_leaf && speaker.is_leaf { None } else { Some((mac, flags)) }
}
