//! What is measured, a suite a file.

mod controller;
mod cost;
mod fair;
mod forward;
mod latency;
mod program;
mod scale;
mod tcp;

use clap::ValueEnum;

use crate::{outcome::Outcome, turns::Bench};

/// A suite by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// Frames delivered in a second, and loss
    Forward,
    /// Round trips, idle and under half load
    Latency,
    /// Bulk TCP between kernel hosts, with offloads and without
    Tcp,
    /// Nanoseconds a frame in each program
    Cost,
    /// The same with more and more segments, attachments, addresses and remotes
    Scale,
    /// How fast a node is told of things, reloads and is taken over
    Program,
    /// What the others have while one operator floods
    Fair,
    /// A controller with many agents and attachments
    Controller,
}

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
