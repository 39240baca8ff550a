//! How a state is kept in a store, and what a commit tells.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Committed, ControllerError};
use crate::{
    audit::{self, Tree},
    fabric::{Actor, Event, Key, Object, Revision, State, restore_checked},
    store::{Batch, Store, StoreError, Version, Write},
};

/// The key under which each commit says what it is. No object's key begins so.
pub const RECORD: &str = "meta/commit";

/// What a commit says of itself. With what it writes, it tells the same to who was not there as
/// [`Committed`] does to who was.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    revision: Revision,
    when: Timestamp,
    who: Actor,
    /// What the objects were, if they were there.
    before: BTreeMap<Key, Arc<Object>>,
}

/// What a transaction writes.
///
/// # Errors
/// It can't be said in JSON.
pub fn writes(committed: &Committed) -> serde_json::Result<Vec<Write>> {
    let Committed { revision, when, who, events } = committed;
    let before = events.iter().filter_map(|event| Some((event.key.clone(), event.before.clone()?)));
    let record =
        Record { revision: *revision, when: *when, who: who.clone(), before: before.collect() };
    let mut all = Vec::with_capacity(events.len() + 1);
    for event in events {
        let value = event.after.as_deref().map(serde_json::to_string).transpose()?;
        all.push((event.key.to_string(), value));
    }
    all.push((RECORD.to_owned(), Some(serde_json::to_string(&record)?)));
    Ok(all)
}

/// The state that a store has, and what is known of the last transactions that led to it.
pub async fn load(
    store: &impl Store,
    history: usize,
) -> Result<(State, Tree, VecDeque<Arc<Committed>>), ControllerError> {
    // The log's entries would be most of it after a year, and nobody here reads them.
    let snapshot = store.snapshot_without(audit::ENTRIES).await?;
    let version = snapshot.version;
    let (mut record, mut tree) = (None, Tree::default());
    let mut objects = Vec::with_capacity(snapshot.entries.len());
    for (key, value) in &snapshot.entries {
        if key == RECORD {
            record = Some(read::<Record>(version, key, value)?);
        } else if key == audit::TREE_KEY {
            tree = read_tree(version, value)?;
        } else if key.starts_with(audit::PREFIX) {
            // Nobody here reads what is in the log.
        } else {
            objects.push((read_key(version, key)?, read(version, key, value)?));
        }
    }
    check_record(version, record.as_ref())?;
    let state = restore_checked(Revision(version.0), objects)
        .map_err(|refused| ControllerError::Rule { version, refused })?;
    Ok((state, tree, recent(store, version, history).await?))
}

fn check_record(version: Version, record: Option<&Record>) -> Result<(), ControllerError> {
    let what = match record {
        None if version == Version(0) => return Ok(()),
        Some(record) if record.revision.0 == version.0 => return Ok(()),
        None => "it is not there, so that the last commit was not a controller's".to_owned(),
        Some(record) => format!("it is of revision {}", record.revision),
    };
    Err(ControllerError::Record { key: RECORD.to_owned(), version, what })
}

/// The last transactions up to a version, as many as are known.
async fn recent(
    store: &impl Store,
    until: Version,
    most: usize,
) -> Result<VecDeque<Arc<Committed>>, ControllerError> {
    let mut all = VecDeque::new();
    let mut at = Version(until.0.saturating_sub(most as u64));
    while at < until {
        match store.after(at).await {
            Ok(batches) => {
                for batch in batches.into_iter().filter(|batch| batch.version <= until) {
                    at = batch.version;
                    all.push_back(Arc::new(read_batch(batch)?.committed));
                }
            }
            Err(StoreError::Compacted(first)) => at = first,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(all)
}

/// What a commit did.
pub struct ReadBatch {
    pub committed: Committed,
    /// The objects that it wrote.
    pub objects: Vec<(Key, Option<Object>)>,
    /// The audit log after it, if that has grown.
    pub tree: Option<Tree>,
}

/// What a commit did, and what it wrote.
pub fn read_batch(batch: Batch) -> Result<ReadBatch, ControllerError> {
    let version = batch.version;
    let (mut record, mut tree) = (None, None);
    let mut objects = Vec::with_capacity(batch.writes.len());
    for (key, value) in batch.writes {
        if key == RECORD {
            record = value.map(|value| read::<Record>(version, &key, &value)).transpose()?;
        } else if key == audit::TREE_KEY {
            tree = value.map(|value| read_tree(version, &value)).transpose()?;
        } else if key.starts_with(audit::PREFIX) {
            // Nobody here reads what is in the log.
        } else {
            let object = value.map(|value| read::<Object>(version, &key, &value)).transpose()?;
            objects.push((read_key(version, &key)?, object));
        }
    }
    check_record(version, record.as_ref())?;
    let Some(Record { revision, when, who, mut before }) = record else {
        // Version 0 is no commit.
        let what = "a commit of the empty store".to_owned();
        return Err(ControllerError::Record { key: RECORD.to_owned(), version, what });
    };
    objects.sort_by(|(one, _), (two, _)| one.cmp(two));
    let events = objects.iter().map(|(key, object)| Event {
        key: key.clone(),
        before: before.remove(key),
        after: object.clone().map(Arc::new),
    });
    let committed = Committed { revision, when, who, events: events.collect() };
    Ok(ReadBatch { committed, objects, tree })
}

fn read_tree(version: Version, value: &str) -> Result<Tree, ControllerError> {
    audit::restore(Some(value)).map_err(|error| ControllerError::Record {
        key: audit::TREE_KEY.to_owned(),
        version,
        what: error.to_string(),
    })
}

fn read_key(version: Version, key: &str) -> Result<Key, ControllerError> {
    key.parse().map_err(|invalid| ControllerError::Record {
        key: key.to_owned(),
        version,
        what: format!("{invalid}"),
    })
}

fn read<'v, T: Deserialize<'v>>(
    version: Version,
    key: &str,
    value: &'v str,
) -> Result<T, ControllerError> {
    serde_json::from_str(value).map_err(|error| ControllerError::Record {
        key: key.to_owned(),
        version,
        what: error.to_string(),
    })
}
