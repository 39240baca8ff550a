//! Running programs to their end.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, bail};

/// Runs a command, and returns what it says.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output();
    checked(output.with_context(|| shown(command))?, command)
}

/// As [`run`], with `input` on its standard input.
pub(crate) fn feed(command: &mut Command, input: &str) -> anyhow::Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| shown(command))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    checked(child.wait_with_output()?, command).with_context(|| input.to_owned())
}

fn checked(output: Output, command: &Command) -> anyhow::Result<String> {
    if !output.status.success() {
        bail!(
            "{}: {}: {}",
            shown(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
