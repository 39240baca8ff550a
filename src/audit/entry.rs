//! What an entry says, and who may read it.

use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::Hash;
use crate::{
    fabric::{Actor, Change, Event, Key, Revision},
    identity::Identity,
    model::Name,
};

/// 32 random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Salt(Hash);

/// Who asked for a change: somebody, or the controller itself as time passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// The controller.
    Controller,
    /// Somebody.
    Identity(Identity),
}

/// What was asked, and what became of it; of one transaction, the part that one audience may read.
///
/// What is asked, and the objects, are kept as JSON and not as the types of today: a log outlives
/// them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// When it was decided.
    pub when: Timestamp,
    pub who: Who,
    /// The operator whose objects this part is about; nobody's are the owner's.
    pub operator: Option<Name>,
    /// What was decided.
    pub decision: Decision,
    /// The changes that were asked for, as far as they are of this part.
    pub asked: Vec<Value>,
    /// The objects that became other ones.
    pub objects: Vec<Touched>,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Decision {
    /// It was done.
    Accepted {
        /// And is this revision of the fabric.
        revision: Revision,
    },
    /// It was not.
    Refused {
        /// The rule that is against it.
        rule: String,
        /// In a sentence.
        message: String,
        /// How many more of the same asker's were refused before this, and not written down one by
        /// one.
        besides: u64,
    },
}

/// An object that became another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Touched {
    pub key: String,
    /// What it was, if it was there.
    pub before: Value,
    /// What it is, if it is there.
    pub after: Value,
}

/// The entries of a transaction that was made; none, if all that changed is what agents report.
///
/// # Errors
/// An object can't be written as JSON. Each can.
pub fn accepted(
    who: &Who,
    when: Timestamp,
    revision: Revision,
    asked: &[Change],
    events: &[Event],
) -> Result<Vec<Entry>, serde_json::Error> {
    let mut parts: BTreeMap<Option<Name>, Entry> = BTreeMap::new();
    let new = |operator: Option<Name>| Entry {
        when,
        who: who.clone(),
        operator,
        decision: Decision::Accepted { revision },
        asked: Vec::new(),
        objects: Vec::new(),
    };
    for event in events.iter().filter(|event| is_change(event)) {
        let operator = event.key.operator().cloned();
        let part = parts.entry(operator).or_insert_with_key(|operator| new(operator.clone()));
        let value =
            |object: &Option<_>| object.as_deref().map_or(Ok(Value::Null), serde_json::to_value);
        part.objects.push(Touched {
            key: event.key.to_string(),
            before: value(&event.before)?,
            after: value(&event.after)?,
        });
    }
    for change in asked {
        // What was asked for and changed nothing is told where something else did.
        if let Some(part) = parts.get_mut(&audience(change)) {
            part.asked.push(serde_json::to_value(change)?);
        }
    }
    Ok(parts.into_values().collect())
}

/// The entry of a transaction that was refused. It is one, whatever was asked for: nothing has come
/// of it, so it is of whoever asked.
///
/// # Errors
/// A change can't be written as JSON. Each can.
pub fn refused(
    who: &Who,
    when: Timestamp,
    asked: &[Change],
    (rule, message): (&str, &str),
    besides: u64,
) -> Result<Entry, serde_json::Error> {
    Ok(Entry {
        when,
        who: who.clone(),
        operator: who.operator().cloned(),
        decision: Decision::Refused { rule: rule.to_owned(), message: message.to_owned(), besides },
        asked: asked.iter().map(serde_json::to_value).collect::<Result<_, _>>()?,
        objects: Vec::new(),
    })
}

/// Whether somebody may read an entry: the owner and the auditor all of them, an operator those
/// about its own objects, nobody else any.
pub fn is_visible(entry: &Entry, to: &Identity) -> bool {
    is_visible_of(entry.operator.as_ref(), to)
}

/// The same, of an entry that is about this operator's objects.
pub fn is_visible_of(operator: Option<&Name>, to: &Identity) -> bool {
    match to {
        Identity::Owner | Identity::Auditor => true,
        Identity::Operator(name) => operator == Some(name),
        Identity::Node(_) => false,
    }
}

/// Whether what is asked of an object became something else. What agents report changes conditions
/// alone, and is not for ever.
fn is_change(event: &Event) -> bool {
    match (&event.before, &event.after) {
        (Some(before), Some(after)) => before.revision != after.revision,
        _ => !matches!(event.key, Key::Tombstone(..)),
    }
}

/// Whose part a change belongs to.
fn audience(change: &Change) -> Option<Name> {
    match change {
        Change::Put(key, ..) | Change::Delete(key, _) => key.operator().cloned(),
        Change::Lease(owned, _) => Some(owned.operator.clone()),
        // It names the operator that gets the server. The one that had it sees what became of its
        // lease.
        Change::Transfer { to, .. } => Some(to.operator.clone()),
        Change::Trial { of, .. }
        | Change::Confirm(of)
        | Change::RollBack(of)
        | Change::Hold(of, _) => of.clone(),
        Change::Forget { .. } | Change::Report(_) | Change::Tick => None,
    }
}

impl Salt {
    /// A new one; `None` if the system gives no random numbers.
    pub fn random() -> Option<Self> {
        let mut bytes = [0; 32];
        rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).ok()?;
        Some(Self::from_bytes(bytes))
    }

    /// These bytes, for tests that must be repeatable. They have to be random and to be used once.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Hash(bytes))
    }
}

impl Who {
    fn operator(&self) -> Option<&Name> {
        match self {
            Self::Identity(identity) => identity.operator(),
            Self::Controller => None,
        }
    }
}

impl From<&Actor> for Who {
    fn from(actor: &Actor) -> Self {
        Self::Identity(match actor {
            Actor::Controller => return Self::Controller,
            Actor::Owner => Identity::Owner,
            Actor::Operator(name) => Identity::Operator(name.clone()),
            Actor::Node(name) => Identity::Node(name.clone()),
        })
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Controller => f.pad("controller"),
            Self::Identity(identity) => identity.fmt(f),
        }
    }
}

impl FromStr for Who {
    type Err = crate::model::InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "controller" { Ok(Self::Controller) } else { text.parse().map(Self::Identity) }
    }
}

impl Serialize for Who {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Who {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
