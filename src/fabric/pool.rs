//! Numbers that may be given out.

use serde::{Deserialize, Serialize};

/// Some ranges of numbers, each with its ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ranges(pub Vec<(u32, u32)>);

impl Ranges {
    /// Whether a number is in it.
    pub fn contains(&self, number: u32) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&number))
    }

    /// A range of it that has no end before its beginning, nor is outside `least..=most`; else that
    /// one.
    pub fn outside(&self, least: u32, most: u32) -> Option<(u32, u32)> {
        self.0.iter().copied().find(|(first, last)| first > last || *first < least || *last > most)
    }

    /// Whether some number is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().any(|one| other.0.iter().any(|two| one.0 <= two.1 && two.0 <= one.1))
    }

    /// All of its numbers, beginning at a random one: who is given the first free one learns
    /// nothing from it.
    pub fn shuffled(&self, rng: &mut fastrand::Rng) -> impl Iterator<Item = u32> {
        let count: u64 =
            self.0.iter().map(|(first, last)| u64::from(last.saturating_sub(*first)) + 1).sum();
        let start = if count == 0 { 0 } else { rng.u64(..count) };
        (0..count).filter_map(move |step| self.nth((start + step) % count))
    }

    fn nth(&self, mut index: u64) -> Option<u32> {
        for (first, last) in &self.0 {
            let count = u64::from(last.saturating_sub(*first)) + 1;
            if index < count {
                return first.checked_add(u32::try_from(index).ok()?);
            }
            index -= count;
        }
        None
    }
}
