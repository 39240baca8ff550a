//! The ratios, and whether they are what they must be.

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde_json::{Value, json};

use crate::{
    Measured,
    load::{Load, Round},
};

/// Sillon's rate over that of a bare redirect must be at least this.
const OVER_BARE: f64 = 0.80;
/// And over its own without the guards that are on by default at least this.
const OVER_UNGUARDED: f64 = 0.90;
/// And over that of the kernel's bridge and VXLAN at least this.
const OVER_KERNEL: f64 = 6.0;
// The places of the contenders in a round.
const BARE: usize = 0;
const SILLON: usize = 1;
const UNGUARDED: usize = 2;
const KERNEL: usize = 3;

/// What one kind of load gave.
struct Case {
    load: Load,
    /// Frames in a second, the median, by contender.
    rates: Vec<f64>,
    /// Frames lost of all that were offered, by contender.
    lost: Vec<u64>,
    offered: Vec<u64>,
    over_bare: Ratio,
    over_unguarded: Ratio,
    over_kernel: Ratio,
}

/// Of the rounds' ratios.
struct Ratio {
    median: f64,
    least: f64,
    most: f64,
    goal: f64,
}

impl Ratio {
    fn of(rounds: &[Vec<Round>], under: usize, goal: f64) -> Self {
        let mut ratios: Vec<f64> =
            rounds.iter().map(|round| round[SILLON].rate() / round[under].rate()).collect();
        ratios.sort_by(f64::total_cmp);
        let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
        Self { median: median(ratios), least, most, goal }
    }

    fn is_met(&self) -> bool {
        self.median >= self.goal
    }

    fn json(&self) -> Value {
        json!({
            "median": self.median, "least": self.least, "most": self.most, "goal": self.goal, "met": self.is_met(),
        })
    }
}

/// Of an odd number the middle one, else the lower of the two: a goal is not met by rounding.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) / 2]
}

impl Case {
    fn new(measured: &Measured) -> Self {
        let rounds = &measured.rounds;
        let contenders = 0..rounds[0].len();
        let of = |contender: usize, value: fn(&Round) -> u64| -> u64 {
            rounds.iter().map(|round| value(&round[contender])).sum()
        };
        let rate = |contender: usize| median(rounds.iter().map(|round| round[contender].rate()).collect());
        Self {
            load: measured.load,
            rates: contenders.clone().map(rate).collect(),
            lost: contenders.clone().map(|one| of(one, |round| round.offered - round.delivered)).collect(),
            offered: contenders.map(|one| of(one, |round| round.offered)).collect(),
            over_bare: Ratio::of(rounds, BARE, OVER_BARE),
            over_unguarded: Ratio::of(rounds, UNGUARDED, OVER_UNGUARDED),
            over_kernel: Ratio::of(rounds, KERNEL, OVER_KERNEL),
        }
    }

    /// Loss counts only where the bare redirect shows that there need be none.
    fn loses(&self) -> bool {
        self.lost[BARE] == 0 && self.lost[SILLON] > 0
    }

    fn is_met(&self) -> bool {
        let ratios = [&self.over_bare, &self.over_unguarded, &self.over_kernel];
        ratios.into_iter().all(Ratio::is_met) && !self.loses()
    }
}

/// All that was measured.
pub struct Report<'a> {
    names: &'a [String],
    cases: Vec<Case>,
}

impl<'a> Report<'a> {
    /// Of these contenders.
    pub fn new(names: &'a [String], measured: &[Measured]) -> Self {
        Self { names, cases: measured.iter().map(Case::new).collect() }
    }

    /// Whether every goal is met.
    pub fn is_met(&self) -> bool {
        self.cases.iter().all(Case::is_met)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let case = |case: &Case| {
            let contender = |index: usize| {
                json!({
                    "name": self.names[index],
                    "frames_per_second": case.rates[index],
                    "offered": case.offered[index],
                    "lost": case.lost[index],
                })
            };
            json!({
                "bytes": case.load.bytes,
                "flows": case.load.flows,
                "contenders": (0..self.names.len()).map(contender).collect::<Vec<_>>(),
                "sillon_over_bare": case.over_bare.json(),
                "sillon_over_unguarded": case.over_unguarded.json(),
                "sillon_over_kernel": case.over_kernel.json(),
                "loses_where_bare_does_not": case.loses(),
                "met": case.is_met(),
            })
        };
        json!({ "cases": self.cases.iter().map(case).collect::<Vec<_>>(), "met": self.is_met() })
    }

    /// For eyes.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let mut header: Vec<String> = vec!["BYTES".to_owned(), "FLOWS".to_owned()];
        header.extend(self.names.iter().flat_map(|name| [name.to_uppercase(), "LOST".to_owned()]));
        header.extend(["/ BARE", "GOAL", "/ UNGUARDED", "GOAL", "/ KERNEL", "GOAL", ""].map(str::to_owned));
        table.set_header(header);
        for case in &self.cases {
            let mut row = vec![case.load.bytes.to_string(), case.load.flows.to_string()];
            for index in 0..self.names.len() {
                row.push(format!("{:.3} M/s", case.rates[index] / 1e6));
                row.push(format!("{:.1} %", 100.0 * case.lost[index] as f64 / case.offered[index] as f64));
            }
            for ratio in [&case.over_bare, &case.over_unguarded, &case.over_kernel] {
                row.push(format!("{:.2} ({:.2}–{:.2})", ratio.median, ratio.least, ratio.most));
                row.push(format!("{:.2}", ratio.goal));
            }
            let cells = row.into_iter().map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
            let verdict = Cell::new(if case.is_met() { "met" } else { "MISSED" });
            table.add_row(cells.chain([verdict]).collect::<Vec<_>>());
        }
        format!(
            "Known unicast through two edges, frames delivered in a second; ratios are medians of the rounds (least–most)\n{}",
            table.trim_fmt()
        )
    }
}
