//! Builds, and shows Sillon at work.

use clap::Args;

use crate::{
    build,
    run::{cargo, run},
};

/// `cargo xtask demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Keep the rig until Ctrl-C, and print commands to try in it
    #[arg(long)]
    hold: bool,
}

impl Demo {
    /// Sets up, builds, shows.
    pub fn run(&self) -> anyhow::Result<()> {
        let binary = build::build()?;
        let mut demo = cargo();
        demo.args([
            "run",
            "--quiet",
            "--release",
            "--package",
            "sillon-rig",
            "--bin",
            "sillon-demo",
            "--",
        ]);
        if self.hold {
            demo.arg("--hold");
        }
        run(demo.env("SILLON_BIN", binary))
    }
}
