//! Runs the tests: all of them, for which one has to be root, or those that need nothing.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, bail};
use clap::Args;

use crate::{
    build,
    run::{cargo, run, say, shown},
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
        timed(cargo().args(["test", "--workspace", "--tests", "--"]).args(&self.arguments))?;
        let mut examples = cargo();
        examples.args(["test", "--workspace", "--doc", "--quiet", "--"]).args(&self.arguments);
        run(&mut examples)?;
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
        run(cargo().args(["test", "--workspace", "--tests", "--no-run", "--quiet"]))
    }

    /// Tests of libraries that make maps of the kernel are in modules of this name.
    fn libraries(&self) -> anyhow::Result<()> {
        let mut test = cargo();
        test.args(["test", "--workspace", "--lib", "--", "--skip", "::on_maps::"]);
        run(test.args(&self.arguments))
    }
}

/// So many tests are named as the slowest.
const SLOWEST: usize = 15;

/// Runs the tests of a command, and says which took longest. libtest of a stable toolchain tells
/// that only when it is told to be an unstable one. That it is told by cargo's runner, and not by
/// cargo itself, since build scripts would hear it too and run again.
fn timed(test: &mut Command) -> anyhow::Result<()> {
    let runner = format!("CARGO_TARGET_{}_UNKNOWN_LINUX_GNU_RUNNER", std::env::consts::ARCH);
    test.env(runner.to_uppercase(), "env RUSTC_BOOTSTRAP=1");
    test.args(["-Z", "unstable-options", "--report-time"]);
    let mut running = test.stdout(Stdio::piped()).spawn()?;
    let mut times = Vec::new();
    for line in BufReader::new(running.stdout.take().context("no output")?).lines() {
        let line = line?;
        times.extend(time(&line));
        println!("{line}");
    }
    let status = running.wait()?;
    times.sort_by(|one, other| other.0.total_cmp(&one.0));
    say("the slowest tests, in seconds:");
    for (seconds, name) in times.iter().take(SLOWEST) {
        eprintln!("  {seconds:>7.1}  {name}");
    }
    if !status.success() {
        bail!("{} failed ({status})", shown(test));
    }
    Ok(())
}

/// What a line `test name ... ok <1.234s>` says.
fn time(line: &str) -> Option<(f64, String)> {
    let (name, rest) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let (_, time) = rest.split_once('<')?;
    Some((time.strip_suffix("s>")?.parse().ok()?, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn the_time_of_a_test_is_read() {
        let (seconds, name) = time("test tags::a_priority_tag_stays ... ok <12.345s>").unwrap();
        assert!((12.3..12.4).contains(&seconds));
        assert_eq!(name, "tags::a_priority_tag_stays");
        assert!(time("test result: ok. 1 passed; finished in 0.00s").is_none());
    }
}
