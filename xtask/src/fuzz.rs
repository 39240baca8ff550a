//! Random input: files for the parser, histories of configurations for `compile` and `diff`, and
//! frames for the loaded programs.

use std::{fs, process::Command};

use anyhow::{Context, bail};
use clap::Args;

use crate::{
    build,
    run::{cargo, cargo_of, root, run, say},
    setup,
};

/// `cargo xtask fuzz`
#[derive(Debug, Args)]
pub struct Fuzz {
    /// Cases of each property of parser, `compile` and `diff`
    #[arg(long, default_value_t = CASES)]
    cases: u32,
    /// Frames through the loaded programs
    #[arg(long, value_name = "N", conflicts_with = "time")]
    frames: Option<u64>,
    /// Send frames for so long, instead of so many
    #[arg(long, value_name = "SECONDS")]
    time: Option<u64>,
    /// Feed the parsers, with cargo-fuzz, for so long each, and do nothing else
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["cases", "frames", "time", "seed"])]
    parsers: Option<u64>,
    /// Make the frames that an earlier run with this seed made
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// The targets in `fuzz/`: what userspace reads of what others wrote.
const PARSERS: [&str; 4] = ["config", "request", "netlink", "records"];
/// Less than two minutes.
const CASES: u32 = 3000;
/// Less than a minute.
const FRAMES: u64 = 1_000_000;
/// Frames at each pair of hooks some of which leave work to their device, rightly or not: 100 000
/// do in all. Half a minute.
const LEFT: u64 = 80_000;
/// So many of a hundred that come in at a port.
const SHARE: u8 = 90;
/// One frame in so many goes over wires alone, to programs at TC; and as many where some ports are
/// at XDP.
const ON_WIRES: u64 = 20;

impl Default for Fuzz {
    fn default() -> Self {
        Self { cases: CASES, frames: None, time: None, parsers: None, seed: None }
    }
}

impl Fuzz {
    /// Sets up, builds, and runs every property and the frames. A case that fails is made as small
    /// as it gets and kept, and tried first the next time: those of properties under
    /// `proptest-regressions/`, those of frames under `tests/model/corpus/`.
    pub fn run(&self) -> anyhow::Result<()> {
        setup::setup()?;
        if let Some(seconds) = self.parsers {
            return parsers(seconds);
        }
        if !setup::is_root() {
            bail!("frames go through programs that are loaded: run `cargo xtask fuzz` as root");
        }
        build::object()?;
        self.properties()?;
        self.programs()
    }

    /// The properties of parser, `compile` and `diff`.
    pub fn properties(&self) -> anyhow::Result<()> {
        say(&format!("fuzz: {} cases of each property", self.cases));
        let properties = ["model::", "dataplane::properties"];
        run(cargo()
            .args(["test", "--quiet", "--package", "sillon", "--lib"])
            .args(self.profile())
            .arg("--")
            .args(properties)
            .env("PROPTEST_CASES", self.cases.to_string()))
    }

    /// The short run is of what the tests are built of: to build all once more with optimization
    /// takes longer than it saves. A long one is worth that.
    fn profile(&self) -> &'static [&'static str] {
        if self.is_long() || self.cases != CASES { &["--release"] } else { &[] }
    }

    /// Whether somebody asked for more frames, or fewer.
    fn is_long(&self) -> bool {
        self.time.is_some() || self.frames.is_some()
    }

    /// Frames through the loaded programs: most at XDP, where they need no wire; some at TC, and
    /// between the two.
    pub fn programs(&self) -> anyhow::Result<()> {
        for (hooks, part) in [("xdp", 1), ("tc", ON_WIRES), ("mixed", ON_WIRES)] {
            say(&format!(
                "fuzz: frames through the loaded programs at {hooks}, held against the model"
            ));
            self.frames_at(hooks, part, FRAMES, 0)?;
        }
        for hooks in ["xdp", "tc", "mixed"] {
            say(&format!(
                "fuzz: frames that leave work to their device, at {hooks}, held against the model"
            ));
            self.frames_at(hooks, if self.is_long() { ON_WIRES } else { 1 }, LEFT, SHARE)?;
        }
        Ok(())
    }

    /// The fuzzer, built. Cargo chooses features of dependencies for what it is asked to build:
    /// only asked for the same as the tests, it has built them already.
    fn fuzzer(&self) -> anyhow::Result<Command> {
        if self.profile().is_empty() {
            run(cargo().args(["test", "--quiet", "--workspace", "--tests", "--no-run"]))?;
            let mut fuzz = Command::new(root().join("target/debug/sillon-fuzz"));
            fuzz.current_dir(root());
            return Ok(fuzz);
        }
        let mut fuzz = cargo();
        fuzz.args(["run", "--quiet", "--package", "sillon-model", "--bin", "sillon-fuzz"]);
        fuzz.args(self.profile()).arg("--");
        Ok(fuzz)
    }

    /// A part of the frames or of the time that was asked for, or of `frames`; `left` of a hundred
    /// leave work to their device.
    fn frames_at(&self, hooks: &str, part: u64, frames: u64, left: u8) -> anyhow::Result<()> {
        let mut fuzz = self.fuzzer()?;
        match (self.time, self.frames) {
            (Some(seconds), _) => fuzz.arg("--time").arg((seconds / part).max(1).to_string()),
            (None, asked) => {
                fuzz.arg("--frames").arg((asked.unwrap_or(frames) / part).max(1).to_string())
            }
        };
        fuzz.args(["--hooks", hooks, "--left", &left.to_string()]);
        if let Some(seed) = self.seed {
            fuzz.arg("--seed").arg(seed.to_string());
        }
        run(&mut fuzz)
    }
}

/// Runs each target for so long. What makes one fail is kept in `fuzz/artifacts/`; mended, it
/// belongs into `fuzz/seeds/`, which an ordinary test replays.
fn parsers(seconds: u64) -> anyhow::Result<()> {
    setup::fuzzer()?;
    for target in PARSERS {
        say(&format!("fuzz: the parser of {target}, {seconds} s"));
        let [found, seeds] =
            ["corpus", "seeds"].map(|folder| root().join("fuzz").join(folder).join(target));
        fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
        let mut fuzz = cargo_of(setup::nightly()?);
        fuzz.current_dir(root())
            .env("PATH", setup::path()?)
            .args(["fuzz", "run", target])
            .arg(found)
            .arg(seeds);
        run(fuzz.arg("--").arg(format!("-max_total_time={seconds}")).arg("-rss_limit_mb=4096"))?;
    }
    Ok(())
}
