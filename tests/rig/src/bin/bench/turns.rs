//! Measuring in turns: whatever else the machine does meanwhile meets all contenders alike.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

use crate::outcome::{Case, Column, Sample, Unit};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Everything once, as little of it as there is: no figure of it means anything.
    Smoke,
    /// A first look.
    Quick,
    /// All of it.
    Full,
}

/// What a suite needs to measure.
pub struct Bench {
    /// The `sillon` binary.
    pub sillon: PathBuf,
    /// Another one, to compare it with.
    pub against: Option<PathBuf>,
    /// The benchmark's own eBPF object.
    pub object: PathBuf,
    /// What plays a crowd of agents.
    pub crowd: PathBuf,
    /// How often everything is built anew.
    pub rigs: u32,
    /// How often each contender has its turn in each rig.
    pub rounds: u32,
    /// About how long a turn takes, in milliseconds.
    pub milliseconds: u32,
    /// How many cases.
    pub extent: Extent,
    /// Turns taken, of those that are known to come.
    pub progress: ProgressBar,
}

/// What one turn gives: a sample for each of the metrics.
pub type Run<'a> = Box<dyn FnMut() -> anyhow::Result<Vec<Sample>> + 'a>;

/// A contender, or why it is absent.
pub struct Turn<'a> {
    /// Its name.
    pub who: String,
    /// What it does when it is its turn.
    pub run: Result<Run<'a>, String>,
}

impl<'a> Turn<'a> {
    /// One that is there.
    pub fn new(
        who: impl Into<String>,
        run: impl FnMut() -> anyhow::Result<Vec<Sample>> + 'a,
    ) -> Self {
        Self { who: who.into(), run: Ok(Box::new(run)) }
    }
}

/// What is told of each turn, and in what unit.
pub type Metric = (&'static str, Unit);

/// A bar for a terminal; nothing elsewhere.
pub fn progress() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) =
        ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} {wide_msg}")
    {
        bar.set_style(style);
    }
    bar
}

impl Bench {
    /// One of three, by how much is measured.
    pub fn pick<T>(&self, smoke: T, quick: T, full: T) -> T {
        match self.extent {
            Extent::Smoke => smoke,
            Extent::Quick => quick,
            Extent::Full => full,
        }
    }

    /// Says what is being done.
    pub fn say(&self, what: &str) {
        if self.progress.is_hidden() {
            eprintln!("[{:5.1} s] {what}", self.progress.elapsed().as_secs_f32());
        }
        self.progress.set_message(what.to_owned());
    }

    /// Builds and measures as often as there are rigs, and puts together what was measured of the
    /// same. Where its memory happens to lie makes a rig a tenth faster or slower for as long
    /// as it is there, which no number of rounds in it evens out.
    ///
    /// # Errors
    /// A rig can't be made, or a turn fails.
    pub fn in_rigs(
        &self,
        mut measure: impl FnMut() -> anyhow::Result<Vec<Case>>,
    ) -> anyhow::Result<Vec<Case>> {
        let mut cases = measure()?;
        for _ in 1..self.rigs {
            cases.iter_mut().zip(measure()?).for_each(|(case, more)| case.append(more));
        }
        Ok(cases)
    }

    /// Lets everybody have as many turns as there are rounds: A B C, A B C, and so on. One case a
    /// metric; its name is the case's and the metric's.
    ///
    /// # Errors
    /// A turn fails.
    pub fn take_turns(
        &self,
        name: &str,
        metrics: &[Metric],
        mut turns: Vec<Turn<'_>>,
    ) -> anyhow::Result<Vec<Case>> {
        self.say(name);
        self.progress.inc_length(u64::from(self.rounds) * turns.len() as u64);
        let mut taken: Vec<Vec<Vec<Sample>>> = vec![Vec::new(); turns.len()];
        for _ in 0..self.rounds {
            for (turn, taken) in turns.iter_mut().zip(&mut taken) {
                if let Ok(run) = &mut turn.run {
                    taken.push(run()?);
                }
                self.progress.inc(1);
            }
        }
        let case = |(index, (metric, unit)): (usize, &Metric)| Case {
            name: if metric.is_empty() { name.to_owned() } else { format!("{name}, {metric}") },
            unit: *unit,
            columns: turns
                .iter()
                .zip(&taken)
                .map(|(turn, taken)| column(turn, taken, index))
                .collect(),
        };
        Ok(metrics.iter().enumerate().map(case).collect())
    }
}

fn column(turn: &Turn<'_>, taken: &[Vec<Sample>], metric: usize) -> Column {
    let samples = taken.iter().filter_map(|samples| samples.get(metric).copied()).collect();
    Column {
        who: turn.who.clone(),
        samples: match &turn.run {
            Ok(_) => Ok(samples),
            Err(why) => Err(why.clone()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{FRAMES, SECONDS};

    #[test]
    fn turns_are_interleaved_and_who_is_absent_says_why() {
        let order = std::cell::RefCell::new(Vec::new());
        let bench = Bench {
            sillon: PathBuf::new(),
            against: None,
            object: PathBuf::new(),
            crowd: PathBuf::new(),
            rigs: 2,
            rounds: 2,
            milliseconds: 1,
            extent: Extent::Quick,
            progress: ProgressBar::hidden(),
        };
        let turn = |who: &'static str, value: f64| {
            let order = &order;
            Turn::new(who, move || {
                order.borrow_mut().push(who);
                Ok(vec![value.into(), (value * 2.0).into()])
            })
        };
        let absent = || Turn { who: "c".to_owned(), run: Err("not installed".to_owned()) };
        let metrics = [("rate", FRAMES), ("time", SECONDS)];
        let turns = || vec![turn("a", 1.0), turn("b", 2.0), absent()];
        let cases = bench.in_rigs(|| bench.take_turns("a case", &metrics, turns())).unwrap();
        assert_eq!(*order.borrow(), ["a", "b", "a", "b", "a", "b", "a", "b"]);
        assert_eq!(cases[1].samples("a").unwrap().len(), 4);
        assert_eq!(cases[1].name, "a case, time");
        assert_eq!(cases[1].spread("b").unwrap().median, 4.0);
        assert_eq!(cases[0].columns[2].samples.as_ref().unwrap_err(), "not installed");
    }
}
