//! `sillon node`: look at what is pinned, or take it down.

use std::process::ExitCode;

use super::args::{FlushArgs, ShowArgs};

/// Prints what a node holds.
pub fn show(_args: &ShowArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("node show is not built yet")
}

/// Takes a node down.
pub fn flush(_args: &FlushArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("node flush is not built yet")
}
