//! Controllers, agents, members of etcd and the wires between them, broken at random under changes
//! by all roles.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use crate::{
    build,
    run::{cargo, run, say},
    setup,
};

const EXAMPLES: &str = "\
Examples:
  cargo xtask chaos                         forty seconds, as the tests do
  cargo xtask chaos --time 10m              ten minutes; the seed is printed
  cargo xtask chaos --time 10m --seed 17    the same faults and changes again, as far as time allows";

/// `cargo xtask chaos`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Chaos {
    /// How long things break: `40s`, `10m`, `2h`
    #[arg(long, default_value = "40s", value_parser = time)]
    time: Duration,
    /// What the random numbers begin with; a new one if left out
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl Chaos {
    /// Sets up, builds, breaks.
    pub fn run(&self) -> anyhow::Result<()> {
        setup::setup()?;
        if !setup::is_root() {
            bail!("namespaces are made and eBPF is loaded: run `cargo xtask chaos` as root");
        }
        build::object()?;
        say(&format!("chaos for {:?}", self.time));
        let mut test = cargo();
        test.args([
            "test",
            "--quiet",
            "--test",
            "with_root",
            "--",
            "chaos::whatever_breaks",
            "--nocapture",
        ]);
        test.env("SILLON_CHAOS_SECONDS", self.time.as_secs().to_string());
        if let Some(seed) = self.seed {
            test.env("SILLON_CHAOS_SEED", seed.to_string());
        }
        run(&mut test)
    }
}

/// A number and `s`, `m` or `h`.
fn time(text: &str) -> anyhow::Result<Duration> {
    let units = [('s', 1), ('m', 60), ('h', 3600)];
    let (number, unit) = units
        .iter()
        .find_map(|(letter, unit)| Some((text.strip_suffix(*letter)?, unit)))
        .context("write a number and s, m or h, like 10m")?;
    let number: u64 = number.parse().context("write a number and s, m or h, like 10m")?;
    Ok(Duration::from_secs(number.checked_mul(*unit).context("that is too long")?))
}
