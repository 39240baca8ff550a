//! Which MAC an IP address was last claimed for, and by whom: what suppression of ARP and neighbour
//! discovery answers from.

use crate::{Addr, Endpoint, Mac, pod};

/// An IP address in a segment. Aligned, since the verifier wants words on the stack to be.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindingKey {
    /// The address.
    pub addr: Addr,
    /// Segment uid.
    pub segment: u32,
    /// Zero.
    pub pad: u32,
}

impl BindingKey {
    /// The key of `addr` in segment `segment`.
    #[inline(always)]
    pub const fn new(segment: u32, addr: Addr) -> Self {
        Self { addr, segment, pad: 0 }
    }
}

/// A MAC and what is known of who has it: one word, so that a reader never sees half of a change.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// The MAC.
    pub mac: Mac,
    /// [`Claim::ROUTER`] | [`Claim::OVERRIDE`] | [`Claim::LEAF`].
    pub flags: u16,
}

impl Claim {
    /// In `flags`: it is a router's (RFC 4861 section 4.4, R). A host that hears otherwise of its
    /// router no longer uses it.
    pub const ROUTER: u16 = 1;
    /// In `flags`: its advertisements replace what a cache has (O); those of anycast addresses do
    /// not.
    pub const OVERRIDE: u16 = 2;
    /// In `flags`: it came from a leaf of a `tree`.
    pub const LEAF: u16 = 4;

    /// The word itself.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        // SAFETY: eight bytes without padding, as aligned as a word.
        unsafe { core::mem::transmute(self) }
    }

    /// The claim in a word.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        // SAFETY: any bits are a claim.
        unsafe { core::mem::transmute(word) }
    }
}

/// Who has an address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binding {
    /// What they claim.
    pub claim: Claim,
    /// Where they did, or for whom it is configured.
    pub endpoint: Endpoint,
    /// The segment again: an element that is being used anew for another one shows itself by it.
    pub segment: u32,
    /// When, in nanoseconds of `CLOCK_MONOTONIC_COARSE`, refreshed at most twice a second; 0 where
    /// it is configured.
    pub seen: u64,
}

/// Questions of an attachment that were answered for somebody else. Only the programs write them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// ARP requests.
    pub arp: u64,
    /// Neighbour solicitations.
    pub nd: u64,
}

pod!(BindingKey = 24, Claim = 8, Binding = 24, Answers = 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_its_word() {
        let claim =
            Claim { mac: Mac::new([2, 0x11, 0x22, 0x33, 0x44, 0x55]), flags: Claim::ROUTER };
        assert_eq!(Claim::from_word(claim.word()), claim);
        assert_eq!(claim.word().to_ne_bytes()[..6], claim.mac.octets());
    }
}
