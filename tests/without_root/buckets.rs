//! The arithmetic of token buckets (`abi/src/rate.rs`), which the kernel programs run, held against
//! an exact model of RFC 4115's.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
};

use proptest::{collection::vec, prelude::*, sample::select};
use sillon_abi::{Colour, Profile, Rate, Word, ticks};

/// A bucket that one CPU has for itself.
#[derive(Default)]
struct Alone(Cell<u64>);

impl Word for Alone {
    fn load(&self) -> u64 {
        self.0.get()
    }

    fn replace(&self, old: u64, new: u64) -> bool {
        let is_old = self.0.get() == old;
        if is_old {
            self.0.set(new);
        }
        is_old
    }

    fn add(&self, by: u64) {
        self.0.set(self.0.get().wrapping_add(by));
    }
}

/// A bucket that others take `stolen` ticks from in every race.
struct Raced {
    bucket: Alone,
    stolen: u64,
}

impl Word for Raced {
    fn load(&self) -> u64 {
        self.bucket.load()
    }

    fn replace(&self, _: u64, _: u64) -> bool {
        self.bucket.add(self.stolen);
        false
    }

    fn add(&self, by: u64) {
        self.bucket.add(by);
    }
}

/// A bucket that threads share.
#[derive(Default)]
struct Shared(AtomicU64);

impl Word for Shared {
    fn load(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn replace(&self, old: u64, new: u64) -> bool {
        self.0.compare_exchange(old, new, Relaxed, Relaxed).is_ok()
    }

    fn add(&self, by: u64) {
        self.0.fetch_add(by, Relaxed);
    }
}

/// RFC 4115 section 2, without rounding: tokens in billionths of a bit.
struct Exact {
    bits: i128,
    depth: i128,
    tokens: i128,
    at: u64,
}

const BYTE: i128 = 8_000_000_000;

impl Exact {
    fn full(bits: u64, bytes: u64) -> Self {
        let depth = i128::from(bytes) * BYTE;
        Self { bits: bits.into(), depth, tokens: depth, at: 0 }
    }

    fn grow_until(&mut self, ns: u64) {
        let grown = i128::from(ns - self.at) * self.bits;
        self.tokens = (self.tokens + grown).min(self.depth);
        self.at = ns;
    }
}

const RATES: [u64; 10] = [
    64_000,
    1_000_000,
    33_333_333,
    100_000_000,
    1_000_000_000,
    9_999_999_999,
    10_000_000_000,
    25_000_000_000,
    100_000_000_000,
    400_000_000_000,
];

/// A rate, a burst of 1530 bytes to some ms, and frames with the nanoseconds before each.
fn traffic() -> impl Strategy<Value = (u64, u64, Vec<(u64, u64)>)> {
    (select(&RATES[..]), 1530..200_000u64, 0..3u32).prop_flat_map(|(bits, extra, pace)| {
        let burst = (1530 + extra).min(bits);
        // Frames of a few hundred bytes come about as fast as the rate, ten times as fast, or a
        // hundred times.
        let gap = 8 * 700 * 1_000_000_000 / bits / 10u64.pow(pace) + 1;
        let frame = (0..2 * gap, 60..1530u64);
        (Just(bits), Just(burst), vec(frame, 1..400))
    })
}

proptest! {
    #[test]
    fn each_frame_is_judged_as_the_exact_bucket_would((bits, burst, frames) in traffic(), start in any::<u64>()) {
        // Any time of day, also just before the clock wraps.
        let (rate, bucket) = (Rate::bytes(bits, burst), Alone::default());
        bucket.0.set(ticks(start));
        let mut exact = Exact::full(bits, burst);
        let (mut ns, mut error) = (0, 0);
        for (gap, bytes) in frames {
            ns += gap;
            exact.grow_until(ns);
            let cost = i128::from(bytes) * BYTE;
            let passes = rate.take(&bucket, ticks(start.wrapping_add(ns)), bytes);
            if passes {
                prop_assert!(exact.tokens >= cost - error, "passed with {} of \
                    {cost}", exact.tokens);
                exact.tokens -= cost;
            } else {
                prop_assert!(exact.tokens < cost + error, "dropped with {} of \
                    {cost}", exact.tokens);
            }
            // A tick of rounding for each frame, and a millionth for the price.
            error += i128::from(bits) / 1024 + 1 + cost / 1_000_000;
        }
    }

    #[test]
    fn rate_and_size_are_those_that_it_was_made_of(bits in 64_000..=400_000_000_000u64, bytes in 1..200_000u64) {
        let bytes = bytes.min(bits);
        let rate = Rate::bytes(bits, bytes);
        prop_assert_eq!((rate.rate, rate.size()), (bits, bytes));
    }

    #[test]
    fn a_bucket_that_another_rate_left_behind_serves_at_once(
        left in any::<u64>(), now in any::<u64>(), bits in select(&RATES[..]),
    ) {
        let rate = Rate::bytes(bits, 10_000);
        let bucket = Alone::default();
        bucket.0.set(left);
        if left.wrapping_sub(now) > 2 * rate.depth {
            prop_assert!(rate.take(&bucket, now, 10_000) && !rate.take(&bucket, now, 100));
        }
    }
}

#[test]
fn over_time_the_admitted_rate_is_the_configured_one() {
    for bits in RATES {
        for bytes in [60, 1514, 9018] {
            let rate = Rate::bytes(bits, 16_000);
            let bucket = Alone::default();
            // Ten thousand frames' time, five times as many frames as fit.
            let time = 10_000 * 8 * bytes * 1_000_000_000 / bits;
            let offered = 50_000;
            let passed = (0..offered)
                .filter(|frame| {
                    let now = u128::from(time) * 1024 * frame / u128::from(offered as u64);
                    rate.take(&bucket, (1 << 50) + now as u64, bytes)
                })
                .count() as f64;
            let wanted = 10_000.0 + 16_000.0 / bytes as f64;
            assert!(
                (passed / wanted - 1.0).abs() < 0.002,
                "{bits} bit/s, {bytes} bytes: {passed} of {wanted}"
            );
        }
    }
}

#[test]
fn a_bucket_holds_its_burst_to_the_byte() {
    for bits in RATES {
        let (rate, bucket) = (Rate::bytes(bits, 15_300), Alone::default());
        let now = 1 << 50;
        for frame in 0..10 {
            assert!(rate.take(&bucket, now, 1530), "frame {frame} at {bits} bit/s");
        }
        assert!(!rate.take(&bucket, now, 1), "one byte more at {bits} bit/s");
    }
}

#[test]
fn storm_limits_count_frames() {
    let (rate, bucket) = (Rate::frames(1000), Alone::default());
    let start = 1 << 50;
    assert_eq!(
        (0..5000).filter(|_| rate.take(&bucket, start, 1)).count(),
        1000,
        "a second's worth at once"
    );
    let each_ms = (1..=500).map(|ms| start + ticks(ms * 1_000_000));
    assert_eq!(
        each_ms.filter(|now| (0..10).filter(|_| rate.take(&bucket, *now, 1)).count() == 1).count(),
        500
    );
    let idle = start + ticks(60_000_000_000);
    assert_eq!((0..5000).filter(|_| rate.take(&bucket, idle, 1)).count(), 1000, "never more");
}

#[test]
fn the_default_is_a_bucket_that_never_has_a_token() {
    let bucket = Alone::default();
    assert!(!Rate::default().take(&bucket, 1 << 50, 0));
    assert_eq!(Rate::bytes(0, 1000), Rate::default());
    assert_eq!(Rate::frames(0), Rate::default());
}

#[test]
fn a_frame_is_green_yellow_or_red_as_rfc_4115_says() {
    let profile = Profile {
        committed: Rate::bytes(1_000_000, 3000),
        excess: Rate::bytes(1_000_000_000, 2000),
    };
    let (committed, excess) = (Alone::default(), Alone::default());
    let start = 1 << 50;
    let colour = |now, bytes| profile.colour(&committed, &excess, now, bytes);
    let at_once = [1500, 1500, 1500, 600, 500, 60].map(|bytes| colour(start, bytes));
    use Colour::{Green, Red, Yellow};
    // What is red takes nothing: the 500 bytes that are left are there for a frame that fits.
    assert_eq!(at_once, [Green, Green, Yellow, Red, Yellow, Red]);
    // The excess bucket fills in 16 µs, the committed one does not; green comes first again as soon
    // as it can.
    assert_eq!(colour(start + ticks(20_000), 1500), Yellow);
    assert_eq!(colour(start + ticks(12_020_000), 1500), Green);
}

#[test]
fn who_loses_every_race_passes_and_is_charged() {
    let rate = Rate::bytes(1_000_000_000, 10_000);
    let now = 1 << 50;
    let raced = Raced { bucket: Alone::default(), stolen: 0 };
    raced.bucket.0.set(now);
    assert!(rate.take(&raced, now, 1000));
    assert_eq!(raced.bucket.load(), now + rate.cost(1000), "not free");
    let raced = Raced { bucket: Alone::default(), stolen: rate.cost(4000) };
    raced.bucket.0.set(now);
    // Others take it all while we try: then it is red, however often we lost.
    assert!(!rate.take(&raced, now, 4000));
    assert_eq!(raced.bucket.load(), now + 2 * rate.cost(4000), "what is red takes nothing");
}

#[test]
fn threads_that_share_a_bucket_get_no_more_and_no_less_than_it_holds() {
    const THREADS: u64 = 4;
    const FRAMES: u64 = 50_000;
    for round in 0..20 {
        // Time stands still: exactly the burst passes, whoever gets it.
        let (rate, bucket) = (Rate::bytes(1_000_000_000, 100 * FRAMES), Shared::default());
        let now = 1 << 50;
        let passed: u64 = thread::scope(|scope| {
            let work = || (0..FRAMES).filter(|_| rate.take(&bucket, now, 100)).count() as u64;
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!((FRAMES..FRAMES + THREADS).contains(&passed), "round {round}: {passed}");
        let charged = bucket.0.into_inner() - now;
        assert_eq!(charged, passed * rate.cost(100), "each that passed was charged");
    }
}
