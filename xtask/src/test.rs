//! Runs the tests. Those on the rig need root, and fail without it.

use std::time::Instant;

use anyhow::bail;
use clap::Args;

use crate::{
    build,
    run::{cargo, run, say},
    setup,
};

/// `cargo xtask test`
#[derive(Debug, Default, Args)]
pub struct Test {
    /// Passed on to the test binaries: a part of the names of the tests to run, `--nocapture` …
    #[arg(last = true)]
    arguments: Vec<String>,
}

impl Test {
    /// Sets up, builds, tests.
    pub fn run(&self) -> anyhow::Result<()> {
        self.build()?;
        let started = Instant::now();
        run(cargo().args(["test", "--workspace", "--"]).args(&self.arguments))?;
        say(&format!("tests passed in {} s", started.elapsed().as_secs()));
        Ok(())
    }

    /// Sets up, and builds what the tests are and what they run.
    pub fn build(&self) -> anyhow::Result<()> {
        setup::setup()?;
        if !setup::is_root() {
            bail!(
                "the tests make network namespaces and load eBPF: run `cargo xtask test` as root"
            );
        }
        build::object()?;
        // A test runs every suite of the benchmark.
        build::rig_object()?;
        run(cargo().args(["test", "--workspace", "--no-run", "--quiet"]))
    }
}
