//! What the log has of a commit: one row, so that a commit is one step at the log's end. Not JSON,
//! since most of what is written is JSON itself, and each of its quotation marks would be two
//! bytes.

use std::collections::BTreeMap;

use prost::Message;
use rusqlite::{Transaction, params};

use super::super::super::{StoreError, Write};

/// The schema before this, whose log had a row for each key of a commit.
pub const BEFORE: i32 = 1;

/// The log: what each commit wrote.
pub const TABLE: &str =
    "CREATE TABLE log (version INTEGER PRIMARY KEY, writes BLOB NOT NULL) STRICT";

/// What one commit wrote.
#[derive(Clone, PartialEq, Message)]
pub struct Row {
    /// In the order of the keys, each once.
    #[prost(message, repeated, tag = "1")]
    pub writes: Vec<Written>,
}

/// What it wrote under one key.
#[derive(Clone, PartialEq, Message)]
pub struct Written {
    #[prost(string, tag = "1")]
    pub key: String,
    /// Nothing, if it was removed.
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

impl From<Vec<Write>> for Row {
    /// Of what is written twice the last counts.
    fn from(writes: Vec<Write>) -> Self {
        let writes: BTreeMap<_, _> = writes.into_iter().collect();
        Self { writes: writes.into_iter().map(|(key, value)| Written { key, value }).collect() }
    }
}

impl Row {
    /// # Errors
    /// It is none: the file was changed by another hand, or is damaged.
    pub fn read(bytes: &[u8]) -> Result<Self, StoreError> {
        Self::decode(bytes)
            .map_err(|error| StoreError::Failed(format!("a row of its log can't be read: {error}")))
    }

    pub fn into_writes(self) -> Vec<Write> {
        self.writes.into_iter().map(|Written { key, value }| (key, value)).collect()
    }
}

/// Writes the log of the schema before as it is written now.
pub fn migrate(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch("ALTER TABLE log RENAME TO log_before")?;
    transaction.execute_batch(TABLE)?;
    let mut query =
        transaction.prepare("SELECT version, key, value FROM log_before ORDER BY version, key")?;
    let mut insert = transaction.prepare("INSERT INTO log VALUES (?, ?)")?;
    let (mut rows, mut row, mut of) = (query.query([])?, Row::default(), None);
    while let Some(next) = rows.next()? {
        let version: i64 = next.get(0)?;
        if let Some(of) = of.filter(|of| *of != version) {
            insert.execute(params![of, std::mem::take(&mut row).encode_to_vec()])?;
        }
        of = Some(version);
        row.writes.push(Written { key: next.get(1)?, value: next.get(2)? });
    }
    if let Some(of) = of {
        insert.execute(params![of, row.encode_to_vec()])?;
    }
    drop(rows);
    drop((query, insert));
    // Commits that wrote nothing had no row.
    transaction.execute_batch(
        "WITH RECURSIVE all_of_them(version) AS (
             SELECT value + 1 FROM counters WHERE name = 'compacted'
             UNION ALL SELECT version + 1 FROM all_of_them
             WHERE version < (SELECT value FROM counters WHERE name = 'version')
         )
         INSERT OR IGNORE INTO log SELECT version, x'' FROM all_of_them
             WHERE version <= (SELECT value FROM counters WHERE name = 'version');
         DROP TABLE log_before;",
    )
}
