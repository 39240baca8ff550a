//! A store as lines of JSON, to keep elsewhere or to begin another store with: a header, then a
//! line for each entry.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use super::{Snapshot, Version};

/// Of the lines below.
const FORMAT: u32 = 1;
/// A line longer than this is no entry.
const LONGEST_LINE: u64 = 16 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    sillon_store: u32,
    version: Version,
    /// So that a file that ends too early is not taken for a whole one.
    entries: usize,
}

/// Why an export can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file.
    #[error("the export can't be read: {0}")]
    Io(#[from] io::Error),
    /// What is in it.
    #[error("line {line} of the export: {what}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong, and what would be right.
        what: String,
    },
}

/// Writes a snapshot.
///
/// # Errors
/// It can't be written.
pub fn export(snapshot: &Snapshot, mut to: impl Write) -> io::Result<()> {
    let header =
        Header { sillon_store: FORMAT, version: snapshot.version, entries: snapshot.entries.len() };
    serde_json::to_writer(&mut to, &header)?;
    to.write_all(b"\n")?;
    for entry in &snapshot.entries {
        serde_json::to_writer(&mut to, entry)?;
        to.write_all(b"\n")?;
    }
    to.flush()
}

/// Reads what [`export`] wrote, whole or not at all.
///
/// # Errors
/// It can't be read, or is not that.
pub fn read_export(mut from: impl BufRead) -> Result<Snapshot, ExportError> {
    let wrong = |line, what: String| ExportError::Line { line, what };
    let mut text = String::new();
    read_line(&mut from, &mut text)?;
    let header: Header = serde_json::from_str(&text).map_err(|error| {
        wrong(1, format!("{error}; it has to be the header that an export begins with"))
    })?;
    if header.sillon_store != FORMAT {
        return Err(wrong(
            1,
            format!("format {} is not known; this Sillon reads {FORMAT}", header.sillon_store),
        ));
    }
    let mut entries: Vec<(String, String)> = Vec::new();
    while read_line(&mut from, &mut text)? > 0 {
        let line = entries.len() + 2;
        let entry = serde_json::from_str(&text).map_err(|error| wrong(line, error.to_string()))?;
        if entries.last().is_some_and(|last| *last >= entry) {
            return Err(wrong(line, "the keys are out of order, or one is there twice".to_owned()));
        }
        entries.push(entry);
    }
    if entries.len() != header.entries {
        let what = format!(
            "{} entries, and the header says {}: the file was cut",
            entries.len(),
            header.entries
        );
        return Err(wrong(entries.len() + 1, what));
    }
    Ok(Snapshot { version: header.version, entries })
}

fn read_line(from: &mut impl BufRead, text: &mut String) -> io::Result<usize> {
    text.clear();
    io::Read::take(&mut *from, LONGEST_LINE).read_line(text)
}
