//! From a file to a [`NodeConfig`], or to all that is wrong with it.
//!
//! Three passes, each over everything: TOML syntax (`toml`), then each value by itself (`draft`),
//! then the values against each other (`rules`). Syntax errors end it, since what is behind them
//! can't be known; the other two passes report together. Warnings are only worked out for a file
//! without errors.

mod draft;
mod fields;
mod guards;
mod police;
mod rules;
mod sink;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use toml::de::DeTable;

use self::{draft::Draft, sink::Sink};
use super::{ConfigErrors, Diagnostic, NodeConfig};

/// A file larger than this is refused: it is a mistake, and reading it would only cost memory.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// Beyond this size only the first syntax error is reported: garbage has one in every few bytes.
const RECOVERABLE_BYTES: usize = 1 << 20;

/// Reads and checks a file. Gives the configuration with its warnings, or all that is wrong.
pub fn load(path: &Path) -> Result<(NodeConfig, Vec<Diagnostic>), ConfigErrors> {
    let name = path.display().to_string();
    let bytes = match read(path) {
        Ok(bytes) => bytes,
        Err(error) => return refuse(&name, "", |sink| unreadable(sink, &error)),
    };
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return refuse(&name, "", |sink| {
            sink.file_error(format!("this is larger than {} MiB", MAX_FILE_BYTES >> 20))
                .help("a configuration is small: is this the right file?");
        });
    }
    match str::from_utf8(&bytes) {
        Ok(text) => parse(&name, text),
        Err(error) => refuse(&name, &String::from_utf8_lossy(&bytes), |sink| {
            let at = error.valid_up_to();
            let byte = bytes.get(at).copied().unwrap_or_default();
            sink.error(at..at + 1, format!("byte 0x{byte:02x} is not UTF-8"), "")
                .help("a configuration is UTF-8 text: save the file in this encoding");
        }),
    }
}

/// Checks a text. `name` is what the messages call it.
pub fn parse(name: &str, text: &str) -> Result<(NodeConfig, Vec<Diagnostic>), ConfigErrors> {
    let mut sink = Sink::new(name, text);
    let Some(config) = read_text(text, &mut sink) else {
        if !sink.has_errors() {
            sink.file_error(
                "this was refused without a reason, which is a mistake in Sillon".to_owned(),
            );
        }
        return Err(sink.finish_failed());
    };
    sink.finish().map(|warnings| (config, warnings))
}

fn read_text(text: &str, sink: &mut Sink) -> Option<NodeConfig> {
    if text.trim().is_empty() {
        sink.error(0..0, "the file is empty".to_owned(), "")
            .help("begin with [node], name = \"edge1\" and vtep = [\"10.99.0.1\"]");
        return None;
    }
    let root = read_toml(text, sink)?;
    let draft = Draft::read(&root, sink);
    rules::check(&draft, sink)
}

/// The first syntax error of each line: those behind it mostly follow from it.
fn read_toml<'t>(text: &'t str, sink: &mut Sink) -> Option<DeTable<'t>> {
    let (root, errors) = if text.len() <= RECOVERABLE_BYTES {
        DeTable::parse_recoverable(text)
    } else {
        match DeTable::parse(text) {
            Ok(root) => (root, Vec::new()),
            Err(error) => (toml::Spanned::new(0..0, DeTable::new()), vec![error]),
        }
    };
    let mut reported = None;
    for error in &errors {
        let at = error.span().unwrap_or(0..0);
        let line =
            text.as_bytes()[..at.start.min(text.len())].iter().rposition(|byte| *byte == b'\n');
        if reported != Some(line) {
            sink.error(at, format!("TOML syntax: {}", error.message()), "");
            reported = Some(line);
        }
    }
    errors.is_empty().then(|| root.into_inner())
}

/// Reads no more than shows that a file is too large: its length is not known if it is a pipe or a
/// device.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(sink: &mut Sink, error: &io::Error) {
    let help = match error.kind() {
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::PermissionDenied => {
            "check the permissions of the file and of its directories"
        }
        io::ErrorKind::IsADirectory => "give the file, not its directory",
        _ => "check the file and its file system",
    };
    sink.file_error(format!("cannot be read: {error}")).help(help);
}

fn refuse<T>(name: &str, text: &str, report: impl FnOnce(&mut Sink)) -> Result<T, ConfigErrors> {
    let mut sink = Sink::new(name, text);
    report(&mut sink);
    Err(sink.finish_failed())
}
