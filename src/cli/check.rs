//! `sillon check`: say whether a configuration is right, without touching the kernel.

use std::{collections::BTreeSet, fmt::Write, process::ExitCode};

use serde::Serialize;

use super::{Output, args::CheckArgs, exit};
use crate::model::{self, Diagnostic, NodeConfig};

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'r> {
    file: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Summary<'r>>,
    diagnostics: &'r [Diagnostic],
    /// Errors that were only counted.
    omitted: usize,
}

/// How much a configuration defines.
#[derive(Serialize)]
struct Summary<'r> {
    node: &'r str,
    ports: usize,
    segments: usize,
    operators: usize,
    attachments: usize,
    remotes: usize,
}

/// Checks one file. The exit code is [`exit::DONE`] or [`exit::wrong_input`].
pub fn check(args: &CheckArgs, output: Output) -> anyhow::Result<ExitCode> {
    let file = args.file.display().to_string();
    let loaded = model::load(&args.file);
    if args.json {
        let report = match &loaded {
            Ok((config, warnings)) => {
                let summary = Some(Summary::of(config));
                Report { file, ok: true, summary, diagnostics: warnings, omitted: 0 }
            }
            Err(errors) => {
                let (diagnostics, omitted) = (errors.diagnostics(), errors.omitted());
                Report { file, ok: false, summary: None, diagnostics, omitted }
            }
        };
        output.say_json(&report)?;
    } else {
        match &loaded {
            Ok((config, warnings)) => {
                warnings
                    .iter()
                    .for_each(|warning| output.complain(&warning.render(output.style())));
                output.say(&Summary::of(config).sentence(&file, warnings.len()))?;
            }
            Err(errors) => {
                output.complain(&errors.render(output.style()));
                let count = errors.diagnostics().len() + errors.omitted();
                output.complain(&format!("\n{file} has {}\n", counted(count, "error")));
            }
        }
    }
    Ok(if loaded.is_ok() { exit::DONE } else { exit::wrong_input() })
}

impl<'r> Summary<'r> {
    fn of(config: &'r NodeConfig) -> Self {
        let operators: BTreeSet<_> =
            config.segments.iter().map(|segment| &segment.operator).collect();
        let remotes: BTreeSet<_> =
            config.segments.iter().flat_map(|segment| &segment.remotes).collect();
        Self {
            node: config.node.name.as_str(),
            ports: config.ports.len(),
            segments: config.segments.len(),
            operators: operators.len(),
            attachments: config.attachments.len(),
            remotes: remotes.len(),
        }
    }

    fn sentence(&self, file: &str, warnings: usize) -> String {
        let mut text = format!(
            "{file} is right: node {} with {}, {} of {}, {}, {}",
            self.node,
            counted(self.ports, "port"),
            counted(self.segments, "segment"),
            counted(self.operators, "operator"),
            counted(self.attachments, "attachment"),
            counted(self.remotes, "remote"),
        );
        if warnings > 0 {
            let _ = write!(text, "; {}", counted(warnings, "warning"));
        }
        text.push('\n');
        text
    }
}

/// `1 port`, `2 ports`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
