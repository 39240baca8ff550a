//! Installs what the project needs and cargo does not bring. Run again, it finds everything and
//! changes nothing.

use std::{
    ffi::OsString,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use clap::Args;

use crate::run::{cargo_of, command, root, run, say, shown};

/// What rustup reads in the folders of the eBPF crates.
const TOOLCHAIN: &str = include_str!("../../ebpf/rust-toolchain.toml");

const FUZZER: &str = "cargo-fuzz";
const FUZZER_VERSION: &str = "0.13.2";

const DENY: &str = "cargo-deny";
const DENY_VERSION: &str = "0.20.2";

const BOOK: &str = "mdbook";
const BOOK_VERSION: &str = "0.5.4";

const LINKER: &str = "bpf-linker";
const LINKER_VERSION: &str = "0.10.4";
/// bpf-linker with the LLVM that comes with the pinned rustc, since Debian's is older.
const LINKER_FEATURES: [&str; 3] = ["--no-default-features", "--features", "rust-llvm-22"];

/// Debian packages: programs that the rig, the demo and the tests run, and the compiler of protocol
/// buffers (with the files that its own `.proto` files come in), which the build of the agents'
/// protocol and of etcd's client calls.
const PACKAGES: [&str; 11] = [
    "iproute2",
    "iputils-ping",
    "ethtool",
    "iperf3",
    "tcpdump",
    "etcd-server",
    "etcd-client",
    "faketime",
    "protobuf-compiler",
    "libprotobuf-dev",
    "systemd",
];

/// What only the benchmark runs, to compare with.
const COMPARED: [&str; 1] = ["openvswitch-switch"];

/// `cargo xtask setup`
#[derive(Debug, Default, Args)]
pub struct Setup {
    /// Also what the benchmark compares with: Open vSwitch. Its package may start a service on
    /// this machine; the benchmark does not use it
    #[arg(long)]
    bench: bool,
}

impl Setup {
    /// Installs what is missing.
    pub fn run(&self) -> anyhow::Result<()> {
        setup()?;
        if self.bench { install_packages(&COMPARED) } else { Ok(()) }
    }
}

/// Installs what is missing.
pub fn setup() -> anyhow::Result<()> {
    toolchain()?;
    linker()?;
    install_packages(&PACKAGES)
}

/// Installs cargo-fuzz, which only `cargo xtask fuzz --parsers` asks for, and the C++ compiler that
/// its library is built with.
pub fn fuzzer() -> anyhow::Result<()> {
    install_packages(&["g++"])?;
    let version =
        output(Command::new(tools().join("bin").join(FUZZER)).args(["fuzz", "--version"]));
    if version.is_some_and(|version| version.trim().ends_with(FUZZER_VERSION)) {
        return Ok(());
    }
    install(FUZZER, FUZZER_VERSION, &[])
}

/// Installs cargo-deny, which only `cargo xtask deny` asks for.
pub fn deny() -> anyhow::Result<()> {
    let version = output(Command::new(tools().join("bin").join(DENY)).arg("--version"));
    if version.is_some_and(|version| version.trim().ends_with(DENY_VERSION)) {
        return Ok(());
    }
    install(DENY, DENY_VERSION, &[])
}

/// Installs mdBook, which only `cargo xtask docs --book` asks for.
pub fn book() -> anyhow::Result<()> {
    let version = output(Command::new(tools().join("bin").join(BOOK)).arg("--version"));
    if version.is_some_and(|version| version.trim().ends_with(BOOK_VERSION)) {
        return Ok(());
    }
    install(BOOK, BOOK_VERSION, &["--no-default-features", "--features", "search"])
}

/// Where programs are looked for, first among the project's own.
pub fn path() -> anyhow::Result<OsString> {
    let others = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(
        [tools().join("bin")].into_iter().chain(std::env::split_paths(&others)),
    )?)
}

/// The project's own bpf-linker.
pub fn linker_path() -> PathBuf {
    tools().join("bin").join(LINKER)
}

fn tools() -> PathBuf {
    std::env::var_os("SILLON_TOOLS").map_or_else(|| root().join(".tools"), PathBuf::from)
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The pinned nightly toolchain, which builds the eBPF crates, bpf-linker and cargo-fuzz.
pub fn nightly() -> anyhow::Result<&'static str> {
    in_toolchain("channel").next().context("ebpf/rust-toolchain.toml names no channel")
}

/// The strings on the line of a key of the toolchain file.
fn in_toolchain(key: &str) -> impl Iterator<Item = &'static str> {
    let line = TOOLCHAIN.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    line.split('"').skip(1).step_by(2)
}

fn toolchain() -> anyhow::Result<()> {
    let nightly = nightly()?;
    let components: Vec<&str> = in_toolchain("components").collect();
    let mut list = command("rustup");
    list.args(["component", "list", "--installed", "--toolchain", nightly]);
    let installed = output(&mut list).unwrap_or_default();
    let has = |component: &&str| installed.lines().any(|line| line.starts_with(*component));
    if !installed.is_empty() && components.iter().all(has) {
        return Ok(());
    }
    say(&format!("installing the toolchain {nightly} with {}", components.join(", ")));
    let mut install = command("rustup");
    install.args(["toolchain", "install", nightly, "--profile", "minimal", "--no-self-update"]);
    install.args(["--component", &components.join(",")]);
    let by_hand =
        format!("install it by hand (rustup is needed, see rustup.rs): {}", shown(&install));
    run(&mut install).context(by_hand)
}

fn linker() -> anyhow::Result<()> {
    let version = output(Command::new(linker_path()).arg("--version"));
    if version.is_some_and(|version| version.trim().ends_with(LINKER_VERSION)) {
        return Ok(());
    }
    install(LINKER, LINKER_VERSION, &LINKER_FEATURES)
}

/// Builds a program into the project's tools.
fn install(name: &str, version: &str, features: &[&str]) -> anyhow::Result<()> {
    let tools = tools();
    say(&format!("building {name} {version} into {} (a minute or two)", tools.display()));
    fs::create_dir_all(&tools).with_context(|| format!("{}", tools.display()))?;
    let mut install = cargo_of(nightly()?);
    install.args(["install", name, "--version", version, "--locked"]).args(features);
    install.arg("--force").arg("--root").arg(&tools);
    let by_hand = format!("install it by hand: {}", shown(&install));
    run(&mut install).context(by_hand)
}

fn is_installed(package: &str) -> bool {
    let status = output(Command::new("dpkg-query").args(["-W", "-f", "${Status}", package]));
    status.is_some_and(|status| status == "install ok installed")
}

fn install_packages(packages: &[&str]) -> anyhow::Result<()> {
    let missing: Vec<&str> =
        packages.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get install --no-install-recommends {}", missing.join(" "));
    if !is_root() {
        bail!("missing packages, and this is not root; as root: {by_hand}");
    }
    say(&format!("installing {}", missing.join(", ")));
    let apt = || {
        let mut apt = command("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(Stdio::null());
        apt
    };
    run(apt().arg("update")).with_context(|| format!("install them by hand: {by_hand}"))?;
    run(apt().args(["install", "-y", "--no-install-recommends"]).args(&missing))
        .with_context(|| format!("install them by hand: {by_hand}"))
}

/// Whether we are root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
