//! Running other programs, and saying so.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

/// The project's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// A command in the project's folder.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// Cargo of the stable toolchain that runs us, as if it were called from a shell. What `cargo run`
/// says of xtask itself must not reach it: build scripts that ask for it would run again, and all
/// that depends on them be built anew, whenever `cargo test` follows `cargo xtask test`.
pub fn cargo() -> Command {
    let mut command = command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    without(&mut command, &[]);
    command
}

/// Cargo of another toolchain: nothing that the outer cargo set in the environment must reach it.
pub fn cargo_of(toolchain: &str) -> Command {
    let mut command = command("rustup");
    command.args(["run", toolchain, "cargo"]);
    without(
        &mut command,
        &[
            "CARGO",
            "RUSTC",
            "RUSTDOC",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_TARGET_DIR",
        ],
    );
    command
}

/// Leaves these out of a command's environment, and what cargo says to a package's own program.
fn without(command: &mut Command, others: &[&str]) {
    for (name, _) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if others.contains(&text)
            || text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST_")
        {
            command.env_remove(name);
        }
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status =
        command.status().with_context(|| format!("{:?} can't be run", command.get_program()))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// The command as one would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Says what is being done.
pub fn say(what: &str) {
    eprintln!("xtask: {what}");
}
