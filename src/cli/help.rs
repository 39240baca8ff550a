//! `sillon completion` and `sillon man`: what the definitions of the commands say, in other forms.

use anyhow::Context;
use clap::CommandFactory;

use super::{
    Output,
    args::{Cli, CompletionArgs, ManArgs},
};

/// Prints a completion script.
pub fn completion(args: &CompletionArgs, output: Output) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sillon", &mut script);
    Ok(output.say(&String::from_utf8(script)?)?)
}

/// Writes a page for each command: `sillon.1`, `sillon-lease.1`, `sillon-lease-accept.1` …
pub fn man(args: &ManArgs) -> anyhow::Result<()> {
    let write = || {
        std::fs::create_dir_all(&args.out)?;
        clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), &args.out)
    };
    write().with_context(|| args.out.display().to_string())
}
