//! Where the dataplane remembers what it decided on a flow. Not pinned, and no business of the
//! agent's; it is here for those who look for frames that fall into the place of another flow's:
//! what they reckon with must be what the programs do.

/// Odd, with an irregular bit pattern (the fractional part of the golden ratio): multiplying
/// spreads every bit upwards.
pub const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// In the place of a flow that came through a tunnel. No tags have this bit and not the lower ones
/// beside it, see [`crate::ClassKey::word`]: of `inner`, where a VID has it not, and
/// [`crate::ClassKey::ANY`] has all.
pub const TUNNELLED: u64 = 1 << 63;
/// Beside it, if the tunnel was over IPv6.
pub const OVER_IPV6: u64 = 1 << 62;

/// Which slot a flow falls into; of the bits, those count that there are slots for.
///
/// `place` is where it came in, `source` a word of the tunnel's source address (0 where there is no
/// tunnel), `head` and `tail` are the frame's first eight bytes and the four behind them. Two
/// products that the CPU can form at once: every bit of either factor reaches the topmost bits of
/// its product.
#[inline(always)]
pub const fn slot(place: u64, source: u64, (head, tail): (u64, u32)) -> u32 {
    let rest = place ^ source ^ (tail as u64) << 17;
    let hash = head.wrapping_mul(SPREAD) ^ rest.wrapping_mul(SPREAD.rotate_left(32) | 1);
    (hash >> 40) as u32
}
