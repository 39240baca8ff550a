//! `sillon agent`: run a node, and tell a running one to read its file again.

use std::process::ExitCode;

use super::args::{ReloadArgs, RunArgs};

/// Runs the agent until it is told to stop.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("the agent is not built yet ({} was not read)", args.config.display())
}

/// Makes a running agent read its file again.
pub fn reload(_args: &ReloadArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("agent reload is not built yet")
}
