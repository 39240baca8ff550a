//! Rates and the token buckets that hold a sender to them: bandwidth profiles (MEF 10.3, RFC 4115)
//! and storm control.
//!
//! A bucket is one word: the *moment at which it is full again*. Taking tokens puts that moment off
//! by the time that they take to grow, so time itself refills the bucket, and a bucket that nobody
//! uses needs no care. The bucket has enough for a frame if the moment, put off by the frame's
//! cost, is not farther away than the time that the whole bucket takes to fill. That is the generic
//! cell rate algorithm (ITU-T I.371, virtual scheduling), and exactly a token bucket in continuous
//! time.
//!
//! One word is changed with one compare-and-swap, so several CPUs share a bucket without a lock
//! ([`Rate::take`]).
//!
//! Time is in *ticks* of 2⁻¹⁰ ns, and wraps after 208 days: only differences count. At 400 Gbit/s a
//! frame of 60 bytes costs 1228 ticks.

use crate::pod;

/// Ticks of a nanosecond, as a power of two.
const TICK_BITS: u32 = 10;
/// Parts of a tick that a price has, as a power of two.
const PRICE_BITS: u32 = 16;
/// How often a lost race is run again.
const TRIES: u32 = 4;

/// How fast tokens grow, and how many there can be. A token is a byte, or a frame; the default is a
/// bucket that never has one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate {
    /// The time that a token takes to grow, in 2⁻¹⁶ ticks.
    pub price: u64,
    /// The time that the whole bucket takes to fill, in ticks; 0 where there is no bucket.
    pub depth: u64,
    /// What it was made from, bit/s or frames/s; for people only.
    pub rate: u64,
}

/// A word that several CPUs change at once.
pub trait Word {
    /// Its value now.
    fn load(&self) -> u64;
    /// Makes it `new` if it is `old` still; says whether it was.
    fn replace(&self, old: u64, new: u64) -> bool;
    /// Adds to it, whatever it is.
    fn add(&self, by: u64);
}

/// The time in ticks at `ns` nanoseconds of any clock.
#[inline(always)]
pub const fn ticks(ns: u64) -> u64 {
    ns << TICK_BITS
}

impl Rate {
    /// Whether there is a bucket at all.
    #[inline(always)]
    pub const fn is_some(&self) -> bool {
        self.depth != 0
    }

    /// What `amount` tokens cost, in ticks. Rounded down: by less than a thousandth of a frame at
    /// 400 Gbit/s.
    #[inline(always)]
    pub const fn cost(&self, amount: u64) -> u64 {
        (amount * self.price) >> PRICE_BITS
    }

    /// When the bucket is full again after a frame of this cost, if it has enough for it. It is
    /// full at `full` before that.
    ///
    /// A frame that is taken leaves at most `depth` between now and then. So does every frame of
    /// another CPU whose clock is a little ahead, or nearly so; what is farther away than twice
    /// that is in the past (a full bucket), or is no moment of this rate: the bucket had
    /// another, or slept for half of 208 days. Then it starts anew, full.
    #[inline(always)]
    pub const fn after(&self, full: u64, now: u64, cost: u64) -> Option<u64> {
        let ahead = full.wrapping_sub(now);
        let missing = if ahead > 2 * self.depth { 0 } else { ahead };
        if missing + cost > self.depth { None } else { Some(now.wrapping_add(missing + cost)) }
    }

    /// Takes `amount` tokens out of the bucket, if it has as many.
    ///
    /// A race that was lost is run again, but not for ever: the verifier wants an end, and so does
    /// the frame. Who has lost four times (`TRIES`) has seen the bucket suffice each time,
    /// within the last moment: the frame passes, and is charged without being asked again. So
    /// no frame is dropped for a lost race, and none is free: should that overdraw the bucket, by
    /// at most a frame of each other CPU, those that come next wait for it.
    #[inline(always)]
    pub fn take(&self, bucket: &impl Word, now: u64, amount: u64) -> bool {
        if !self.is_some() {
            return false;
        }
        let cost = self.cost(amount);
        for _ in 0..TRIES {
            let before = bucket.load();
            let Some(after) = self.after(before, now, cost) else { return false };
            if bucket.replace(before, after) {
                return true;
            }
        }
        bucket.add(cost);
        true
    }
}

/// How rates are made. For userspace alone: the programs only ever read them.
#[cfg(feature = "user")]
impl Rate {
    /// The longest that a bucket may take to fill.
    pub const LONGEST_NS: u64 = 10_000_000_000;
    const SECOND_NS: u64 = 1_000_000_000;

    /// A bucket of `bytes` that fills with `bits` a second, at least 10 kbit/s; none where either
    /// is 0. It takes at most [`Rate::LONGEST_NS`] to fill: what is deeper is cut.
    pub const fn bytes(bits: u64, bytes: u64) -> Self {
        if bits == 0 || bytes == 0 {
            return Self { price: 0, depth: 0, rate: 0 };
        }
        let price = ((8 * Self::SECOND_NS) << (TICK_BITS + PRICE_BITS)) / bits;
        let longest = Self::LONGEST_NS << TICK_BITS;
        // Cannot overflow: neither the longest time nor a price has more than 64 bits.
        let depth = (bytes as u128 * price as u128) >> PRICE_BITS;
        let depth = if depth > longest as u128 { longest } else { depth as u64 };
        Self { price, depth, rate: bits }
    }

    /// A bucket of a second's worth of frames that fills with `frames` a second; none where that is
    /// 0.
    pub const fn frames(frames: u64) -> Self {
        if frames == 0 {
            return Self { price: 0, depth: 0, rate: 0 };
        }
        let price = (Self::SECOND_NS << (TICK_BITS + PRICE_BITS)) / frames;
        Self { price, depth: ticks(Self::SECOND_NS), rate: frames }
    }

    /// How many tokens the whole bucket holds.
    pub const fn size(&self) -> u64 {
        if self.price == 0 {
            return 0;
        }
        ((self.depth as u128) << PRICE_BITS).div_ceil(self.price as u128) as u64
    }
}

/// A bandwidth profile in one direction (MEF 10.3 section 12, RFC 4115).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Profile {
    /// CIR and CBS.
    pub committed: Rate,
    /// EIR and EBS.
    pub excess: Rate,
}

impl Profile {
    /// Whether it says anything.
    #[inline(always)]
    pub const fn is_some(&self) -> bool {
        self.committed.is_some() || self.excess.is_some()
    }

    /// The colour of a frame of `bytes`, RFC 4115 section 2 in colour-blind mode: the two buckets
    /// know nothing of each other.
    #[inline(always)]
    pub fn colour(
        &self,
        committed: &impl Word,
        excess: &impl Word,
        now: u64,
        bytes: u64,
    ) -> Colour {
        if self.committed.take(committed, now, bytes) {
            Colour::Green
        } else if self.excess.take(excess, now, bytes) {
            Colour::Yellow
        } else {
            Colour::Red
        }
    }
}

/// What a profile makes of a frame.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Colour {
    /// Within CIR and CBS: guaranteed.
    Green = 0,
    /// Within EIR and EBS: carried as long as there is room.
    Yellow = 1,
    /// Beyond both: dropped.
    Red = 2,
}

/// The kinds of frames that are flooded, which storm control tells apart.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Storm {
    /// To all hosts.
    Broadcast = 0,
    /// To any other group.
    Multicast = 1,
    /// To an address that was not learned.
    UnknownUnicast = 2,
}

impl Storm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Broadcast, Self::Multicast, Self::UnknownUnicast];
}

/// The limits of an attachment.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rates {
    /// From the attachment into the fabric.
    pub ingress: Profile,
    /// Out of the attachment.
    pub egress: Profile,
    /// Flooded frames from the attachment, by [`Storm`].
    pub storm: [Rate; 3],
}

/// The buckets of an attachment; only the programs write them while it is there. One cache line, so
/// that operators do not share one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meters {
    /// Those of [`Rates::ingress`]: committed, excess.
    pub ingress: [u64; 2],
    /// Those of [`Rates::egress`]: committed, excess.
    pub egress: [u64; 2],
    /// Those of [`Rates::storm`].
    pub storm: [u64; 3],
    /// Zero.
    pub pad: u64,
}

/// Frames of one colour.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub frames: u64,
    /// Their bytes, as they were charged.
    pub bytes: u64,
}

/// What the profiles of an attachment made of its frames, by [`Colour`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Colours {
    /// From the attachment.
    pub ingress: [Tally; 3],
    /// To the attachment.
    pub egress: [Tally; 3],
}

/// The fewest bytes that a frame is charged: what Ethernet pads a frame to (IEEE 802.3 clause
/// 3.2.8), without the FCS. A virtual port does not pad, and a sender must not get more frames out
/// of a rate by that.
pub const SMALLEST_CHARGE: u64 = 60;

pod!(Rate = 24, Profile = 48, Rates = 168, Meters = 64, Tally = 16, Colours = 96);
