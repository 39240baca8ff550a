//! Builds, and measures Sillon.

#[path = "../../tests/rig/src/bin/bench/options.rs"]
mod options;

use clap::Args;

use crate::{
    build,
    run::{cargo, root, run},
};

/// `cargo xtask bench`
#[derive(Debug, Args)]
#[allow(dead_code, reason = "they are checked here, and passed on as they were written")]
pub struct Bench {
    #[command(flatten)]
    options: options::Options,
}

impl Bench {
    /// Sets up, builds, measures; the exit code is the benchmark's.
    pub fn run(&self) -> anyhow::Result<()> {
        let binary = build::build()?;
        let object = build::rig_object()?;
        run(cargo().args([
            "build",
            "--quiet",
            "--release",
            "--package",
            "sillon-rig",
            "--bin",
            "sillon-bench",
        ]))?;
        run(cargo().args(["build", "--quiet", "--release", "--package", "sillon-crowd"]))?;
        let mut bench = std::process::Command::new(root().join("target/release/sillon-bench"));
        bench.args(std::env::args_os().skip_while(|word| word != "bench").skip(1));
        bench.env("SILLON_BIN", binary).env("SILLON_RIG_OBJECT", object);
        let status =
            bench.env("SILLON_CROWD", root().join("target/release/sillon-crowd")).status()?;
        match status.code() {
            Some(0) => Ok(()),
            // What was wrong is said already, and how.
            Some(code) => std::process::exit(code),
            None => anyhow::bail!("the benchmark ended with {status}"),
        }
    }
}
