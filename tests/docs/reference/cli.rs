//! The commands, from clap.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory};
use sillon::cli::args::Cli;

use super::{bullet, page as whole, sentence, wrapped};

const ABOUT: &str = "\
Options that every command has: `-v` says more and `-vv` everything; `--color auto|always|never`.
The same text is in `sillon COMMAND --help` and in the manual pages of the package.

## Exit codes

- `0`: done.
- `1`: failed, or left something out (`agent reload`), or found something wrong (`verify`).
- `2`: wrong usage or wrong input; nothing was changed.
- `3`: there is a difference (`diff`).
- `4`: the controller refused it for lack of rights.
";

pub fn page() -> String {
    let mut body = ABOUT.to_owned();
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        add(&mut body, command, "sillon");
    }
    whole("Commands", "`src/cli/args/`", &body)
}

fn add(body: &mut String, command: &Command, path: &str) {
    let path = format!("{path} {}", command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = write!(body, "\n## {path}\n\n{}\n", wrapped(&sentence(&about), ""));
    let has_subcommands = command.has_subcommands();
    if !has_subcommands || command.get_arguments().any(is_shown) {
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage:").trim();
        let lines: Vec<&str> = usage.lines().map(str::trim).collect();
        body.push_str(&block(&lines.join("\n")));
        body.push('\n');
        for argument in command.get_arguments().filter(|argument| is_shown(argument)) {
            body.push_str(&bullet(&described(argument)));
        }
    }
    if let Some(help) = command.get_after_help() {
        body.push_str(&block(&help.to_string()));
    }
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        add(body, command, &path);
    }
}

fn block(text: &str) -> String {
    format!("\n```text\n{}\n```\n", text.trim_end())
}

fn is_shown(argument: &Arg) -> bool {
    !argument.is_hide_set()
        && !["help", "version", "verbose", "color"].contains(&argument.get_id().as_str())
}

/// `` `--limit N` `` and what it is.
fn described(argument: &Arg) -> String {
    let values: Vec<String> =
        argument.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    let takes = if argument.get_action().takes_values() { values.join(" ") } else { String::new() };
    let name = match (argument.get_short(), argument.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long} {takes}"),
        (None, Some(long)) => format!("--{long} {takes}"),
        (Some(short), None) => format!("-{short} {takes}"),
        (None, None) => takes,
    };
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let mut text = format!("`{}`: {}", name.trim(), sentence(&help));
    let possible = argument.get_possible_values();
    let names: Vec<String> = possible
        .iter()
        .filter(|_| argument.get_action().takes_values())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !names.is_empty() {
        let _ = write!(text, " One of {}.", names.join(", "));
    }
    let defaults: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    if !defaults.is_empty() && argument.get_action().takes_values() {
        let _ = write!(text, " Default: `{}`.", defaults.join(" "));
    }
    if let Some(variable) = argument.get_env() {
        let _ = write!(text, " Environment: `{}`.", variable.to_string_lossy());
    }
    text
}
