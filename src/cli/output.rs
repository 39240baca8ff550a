//! Standard output and error, and exit codes.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::args::Color;
use crate::model::Style;

/// What the exit codes mean.
pub mod exit {
    use std::process::ExitCode;

    /// It was done.
    pub const DONE: ExitCode = ExitCode::SUCCESS;

    /// It could not be done.
    pub const FAILED: ExitCode = ExitCode::FAILURE;

    /// The input is wrong, and nothing was changed. clap exits with the same code for wrong usage.
    pub fn wrong_input() -> ExitCode {
        ExitCode::from(2)
    }

    /// There is a difference.
    pub fn different() -> ExitCode {
        ExitCode::from(3)
    }

    /// Who asked has no right to it.
    pub fn refused() -> ExitCode {
        ExitCode::from(4)
    }
}

/// Standard output and standard error, and whether to use colours.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    fancy: bool,
}

impl Output {
    /// `auto` uses colours on a terminal, unless `NO_COLOR` (no-color.org) is set.
    pub fn new(color: Color) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let fancy = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => wanted && io::stderr().is_terminal(),
        };
        Self { fancy }
    }

    /// Whether colours are wanted.
    pub fn is_fancy(self) -> bool {
        self.fancy
    }

    /// How diagnostics are drawn.
    pub fn style(self) -> Style {
        if !self.fancy {
            return Style::Plain;
        }
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        Style::Fancy { width: columns.unwrap_or(110).max(40) }
    }

    /// Writes to standard output. A reader that went away (`sillon … | head`) is no error.
    pub fn say(self, text: &str) -> io::Result<()> {
        match io::stdout().write_all(text.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            done => done,
        }
    }

    /// Writes to standard output, for programs.
    pub fn say_json(self, value: &impl Serialize) -> anyhow::Result<()> {
        Ok(self.say(&(serde_json::to_string_pretty(value)? + "\n"))?)
    }

    /// Writes to standard error. If that fails, there is nobody left to tell.
    pub fn complain(self, text: &str) {
        let _ = io::stderr().write_all(text.as_bytes());
    }
}
