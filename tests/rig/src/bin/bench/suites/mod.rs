//! What is measured, a suite a file.

mod controller;
mod cost;
mod fair;
mod forward;
mod latency;
mod program;
mod scale;
mod tcp;

use crate::{options::Suite, outcome::Outcome, turns::Bench};

impl Suite {
    /// Measures.
    ///
    /// # Errors
    /// A rig can't be made.
    pub fn run(self, bench: &Bench) -> anyhow::Result<Outcome> {
        match self {
            Self::Forward => forward::run(bench),
            Self::Latency => latency::run(bench),
            Self::Tcp => tcp::run(bench),
            Self::Cost => cost::run(bench),
            Self::Scale => scale::run(bench),
            Self::Program => program::run(bench),
            Self::Fair => fair::run(bench),
            Self::Controller => controller::run(bench),
        }
    }
}
