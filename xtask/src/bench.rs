//! Builds, and measures Sillon.

use clap::Args;

use crate::{
    build,
    run::{cargo, root, run},
};

/// `cargo xtask bench`
#[derive(Debug, Default, Args)]
#[command(disable_help_flag = true)]
pub struct Bench {
    /// The benchmark's own: suites, `--json FILE`, `--plot DIR`, `--markdown FILE`, `--quick`;
    /// `--help` for all
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "SUITE…")]
    arguments: Vec<String>,
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
        bench.args(&self.arguments);
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
