//! What one may ask of the benchmark. xtask includes this file too, so that `--help` and wrong
//! usage are answered before anything is built: it depends on clap alone.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench                            everything, as a table
  cargo xtask bench forward latency --quick    two suites, fewer cases and rounds
  cargo xtask bench forward --against /tmp/sillon-before
                                               what a change gains
  cargo xtask bench --json b.json --plot docs/benchmarks/plots --markdown docs/benchmarks/DATE.md";

/// Build, and measure Sillon in a rig of network namespaces, as ratios to references of the same
/// run: a bare redirect, the kernel's bridge and VXLAN, and Open vSwitch. Needs root. Fails where a
/// goal is missed
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// What to measure; everything, if nothing is named
    pub suites: Vec<Suite>,
    /// Write all figures to a file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draw each suite as DIR/SUITE.svg
    #[arg(long, value_name = "DIR")]
    pub plot: Option<PathBuf>,
    /// Write the tables into a document, between its two marks
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Fewer cases, rounds and milliseconds: does it work, and about how fast is it?
    #[arg(long)]
    pub quick: bool,
    /// Each suite once, as little of it as there is, whatever comes out: does it still work?
    #[arg(long, conflicts_with = "quick", hide = true)]
    pub smoke: bool,
    /// How often the rigs of `forward` and `scale` are built anew: none is as fast as the next
    /// [default: 3, or 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rigs: Option<u32>,
    /// Rounds of each contender in each case and rig; what is reported is the median of all
    /// [default: 7, or 3]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: Option<u32>,
    /// About how long a turn takes, in milliseconds [default: 150, or 60]
    #[arg(long, value_parser = clap::value_parser!(u32).range(10..=60_000))]
    pub milliseconds: Option<u32>,
    /// Another build of `sillon`, measured beside this one as `other` in the suite `forward`: what
    /// a change gains
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
}

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
