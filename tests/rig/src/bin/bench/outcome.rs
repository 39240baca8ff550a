//! What a suite comes to, as values: cases with a sample a round for each contender, and goals over
//! them.

use crate::stats::Spread;

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// As it is written behind a figure.
    pub name: &'static str,
    /// What one of it is in the sample's own unit.
    pub scale: f64,
    /// Digits behind the point.
    pub digits: usize,
}

/// Frames in a second, written in millions.
pub const FRAMES: Unit = Unit { name: "M/s", scale: 1e6, digits: 3 };
/// Seconds, written in microseconds.
pub const MICROSECONDS: Unit = Unit { name: "µs", scale: 1e-6, digits: 1 };
/// Seconds, written in milliseconds.
pub const MILLISECONDS: Unit = Unit { name: "ms", scale: 1e-3, digits: 1 };
/// Things in a second.
pub const TIMES: Unit = Unit { name: "/s", scale: 1.0, digits: 0 };
/// Seconds.
pub const SECONDS: Unit = Unit { name: "s", scale: 1.0, digits: 3 };
/// Nanoseconds a frame.
pub const NANOSECONDS: Unit = Unit { name: "ns", scale: 1.0, digits: 0 };
/// Bits in a second, written in Gbit/s.
pub const BITS: Unit = Unit { name: "Gbit/s", scale: 1e9, digits: 2 };
/// Things in a second, written in thousands.
pub const THOUSANDS: Unit = Unit { name: "k/s", scale: 1e3, digits: 0 };
/// Bytes, written in MiB.
pub const MEBIBYTES: Unit = Unit { name: "MiB", scale: 1_048_576.0, digits: 0 };
/// A share of 1.
pub const SHARE: Unit = Unit { name: "", scale: 1.0, digits: 4 };

/// One round of one contender.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// In the case's unit, unscaled.
    pub value: f64,
    /// Frames, requests or the like that were offered; 0 where that is no question.
    pub offered: u64,
    /// Those of them that did not come.
    pub lost: u64,
}

impl From<f64> for Sample {
    fn from(value: f64) -> Self {
        Self { value, ..Self::default() }
    }
}

/// All rounds of one contender, or why there are none.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub who: String,
    /// In the order of the rounds.
    pub samples: Result<Vec<Sample>, String>,
}

/// What was measured in turns.
#[derive(Clone, Debug)]
pub struct Case {
    /// What is measured, in words.
    pub name: String,
    /// Of the samples.
    pub unit: Unit,
    /// The contenders.
    pub columns: Vec<Column>,
}

impl Case {
    /// Adds what was measured of the same in another rig. Who was absent once has no more to say.
    pub fn append(&mut self, more: Self) {
        for (column, more) in self.columns.iter_mut().zip(more.columns) {
            match (&mut column.samples, more.samples) {
                (Ok(samples), Ok(more)) => samples.extend(more),
                (Ok(_), Err(why)) => column.samples = Err(why),
                (Err(_), _) => {}
            }
        }
    }

    /// The samples of a contender that was there.
    pub fn samples(&self, who: &str) -> Option<&[Sample]> {
        self.columns.iter().find(|column| column.who == who)?.samples.as_deref().ok()
    }

    /// A contender's figures.
    pub fn spread(&self, who: &str) -> Option<Spread> {
        Spread::of(self.samples(who)?.iter().map(|sample| sample.value))
    }

    /// One contender's figure over another's, round by round.
    pub fn ratio(&self, who: &str, over: &str) -> Option<Spread> {
        ratio(self.samples(who)?, self.samples(over)?)
    }

    /// How many were offered to a contender and how many of them were lost, over all rounds.
    pub fn losses(&self, who: &str) -> Option<(u64, u64)> {
        let samples = self.samples(who)?;
        let offered = samples.iter().map(|sample| sample.offered).sum();
        (offered > 0).then(|| (offered, samples.iter().map(|sample| sample.lost).sum()))
    }
}

/// Of rounds that were measured in turns.
pub fn ratio(these: &[Sample], those: &[Sample]) -> Option<Spread> {
    let both = these.iter().zip(those).filter(|(_, reference)| reference.value > 0.0);
    Spread::of(both.map(|(sample, reference)| sample.value / reference.value))
}

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

/// What was to be reached.
#[derive(Clone, Debug)]
pub struct Goal {
    /// In words.
    pub what: String,
    /// What it must be.
    pub limit: Limit,
    /// What it is; none where the reference is absent.
    pub measured: Option<Spread>,
}

impl Goal {
    /// Whether it is reached; none where that can't be told.
    pub fn is_met(&self) -> Option<bool> {
        let median = self.measured?.median;
        Some(match self.limit {
            Limit::AtLeast(least) => median >= least,
            Limit::AtMost(most) => median <= most,
        })
    }

    /// In a word.
    pub fn verdict(&self) -> &'static str {
        match self.is_met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not measured",
        }
    }

    /// That nothing is lost where the reference loses nothing.
    pub fn lossless(case: &Case, who: &str, where_none_by: &str) -> Option<Self> {
        let (_, lost) = case.losses(who)?;
        let (_, reference) = case.losses(where_none_by)?;
        (reference == 0).then(|| Self {
            what: format!("{}: frames lost where {where_none_by} loses none", case.name),
            limit: Limit::AtMost(0.0),
            measured: Spread::of([lost as f64]),
        })
    }

    /// One contender's figure over another's.
    pub fn ratio(case: &Case, who: &str, over: &str, limit: Limit) -> Self {
        Self {
            what: format!("{}: {who} over {over}", case.name),
            limit,
            measured: case.ratio(who, over),
        }
    }
}

/// All that a suite measured.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its name.
    pub suite: &'static str,
    /// What it measures.
    pub title: &'static str,
    /// In the order of measuring.
    pub cases: Vec<Case>,
    /// Contenders that others are given as a ratio to.
    pub references: Vec<&'static str>,
    /// What was to be reached.
    pub goals: Vec<Goal>,
    /// What one should know of it.
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(ours: Result<Vec<Sample>, String>) -> Case {
        let column = |who: &str, samples| Column { who: who.to_owned(), samples };
        let bare = vec![
            Sample { value: 2.0, offered: 10, lost: 0 },
            Sample { value: 4.0, offered: 10, lost: 0 },
        ];
        Case {
            name: "a case".to_owned(),
            unit: FRAMES,
            columns: vec![column("sillon", ours), column("bare", Ok(bare))],
        }
    }

    #[test]
    fn a_ratio_is_taken_round_by_round_and_not_of_medians() {
        let case = case(Ok(vec![1.0.into(), 4.0.into()]));
        let ratio = case.ratio("sillon", "bare").unwrap();
        assert_eq!((ratio.least, ratio.most), (0.5, 1.0));
    }

    #[test]
    fn a_goal_is_met_by_its_limit_and_missed_by_less() {
        let case = case(Ok(vec![1.8.into(), 3.6.into()]));
        assert_eq!(Goal::ratio(&case, "sillon", "bare", Limit::AtLeast(0.9)).verdict(), "met");
        assert_eq!(Goal::ratio(&case, "sillon", "bare", Limit::AtLeast(0.91)).verdict(), "MISSED");
        assert_eq!(Goal::ratio(&case, "sillon", "bare", Limit::AtMost(0.89)).verdict(), "MISSED");
    }

    #[test]
    fn what_is_absent_is_neither_met_nor_missed() {
        let case = case(Err("not installed".to_owned()));
        assert_eq!(
            Goal::ratio(&case, "sillon", "bare", Limit::AtLeast(0.1)).verdict(),
            "not measured"
        );
    }

    #[test]
    fn loss_counts_only_where_the_reference_loses_nothing() {
        let lossy = Sample { value: 1.0, offered: 10, lost: 3 };
        let goal = Goal::lossless(&case(Ok(vec![lossy])), "sillon", "bare").unwrap();
        assert_eq!((goal.is_met(), goal.measured.unwrap().median), (Some(false), 3.0));
        assert!(Goal::lossless(&case(Ok(vec![lossy])), "bare", "sillon").is_none());
    }
}
