//! Random input, within bounds: files for the parser, and histories of configurations for `compile` and `diff`.

use clap::Args;

use crate::{
    build,
    run::{cargo, run, say},
    setup,
};

/// `cargo xtask fuzz`
#[derive(Debug, Args)]
pub struct Fuzz {
    /// Cases of each property
    #[arg(long, default_value_t = CASES)]
    cases: u32,
}

/// Some twenty seconds.
const CASES: u32 = 3000;

impl Default for Fuzz {
    fn default() -> Self {
        Self { cases: CASES }
    }
}

impl Fuzz {
    /// Sets up, builds, and runs every property on that many cases, other ones each time. A case that fails is printed, made as small as
    /// it gets, and kept under `proptest-regressions/`, from where it is tried first the next time.
    pub fn run(&self) -> anyhow::Result<()> {
        setup::setup()?;
        build::object()?;
        say(&format!("fuzz: {} cases of each property", self.cases));
        let properties = ["model::", "dataplane::properties"];
        run(cargo()
            .args(["test", "--quiet", "--release", "--package", "sillon", "--lib", "--"])
            .args(properties)
            .env("PROPTEST_CASES", self.cases.to_string()))
    }
}
