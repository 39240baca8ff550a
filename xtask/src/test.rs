//! Runs the tests: all of them, for which one has to be root, or those that need nothing.

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
    /// Only those of the libraries: they need no root, no eBPF object and nothing that `setup`
    /// installs but protoc
    #[arg(long)]
    unit: bool,
    /// Passed on to the test binaries: a part of the names of the tests to run, `--nocapture` …
    #[arg(last = true)]
    arguments: Vec<String>,
}

impl Test {
    /// Sets up, builds, tests.
    pub fn run(&self) -> anyhow::Result<()> {
        if self.unit {
            return self.libraries();
        }
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

    /// Tests of libraries that make maps of the kernel are in modules of this name.
    fn libraries(&self) -> anyhow::Result<()> {
        let mut test = cargo();
        test.args(["test", "--workspace", "--lib", "--", "--skip", "::on_maps::"]);
        run(test.args(&self.arguments))
    }
}
