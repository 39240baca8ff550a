//! What the audit log gets of each request: an entry in the commit that makes the change, or, of
//! one that was refused, in a commit of its own.
//!
//! A commit of a refusal changes no object, and counts as a revision as others do. So it is as safe
//! as a change, and whoever follows the store sees that nothing is missing. That whoever asks for
//! nonsense all day does not fill the disk, refusals are limited for each asker: what is above that
//! is only counted, and the next entry says how many there were. What was asked for is kept up to a
//! length.

use std::{collections::HashMap, num::NonZeroU32};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Committed;
use crate::{
    audit::{self, Decision, Entry, Salt, Tree, Who},
    fabric::{Change, Refused, Revision},
    store::Write,
};

/// Refusals of one asker that are written down at once.
const AT_ONCE: NonZeroU32 = NonZeroU32::new(30).unwrap();
/// And then so many a minute.
const A_MINUTE: NonZeroU32 = NonZeroU32::new(2).unwrap();
/// What was asked for and refused is kept if it is not longer than this, as JSON.
const LONGEST: usize = 4096;

/// Why a commit can't be written as the store has it.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("what is committed can't be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the system gives no random numbers")]
    NoRandom,
}

/// What is added to a commit.
pub type Added = (Vec<Write>, Tree);

/// Why something was refused.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The rule that is against it, in a word.
    pub rule: String,
    /// In a sentence.
    pub message: String,
    /// How many more of the same asker's were refused before, and not written down.
    pub besides: u64,
}

/// Whether the audit log says that a request was refused. It is decided once, however often the
/// request is planned again.
#[derive(Debug, Clone, Copy, Default)]
pub enum RefusalLog {
    #[default]
    Undecided,
    /// There were too many of the same asker's: it is only counted.
    Counted,
    /// It is written down, and that so many before it were only counted.
    Written { suppressed: u64 },
}

/// What decides which refusals are written down.
pub struct AuditWriter {
    limits: DefaultKeyedRateLimiter<String>,
    /// Of whom there were more refusals than were written down.
    besides: HashMap<String, u64>,
}

impl Default for AuditWriter {
    fn default() -> Self {
        let quota = Quota::per_minute(A_MINUTE).allow_burst(AT_ONCE);
        Self { limits: RateLimiter::keyed(quota), besides: HashMap::new() }
    }
}

impl AuditWriter {
    /// Decides whether a refusal is written down.
    pub fn decide(&mut self, who: &Who) -> RefusalLog {
        let who = who.to_string();
        if self.limits.check_key(&who).is_ok() {
            return RefusalLog::Written { suppressed: self.besides.remove(&who).unwrap_or(0) };
        }
        *self.besides.entry(who).or_default() += 1;
        RefusalLog::Counted
    }
}

/// The entries of what was made.
pub fn accepted(
    tree: &Tree,
    committed: &Committed,
    asked: &[Change],
) -> Result<Added, EncodeError> {
    let Committed { revision, when, who, events } = committed;
    let entries = audit::accepted(&Who::from(who), *when, *revision, asked, events);
    add(tree, entries?)
}

/// The entry of what was refused.
pub fn refused(
    tree: &Tree,
    (who, when): (&Who, Timestamp),
    asked: &[Change],
    Refusal { rule, message, besides }: &Refusal,
) -> Result<Added, EncodeError> {
    let mut entry: Entry = audit::refused(who, when, asked, (rule, message), *besides)?;
    shorten(&mut entry);
    add(tree, vec![entry])
}

fn add(tree: &Tree, entries: Vec<Entry>) -> Result<Added, EncodeError> {
    let salted: Option<Vec<_>> =
        entries.into_iter().map(|entry| Salt::random().map(|salt| (entry, salt))).collect();
    Ok(audit::add(tree, &salted.ok_or(EncodeError::NoRandom)?)?)
}

fn shorten(entry: &mut Entry) {
    let length = Value::from(entry.asked.clone()).to_string().len();
    if length > LONGEST {
        entry.asked =
            vec![json!({ "left_out": { "changes": entry.asked.len(), "bytes": length } })];
    }
    if let Decision::Refused { message, .. } = &mut entry.decision
        && message.len() > LONGEST
    {
        message.truncate(message.floor_char_boundary(LONGEST));
    }
}

/// The rule that is against it, in a word.
pub fn rule(refused: &Refused) -> String {
    let value = serde_json::to_value(refused.rule).ok();
    value.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A commit in which only an entry was written.
pub fn nothing_changed(
    revision: Revision,
    when: Timestamp,
    who: &crate::fabric::Actor,
) -> Committed {
    Committed { revision, when, who: who.clone(), events: Vec::new() }
}
