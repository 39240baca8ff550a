//! The log of a store that goes on: what proofs need is kept in memory, and what the entries say is
//! read when somebody asks for it.
//!
//! Of each entry there are its commitment and whose it is, some 100 bytes. What has come since is
//! read when it is asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};

use super::{
    CHECKPOINT_KEY, Checkpoint, Growth, Item, Log, NoteError, PREFIX, Proof, commitment, entry_key,
    is_visible_of,
};
use crate::{identity::Identity, model::Name, store::StoreError};

/// Behind all keys of the log: "0" comes after "/".
const END: &str = "audit0";
/// How much is read at once.
const BYTES: usize = 4 << 20;

/// Reads a range of a store: from a key, before another, up to so many bytes.
pub trait Read {
    /// What it has.
    fn read(
        &self,
        from: &str,
        before: &str,
        bytes: usize,
    ) -> impl Future<Output = Result<Vec<(String, String)>, StoreError>> + Send;
}

/// Why the log can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The checkpoint in the store is none.
    #[error(transparent)]
    Checkpoint(#[from] NoteError),
    /// What is under an entry's key is no entry.
    #[error("{key}: {error}")]
    Entry {
        key: String,
        /// What is wrong there.
        error: serde_json::Error,
    },
    /// An entry is missing before another.
    #[error("{there} is there, and {missing} is not")]
    Gap {
        /// The key of the one that is there.
        there: String,
        /// The key of the one that is not.
        missing: String,
    },
}

/// What is known of the log.
#[derive(Debug, Default)]
pub struct Archive {
    log: Log,
    /// Whose each entry is: a place in `operators`.
    audiences: Vec<u32>,
    /// The owner's are first.
    operators: Vec<Option<Name>>,
    places: BTreeMap<Option<Name>, u32>,
    checkpoint: Option<Checkpoint>,
}

/// What is read of a leaf when it is only put in its place.
#[derive(Deserialize)]
struct Leaf {
    entry: Audience,
    #[serde(flatten)]
    _rest: IgnoredAny,
}

#[derive(Deserialize)]
struct Audience {
    operator: Option<Name>,
}

/// Some entries of the log.
#[derive(Debug, Default)]
pub struct Page {
    /// Those that the reader may have; of the others the commitments, or nothing.
    pub items: Vec<(u64, Item)>,
    /// Where it goes on, if there is more.
    pub next: Option<u64>,
}

impl Archive {
    /// Reads what has come since.
    ///
    /// # Errors
    /// The store fails, or what it has is no log.
    pub async fn refresh(&mut self, store: &(impl Read + ?Sized)) -> Result<(), ArchiveError> {
        loop {
            let page = store.read(&entry_key(self.log.size()), END, BYTES).await?;
            // The checkpoint comes behind the entries: where it is there, it is of these.
            let is_last = page.last().is_none_or(|(key, _)| key.as_str() >= CHECKPOINT_KEY);
            for (key, value) in &page {
                if key == CHECKPOINT_KEY {
                    self.checkpoint = Some(Checkpoint::own(value)?);
                } else if *key == entry_key(self.log.size()) {
                    self.push(value)
                        .map_err(|error| ArchiveError::Entry { key: key.clone(), error })?;
                } else if key.strip_prefix(PREFIX).is_some_and(|place| place.parse::<u64>().is_ok())
                {
                    let missing = entry_key(self.log.size());
                    return Err(ArchiveError::Gap { there: key.clone(), missing });
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }

    fn push(&mut self, text: &str) -> Result<(), serde_json::Error> {
        let leaf: Leaf = serde_json::from_str(text)?;
        let operators = &mut self.operators;
        let audience = *self.places.entry(leaf.entry.operator).or_insert_with_key(|operator| {
            operators.push(operator.clone());
            u32::try_from(operators.len() - 1).unwrap_or(u32::MAX)
        });
        self.audiences.push(audience);
        self.log.push(commitment(text));
        Ok(())
    }

    /// How many entries there are.
    pub fn size(&self) -> u64 {
        self.log.size()
    }

    /// The newest checkpoint; none if nobody signs the log.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// Whether somebody may read an entry; nobody may one that is not there.
    pub fn is_visible(&self, at: u64, to: &Identity) -> bool {
        let operator = usize::try_from(at)
            .ok()
            .and_then(|at| self.audiences.get(at))
            .and_then(|audience| self.operators.get(usize::try_from(*audience).ok()?));
        operator.is_some_and(|operator| is_visible_of(operator.as_ref(), to))
    }

    /// At most so many entries from a place on; with `whole`, also those that the reader may not
    /// have, as their commitments.
    ///
    /// # Errors
    /// The store fails.
    pub async fn page(
        &self,
        store: &(impl Read + ?Sized),
        to: &Identity,
        (from, most): (u64, u64),
        whole: bool,
    ) -> Result<Page, StoreError> {
        let until = from.saturating_add(most).min(self.size());
        // What is read is bounded, whatever it is that stands there.
        let texts = store.read(&entry_key(from), &entry_key(until.max(from)), BYTES).await?;
        let mut page = Page::default();
        let mut at = from;
        for (_, text) in texts {
            if self.is_visible(at, to) {
                page.items.push((at, Item::Text(text)));
            } else if whole {
                page.items.push((at, Item::Commitment(commitment(&text))));
            }
            at += 1;
        }
        page.next = (at < self.size()).then_some(at);
        Ok(page)
    }

    /// A proof of an entry; none if there is no such one, the log was never so large, or nobody
    /// signs it.
    ///
    /// # Errors
    /// The store fails.
    pub async fn prove(
        &self,
        store: &(impl Read + ?Sized),
        at: u64,
        since: u64,
    ) -> Result<Option<Proof>, StoreError> {
        let Some(checkpoint) = &self.checkpoint else { return Ok(None) };
        let found = store.read(&entry_key(at), &entry_key(at.saturating_add(1)), 1).await?;
        Ok(found.first().and_then(|(_, text)| self.log.prove(at, text, since, checkpoint)))
    }

    /// That it has only grown since it had so many entries; none as for [`Self::prove`].
    pub fn grown(&self, since: u64) -> Option<Growth> {
        self.log.grown(since, self.checkpoint.as_ref()?)
    }
}
