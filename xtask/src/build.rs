//! Builds the eBPF object with the pinned nightly, then the binary that embeds it with stable.

use std::path::PathBuf;

use crate::{
    run::{cargo, cargo_of, root, run},
    setup::{self, NIGHTLY, linker_path},
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

/// A cargo command on an eBPF crate, as its object is built.
pub fn ebpf(folder: &str, subcommand: &str) -> std::process::Command {
    let mut command = cargo_of(NIGHTLY);
    command.current_dir(root().join(folder)).arg(subcommand);
    command.args(["--quiet", "--release", "-Z", "build-std=core", "--target", TARGET]);
    command.arg("--target-dir").arg(root().join("target/bpf"));
    // The linker wants BTF for `bpf_loop`'s callback, and BTF is made from debug information.
    // Frames are 2-aligned, and every architecture that we run on reads and writes words at any
    // address.
    let flags = [
        &format!("-Clinker={}", linker_path().display()),
        "-Cdebuginfo=2",
        "-Ctarget-cpu=v3",
        "-Ctarget-feature=+allows-misaligned-mem-access",
        "-Clink-arg=--btf",
    ];
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    // An incremental build splits the crate otherwise, and what comes out is other code, which the
    // verifier may refuse.
    command.env("CARGO_INCREMENTAL", "0");
    command
}

/// Builds the eBPF object to where `build.rs` looks for it.
pub fn object() -> anyhow::Result<()> {
    run(&mut ebpf(EBPF[0], "build"))
}

/// Builds the benchmark's own eBPF object, and says where it is.
pub fn rig_object() -> anyhow::Result<PathBuf> {
    run(&mut ebpf(EBPF[1], "build"))?;
    Ok(root().join("target/bpf").join(TARGET).join("release/sillon-rig"))
}
