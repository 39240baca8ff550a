//! Builds the eBPF object with the pinned nightly, then the binary that embeds it with stable.

use std::path::PathBuf;

use crate::{
    run::{cargo, cargo_of, root, run},
    setup::{self, linker_path},
};

const TARGET: &str = "bpfel-unknown-none";

/// Where the binary is, once built.
pub fn binary() -> PathBuf {
    root().join("target/release/sillon")
}

/// Sets up and builds; returns the binary.
pub fn build() -> anyhow::Result<PathBuf> {
    setup::setup()?;
    object()?;
    run(cargo().args(["build", "--quiet", "--release", "--package", "sillon"]))?;
    Ok(binary())
}

/// The eBPF crates: what Sillon is, and what the benchmark needs.
pub const EBPF: [&str; 2] = ["ebpf", "tests/rig/ebpf"];

/// A cargo command on an eBPF crate. What it builds for, and how, is in the `.cargo/config.toml` of
/// its folder and in the project's.
pub fn ebpf(folder: &str, subcommand: &str) -> anyhow::Result<std::process::Command> {
    let mut command = cargo_of(setup::nightly()?);
    command.current_dir(root().join(folder)).args([subcommand, "--quiet", "--release"]);
    command.env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker_path());
    // Whoever has this on in the environment means the userspace half: see `.cargo/config.toml`.
    command.env("CARGO_INCREMENTAL", "0");
    Ok(command)
}

/// Builds the eBPF object to where `build.rs` looks for it.
pub fn object() -> anyhow::Result<()> {
    run(&mut ebpf(EBPF[0], "build")?)
}

/// Builds the benchmark's own eBPF object, and says where it is.
pub fn rig_object() -> anyhow::Result<PathBuf> {
    run(&mut ebpf(EBPF[1], "build")?)?;
    Ok(root().join("target/bpf").join(TARGET).join("release/sillon-rig"))
}
