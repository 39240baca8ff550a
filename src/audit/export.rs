//! A log as a file of lines of JSON: a header, then each entry; whole, or as one reader may have
//! it.

use std::io::{self, BufRead, Read, Write};

use serde::{Deserialize, Serialize};

use super::{CHECKPOINT_KEY, Hash, Leaf, PREFIX, TREE_KEY, commitment, entry_key, is_visible};
use crate::{identity::Identity, store::Snapshot};

/// Of the lines below.
const FORMAT: u32 = 1;
/// A line that is longer is no entry.
const LONGEST_LINE: u64 = 16 << 20;

/// A log, or what one reader may have of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The log's newest checkpoint, as it is written.
    pub checkpoint: String,
    /// All entries, each with the place that it is said to have.
    pub items: Vec<(u64, Item)>,
}

/// An entry, or what is left of one that is not for the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// The leaf's text.
    Text(String),
    /// Only its commitment.
    Commitment(Hash),
}

/// Why something is no export of an audit log.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A key of the store is among the log's, and none of them.
    #[error("the key {0:?} is none of an audit log's")]
    Key(String),
    /// A line can't be read.
    #[error("line {line}: {error}")]
    Read { line: u64, error: io::Error },
    /// A line has no end.
    #[error("line {line} has no end: the file was cut, or the line is too long")]
    Cut { line: u64 },
    /// The first line is not what it should be.
    #[error("line 1 is not the header of an audit log's export: {0}")]
    Header(serde_json::Error),
    /// Another Sillon wrote it.
    #[error("the export has form {0}; this Sillon reads {known}", known = FORMAT)]
    Format(u32),
    /// A line is no entry.
    #[error("line {line}: {error}")]
    Line { line: u64, error: serde_json::Error },
    /// An entry is there twice over, or not at all.
    #[error("line {line} has to have either a text or a commitment")]
    Item { line: u64 },
    /// There are more or fewer entries than there should be.
    #[error(
        "the header says {said} entries, and there are {found}: the file was cut, or entries were \
         removed or added"
    )]
    Count {
        /// As the header says.
        said: u64,
        /// As there are.
        found: usize,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    sillon_audit: u32,
    entries: u64,
    checkpoint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commitment: Option<Hash>,
}

impl Item {
    /// What it is in the tree.
    pub fn commitment(&self) -> Hash {
        match self {
            Self::Text(text) => commitment(text),
            Self::Commitment(commitment) => *commitment,
        }
    }

    /// The entry, if it is there and can be read.
    pub fn leaf(&self) -> Option<Result<Leaf, serde_json::Error>> {
        match self {
            Self::Text(text) => Some(serde_json::from_str(text)),
            Self::Commitment(_) => None,
        }
    }
}

impl Export {
    /// What somebody may have: of all other entries only the commitments, so that the reader can
    /// make the same tree of it.
    #[must_use]
    pub fn for_reader(self, reader: &Identity) -> Self {
        let items = self.items.into_iter().map(|(at, item)| {
            let is_for_reader =
                matches!(item.leaf(), Some(Ok(leaf)) if is_visible(&leaf.entry, reader));
            (at, if is_for_reader { item } else { Item::Commitment(item.commitment()) })
        });
        Self { checkpoint: self.checkpoint, items: items.collect() }
    }
}

/// The log that a store has.
///
/// # Errors
/// A key below [`PREFIX`] is none of the log's.
pub fn of_store(snapshot: &Snapshot) -> Result<Export, ExportError> {
    let mut export = Export { checkpoint: String::new(), items: Vec::new() };
    for (key, value) in &snapshot.entries {
        match key.as_str() {
            TREE_KEY => {}
            CHECKPOINT_KEY => export.checkpoint.clone_from(value),
            key => {
                let Some(place) = key.strip_prefix(PREFIX) else { continue };
                let at = place.parse().ok().filter(|at| entry_key(*at) == key);
                let at = at.ok_or_else(|| ExportError::Key(key.to_owned()))?;
                export.items.push((at, Item::Text(value.clone())));
            }
        }
    }
    Ok(export)
}

/// Writes a log.
///
/// # Errors
/// It can't be written.
pub fn write_export(export: &Export, mut to: impl Write) -> io::Result<()> {
    let entries = export.items.len() as u64;
    let header = Header { sillon_audit: FORMAT, entries, checkpoint: export.checkpoint.clone() };
    serde_json::to_writer(&mut to, &header)?;
    to.write_all(b"\n")?;
    for (at, item) in &export.items {
        let (text, commitment) = match item {
            Item::Text(text) => (Some(text.clone()), None),
            Item::Commitment(commitment) => (None, Some(*commitment)),
        };
        serde_json::to_writer(&mut to, &Line { at: *at, text, commitment })?;
        to.write_all(b"\n")?;
    }
    to.flush()
}

/// Reads what [`write_export`] wrote. What of it is true, [`super::verify`] says.
///
/// # Errors
/// It can't be read, or is not that; with the line.
pub fn read_export(mut from: impl BufRead) -> Result<Export, ExportError> {
    let mut text = String::new();
    let mut next = |text: &mut String, line: u64| -> Result<bool, ExportError> {
        text.clear();
        let read = Read::take(&mut from, LONGEST_LINE).read_line(text);
        let length = read.map_err(|error| ExportError::Read { line, error })?;
        if length > 0 && text.pop() != Some('\n') {
            return Err(ExportError::Cut { line });
        }
        Ok(length > 0)
    };
    next(&mut text, 1)?;
    let header: Header = serde_json::from_str(&text).map_err(ExportError::Header)?;
    if header.sillon_audit != FORMAT {
        return Err(ExportError::Format(header.sillon_audit));
    }
    let mut items = Vec::new();
    let mut number = 2;
    while next(&mut text, number)? {
        let line: Line = serde_json::from_str(&text)
            .map_err(|error| ExportError::Line { line: number, error })?;
        let item = match (line.text, line.commitment) {
            (Some(text), None) => Item::Text(text),
            (None, Some(commitment)) => Item::Commitment(commitment),
            _ => return Err(ExportError::Item { line: number }),
        };
        items.push((line.at, item));
        number += 1;
    }
    if items.len() as u64 != header.entries {
        return Err(ExportError::Count { said: header.entries, found: items.len() });
    }
    Ok(Export { checkpoint: header.checkpoint, items })
}
