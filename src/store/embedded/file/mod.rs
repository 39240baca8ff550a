//! The file: its tables, and each of its transactions.

mod row;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use prost::Message;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use self::row::Row;
use super::super::{
    Batch, Commit, Existing, Leadership, Snapshot, StoreError, Version, term_after, up_to,
    version_of_import,
};

/// Tells that an SQLite file is a Sillon store: "Sill".
const APPLICATION: i32 = i32::from_be_bytes(*b"Sill");
/// Of the tables below.
const SCHEMA: i32 = 2;
/// Pages that SQLite keeps in memory, KiB. With its own 2 MiB a third of the time of a commit was
/// reading pages again.
const CACHE: i64 = 65_536;
/// After so many pages of the write-ahead log what is in it is brought to its place, of which there
/// are many. 32 MiB.
const CHECKPOINT: i64 = 8192;
/// Commits that [`File::after`] gives at once, at most.
const BATCHES: i64 = 1000;

/// `entries` has what is there now; what each commit wrote is in [`row::TABLE`].
const TABLES: &str = "
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO counters VALUES ('version', 0), ('compacted', 0), ('term', 0);
    CREATE TABLE entries (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// An open file.
pub struct File {
    connection: Connection,
    version: Version,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl File {
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |what: String| StoreError::Failed(format!("{}: {what}", path.display()));
        close_to_others(path).map_err(|error| failed(error.to_string()))?;
        let connection = Connection::open(path).map_err(|error| failed(error.to_string()))?;
        Self::prepare(connection).map_err(|error| match error {
            StoreError::Failed(what) => failed(what),
            other => other,
        })
    }

    fn prepare(mut connection: Connection) -> Result<Self, StoreError> {
        // In this mode the log's index is in this process's memory alone, and no other process gets
        // in.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if mode != "wal" {
            return Err(StoreError::Failed(format!(
                "its file system has no write-ahead log (mode {mode})"
            )));
        }
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", -CACHE)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let pragma =
            |name: &str| transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        match (pragma("application_id")?, pragma("user_version")?) {
            (APPLICATION, SCHEMA) => {}
            (APPLICATION, row::BEFORE) => {
                row::migrate(&transaction)?;
                transaction.pragma_update(None, "user_version", SCHEMA)?;
            }
            (0, 0) if is_blank(&transaction)? => {
                transaction.execute_batch(TABLES)?;
                transaction.execute_batch(row::TABLE)?;
                transaction.pragma_update(None, "application_id", APPLICATION)?;
                transaction.pragma_update(None, "user_version", SCHEMA)?;
            }
            (APPLICATION, schema) => {
                let what = format!(
                    "its schema is {schema}, and this Sillon knows {SCHEMA}; use the Sillon that \
                     wrote it"
                );
                return Err(StoreError::Failed(what));
            }
            _ => return Err(StoreError::Failed("it is a database, but not Sillon's".to_owned())),
        }
        let version = Version(counter(&transaction, "version")?);
        transaction.commit()?;
        Ok(Self { connection, version })
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// Makes a chain of commits with one sync, until one can't be made. Gives how many were, and
    /// why the next one was not; if the sync fails, none is known to be.
    pub fn commit(
        &mut self,
        chain: Vec<Commit>,
        may: impl Fn(&Option<Leadership>) -> bool,
    ) -> (usize, Option<StoreError>) {
        self.try_commit(chain, may)
            .unwrap_or_else(|error| (0, Some(StoreError::Failed(error.to_string()))))
    }

    fn try_commit(
        &mut self,
        chain: Vec<Commit>,
        may: impl Fn(&Option<Leadership>) -> bool,
    ) -> rusqlite::Result<(usize, Option<StoreError>)> {
        let (mut version, mut made, mut refused) =
            (self.version, Vec::with_capacity(chain.len()), None);
        for Commit { expected, held, writes } in chain {
            if expected != version {
                refused = Some(StoreError::Conflict(version));
            } else if !may(&held) {
                refused = Some(StoreError::Deposed);
            }
            if refused.is_some() {
                break;
            }
            version = Version(version.0 + 1);
            made.push((version, Row::from(writes)));
        }
        if made.is_empty() {
            return Ok((0, refused));
        }
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        write(&transaction, &made)?;
        set_counter(&transaction, "version", version.0)?;
        transaction.commit()?;
        self.version = version;
        Ok((made.len(), refused))
    }

    /// Without keys that begin so.
    pub fn snapshot(&self, without: &str) -> Result<Snapshot, StoreError> {
        // What comes after all that begins so: SQLite compares the bytes, and none of UTF-8 is
        // 0xFF.
        let mut query = self.connection.prepare_cached(
            "SELECT key, value FROM entries WHERE key < ?1 OR key > ?1 || CAST(x'FF' AS TEXT) \
             ORDER BY key",
        )?;
        let entries = query
            .query_map([without], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        Ok(Snapshot { version: self.version, entries })
    }

    pub fn range(
        &self,
        from: &str,
        before: &str,
        bytes: usize,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT key, value FROM entries WHERE key >= ? AND key < ? ORDER BY key",
        )?;
        let mut failed = None;
        let rows = query.query_map([from, before], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let entries =
            up_to(bytes, rows.map_while(|row| row.map_err(|error| failed = Some(error)).ok()));
        failed.map_or(Ok(entries), |error| Err(error.into()))
    }

    pub fn after(&self, version: Version) -> Result<Vec<Batch>, StoreError> {
        let compacted = Version(counter(&self.connection, "compacted")?);
        if version < compacted {
            return Err(StoreError::Compacted(compacted));
        }
        let mut query = self.connection.prepare_cached(
            "SELECT version, writes FROM log WHERE version > ? ORDER BY version LIMIT ?",
        )?;
        let rows = query.query_map(params![integer(version.0), BATCHES], |row| {
            Ok((Version(row.get::<_, i64>(0)?.unsigned_abs()), row.get::<_, Vec<u8>>(1)?))
        })?;
        let batches = rows.map(|row| {
            let (version, row) = row?;
            Ok(Batch { version, writes: Row::read(&row)?.into_writes() })
        });
        batches.collect()
    }

    pub fn compact(&mut self, until: Version) -> Result<(), StoreError> {
        let until = until.min(self.version);
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if until.0 > counter(&transaction, "compacted")? {
            transaction.execute("DELETE FROM log WHERE version <= ?", [integer(until.0)])?;
            set_counter(&transaction, "compacted", until.0)?;
        }
        transaction.commit()?;
        self.connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")?;
        Ok(())
    }

    /// A term that no leadership had, over all restarts.
    pub fn next_term(&mut self) -> Result<u64, StoreError> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let term = term_after(counter(&transaction, "term")?);
        set_counter(&transaction, "term", term)?;
        transaction.commit()?;
        Ok(term)
    }

    pub fn import(&mut self, snapshot: &Snapshot, existing: Existing) -> Result<(), StoreError> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if self.version != Version(0) && existing == Existing::Refuse {
            return Err(StoreError::Failed("it is not empty; import into a new file".to_owned()));
        }
        transaction.execute_batch("DELETE FROM entries; DELETE FROM log;")?;
        let version = version_of_import(self.version, snapshot.version);
        let mut insert = transaction.prepare("INSERT INTO entries VALUES (?, ?)")?;
        for (key, value) in &snapshot.entries {
            insert.execute([key, value])?;
        }
        drop(insert);
        set_counter(&transaction, "version", version.0)?;
        // What led to it was not exported.
        set_counter(&transaction, "compacted", version.0)?;
        transaction.commit()?;
        self.version = version;
        Ok(())
    }
}

/// Makes the file if there is none, for its user alone: it says what every operator has. SQLite
/// gives its log the file's own rights. One from before, and its log, lose what others have; a
/// group that somebody gave it to keeps it.
fn close_to_others(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let log = path.with_file_name(path.file_name().map_or_else(OsString::new, |name| {
        let mut name = name.to_owned();
        name.push("-wal");
        name
    }));
    for file in [path, &log] {
        let Ok(is) = fs::metadata(file) else { continue };
        let mut rights = is.permissions();
        if is.is_file() && rights.mode() & 0o007 != 0 {
            rights.set_mode(rights.mode() & 0o770);
            fs::set_permissions(file, rights)?;
        }
    }
    Ok(())
}

/// Writes the log of some commits, and what is there after the last of them: what several of them
/// write is written once, and in the order of the keys.
fn write(transaction: &Transaction<'_>, made: &[(Version, Row)]) -> rusqlite::Result<()> {
    let mut log = transaction.prepare_cached("INSERT INTO log VALUES (?, ?)")?;
    let mut last = BTreeMap::new();
    for (version, row) in made {
        log.execute(params![integer(version.0), row.encode_to_vec()])?;
        last.extend(row.writes.iter().map(|write| (&write.key, &write.value)));
    }
    let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO entries VALUES (?, ?)")?;
    let mut remove = transaction.prepare_cached("DELETE FROM entries WHERE key = ?")?;
    for (key, value) in last {
        match value {
            Some(value) => put.execute([key, value])?,
            None => remove.execute([key])?,
        };
    }
    Ok(())
}

/// Whether nobody has put anything into the file.
fn is_blank(connection: &Connection) -> rusqlite::Result<bool> {
    let any = connection.query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |_| Ok(()));
    Ok(any.optional()?.is_none())
}

fn counter(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    let mut query = connection.prepare_cached("SELECT value FROM counters WHERE name = ?")?;
    query.query_row([name], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

fn set_counter(connection: &Connection, name: &str, value: u64) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached("UPDATE counters SET value = ? WHERE name = ?")?;
    update.execute(params![integer(value), name]).map(drop)
}

/// SQLite's integers have a sign; nobody counts as far as that.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
