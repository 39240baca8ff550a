//! Whether a frame takes longer where there is more of everything: the same load through edges with more and more on them.

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde_json::{Value, json};

use crate::{
    Measured, Options,
    crowd::{Crowd, STATIONS},
    load::{Load, Round},
    report::median,
    rounds,
};

/// From the first, a frame may take so many times as long.
const MOST: f64 = 1.3;

/// From nobody to the largest node.
const CROWDS: [Crowd; 4] = [
    Crowd { attachments: 2, macs: 20 },
    Crowd { attachments: 1_000, macs: 10_000 },
    Crowd { attachments: 10_000, macs: 100_000 },
    Crowd { attachments: 100_000, macs: 1_000_000 },
];

/// Frames to one host, which are recalled; and to so many that each is looked up.
const LOADS: [Load; 2] =
    [Load { bytes: 64, flows: 256, stations: 0 }, Load { bytes: 64, flows: 1, stations: STATIONS }];

/// What was measured.
pub struct Curve {
    loads: Vec<Measured>,
}

impl Curve {
    /// Measures.
    ///
    /// # Errors
    /// A rig can't be made, or does not learn.
    pub fn measure(options: &Options, step: &dyn Fn(&str)) -> anyhow::Result<Self> {
        let mut contenders = Vec::new();
        for crowd in CROWDS {
            step(&format!("two edges with {} attachments, {} addresses", crowd.attachments, crowd.macs));
            contenders.push(crowd.contender(&options.object, &options.sillon)?);
        }
        let mut loads = Vec::new();
        for load in LOADS {
            step(&format!("curve: {}", name(load)));
            loads.push(rounds(&mut contenders, load, options)?);
        }
        Ok(Self { loads })
    }

    /// Whether a frame never takes more than [`MOST`] times as long.
    pub fn is_met(&self) -> bool {
        self.loads.iter().all(|load| (0..CROWDS.len()).all(|crowd| growth(&load.rounds, crowd) <= MOST))
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let load = |measured: &Measured| {
            let point = |(index, crowd): (usize, &Crowd)| {
                json!({
                    "attachments": crowd.attachments,
                    "addresses": crowd.macs,
                    "frames_per_second": rate(&measured.rounds, index),
                    "time_over_first": growth(&measured.rounds, index),
                })
            };
            json!({
                "load": name(measured.load),
                "points": CROWDS.iter().enumerate().map(point).collect::<Vec<_>>(),
            })
        };
        json!({ "loads": self.loads.iter().map(load).collect::<Vec<_>>(), "goal": MOST, "met": self.is_met() })
    }

    /// For eyes.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let mut header = vec!["ATTACHMENTS".to_owned(), "ADDRESSES".to_owned()];
        for measured in &self.loads {
            header.extend([name(measured.load).to_uppercase(), "TIME".to_owned()]);
        }
        header.push("GOAL".to_owned());
        table.set_header(header);
        for (index, crowd) in CROWDS.iter().enumerate() {
            let mut row = vec![crowd.attachments.to_string(), crowd.macs.to_string()];
            for measured in &self.loads {
                row.push(format!("{:.3} M/s", rate(&measured.rounds, index) / 1e6));
                row.push(format!("× {:.2}", growth(&measured.rounds, index)));
            }
            row.push(format!("{MOST:.2}"));
            table.add_row(row.into_iter().map(|text| Cell::new(text).set_alignment(CellAlignment::Right)));
        }
        format!(
            "The same on nodes with more on them; time is that of a frame over the first line's, the median of the rounds\n{}",
            table.trim_fmt()
        )
    }
}

fn name(load: Load) -> String {
    if load.stations == 0 { "to one host".to_owned() } else { format!("to {} hosts", load.stations) }
}

fn rate(rounds: &[Vec<Round>], contender: usize) -> f64 {
    median(rounds.iter().map(|round| round[contender].rate()).collect())
}

/// How many times as long a frame takes as with the first.
fn growth(rounds: &[Vec<Round>], contender: usize) -> f64 {
    median(rounds.iter().map(|round| round[0].rate() / round[contender].rate()).collect())
}
