//! The seal of a [`Handoff`]: SipHash-1-3 (Aumasson, Bernstein: SipHash, a fast short-input PRF) of
//! what it says and of the port where it was left, under the node's key.
//!
//! A frame that goes on to a container goes with the metadata that XDP left for TC, so that who is
//! behind may read it. What it reads is good for nothing else than what it says, at the port where
//! it was said.

use crate::{Cookies, Handoff};

impl Handoff {
    /// The seal of a handoff that XDP leaves at a port.
    #[inline(always)]
    pub const fn seal(&self, cookies: &Cookies, ifindex: u32) -> [u32; 2] {
        let Self { seal: _, segment, ingress, hash, ethertype, priority, flags, ecn, pad } = *self;
        let words = [
            segment as u64 | (ingress.word() as u64) << 32,
            hash as u64 | (ethertype as u64) << 32 | (priority as u64) << 48,
            flags as u64 | (ecn as u64) << 16 | (pad as u64) << 24 | (ifindex as u64) << 32,
        ];
        let tag = siphash(cookies.key, words);
        [tag as u32, (tag >> 32) as u32]
    }
}

/// One round on the state.
#[inline(always)]
const fn round([a, b, c, d]: [u64; 4]) -> [u64; 4] {
    let (a, c) = (a.wrapping_add(b), c.wrapping_add(d));
    let (b, d) = (b.rotate_left(13) ^ a, d.rotate_left(16) ^ c);
    let (a, c) = (a.rotate_left(32), c.wrapping_add(b));
    let (b, a) = (b.rotate_left(17) ^ c, a.wrapping_add(d));
    [a, b, c.rotate_left(32), d.rotate_left(21) ^ a]
}

#[inline(always)]
const fn absorb([a, b, c, d]: [u64; 4], word: u64) -> [u64; 4] {
    let [a, b, c, d] = round([a, b, c, d ^ word]);
    [a ^ word, b, c, d]
}

/// Of words, least significant byte first.
#[inline(always)]
const fn siphash([k0, k1]: [u64; 2], [x, y, z]: [u64; 3]) -> u64 {
    const LENGTH: u64 = (3 * size_of::<u64>() as u64) << 56;
    let state = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let [a, b, c, d] = absorb(absorb(absorb(absorb(state, x), y), z), LENGTH);
    let [a, b, c, d] = round(round(round([a, b, c ^ 0xff, d])));
    a ^ b ^ c ^ d
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::hash::Hasher as _;
    use std::hash::DefaultHasher;

    use super::*;

    /// The standard library's hasher is SipHash-1-3 with a key of zeros.
    #[test]
    fn it_is_siphash() {
        for seed in 0..64u64 {
            let words =
                [1, 2, 3].map(|place: u64| (seed * 8 + place).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut hasher = DefaultHasher::new();
            words.iter().for_each(|word| hasher.write(&word.to_le_bytes()));
            assert_eq!(siphash([0; 2], words), hasher.finish());
        }
    }

    #[test]
    fn it_is_of_all_that_is_said_and_of_where() {
        let cookies = Cookies { key: [1, 2], ..Cookies::default() };
        let said = Handoff { segment: 1, flags: Handoff::ONWARD, ..Handoff::default() };
        let seal = said.seal(&cookies, 7);
        assert_ne!(seal, said.seal(&cookies, 8));
        assert_ne!(seal, said.seal(&Cookies { key: [1, 3], ..cookies }, 7));
        assert_ne!(seal, Handoff { segment: 2, ..said }.seal(&cookies, 7));
        assert_ne!(seal, Handoff { ecn: 1, ..said }.seal(&cookies, 7));
        assert_eq!(seal, Handoff { seal: [9; 2], ..said }.seal(&cookies, 7));
    }
}
