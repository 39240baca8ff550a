//! Builds, and measures Sillon.

use clap::Args;

use crate::{
    build,
    run::{cargo, root, run},
};

/// `cargo xtask bench`
#[derive(Debug, Default, Args)]
pub struct Bench {
    /// Passed on to the benchmark: `--rounds 25`, `--json`, `--out FILE`, `--help` …
    #[arg(last = true)]
    arguments: Vec<String>,
}

impl Bench {
    /// Sets up, builds, measures. Fails where a goal is missed.
    pub fn run(&self) -> anyhow::Result<()> {
        let binary = build::build()?;
        let object = build::rig_object()?;
        let mut bench = cargo();
        bench.args(["run", "--quiet", "--release", "--package", "sillon-rig", "--bin", "sillon-bench", "--"]);
        bench.arg("--out").arg(root().join("target/bench.json")).args(&self.arguments);
        run(bench.env("SILLON_BIN", binary).env("SILLON_RIG_OBJECT", object))
    }
}
