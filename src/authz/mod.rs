//! Who may do what: one table. What is not in it is refused.
//!
//! An operator must not be able to tell whether what is another's exists. So:
//!
//! - What it may not read is not there: [`Decision::Hidden`] is answered as a name is that nobody
//!   has.
//! - What it may not change is refused by its kind and name alone, whether it is there or not.
//! - A rule of the fabric that is against its change may have to do with others' objects:
//!   [`refusal`] tells it what it may know.
//! - A port that it may attach to may be granted to others as well: [`view`] leaves them out.
#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;
mod visibility;

pub use self::visibility::{keys, refusal, view, without_others};
use crate::{
    fabric::{Change, Key, Kind, LeaseStep, State},
    identity::Identity,
    model::{Name, PortRole},
};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Read one object.
    Get,
    /// Read those of a kind that may be read.
    List,
    /// Be told of changes of those of a kind that may be read.
    Watch,
    /// Make an object, or ask something else of it.
    Put,
    /// Ask something else of a part of it.
    Patch,
    /// Remove it.
    Delete,
    /// Take the offer of a lease.
    Accept,
    /// End a lease.
    Drain,
    /// End the quarantine of a lease; or have what is on trial stay, which who puts something on
    /// trial may as well.
    Confirm,
    /// Take back what is on trial.
    RollBack,
    /// Take a server from who has it, and offer it to another.
    Transfer,
    /// Read what a node shall do.
    Desired,
    /// Tell what a node did.
    Report,
    /// Read what was counted.
    Count,
}

impl Verb {
    /// All of them, in the order of the table's columns.
    pub const ALL: [Self; 14] = [
        Self::Get,
        Self::List,
        Self::Watch,
        Self::Put,
        Self::Patch,
        Self::Delete,
        Self::Accept,
        Self::Drain,
        Self::Confirm,
        Self::RollBack,
        Self::Transfer,
        Self::Desired,
        Self::Report,
        Self::Count,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Accept => "accept",
            Self::Drain => "drain",
            Self::Confirm => "confirm",
            Self::RollBack => "roll back",
            Self::Transfer => "transfer",
            Self::Desired => "read the desired state of",
            Self::Report => "report",
            Self::Count => "read the counters of",
        }
    }
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is done.
    Allowed,
    /// It is refused, and whether the object is there is not looked at.
    Forbidden,
    /// For the asker there is no such object.
    Hidden,
}

/// What an object is to who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    /// It is the asker's: an operator and what it made or was offered; a node itself. Everything is
    /// the owner's and the auditor's.
    Own,
    /// The owner's, but an operator has to do with it: a server that a lease or an offer names, and
    /// its ports; a port that is granted to it.
    Near,
    /// Neither, or it is not there.
    Other,
}

const Y: Decision = Decision::Allowed;
const N: Decision = Decision::Forbidden;
const H: Decision = Decision::Hidden;

/// The verbs of one row.
type Verbs = &'static [Verb];
const READ: Verbs = &[Verb::Get];
const FOLLOW: Verbs = &[Verb::List, Verb::Watch];
const WRITE: Verbs = &[Verb::Put, Verb::Patch, Verb::Delete];
const ACCEPT: Verbs = &[Verb::Accept];
const STEER: Verbs = &[Verb::Drain, Verb::Confirm];
const TRY: Verbs = &[Verb::Confirm, Verb::RollBack];
const TRANSFER: Verbs = &[Verb::Transfer];
const DESIRED: Verbs = &[Verb::Desired];
const REPORT: Verbs = &[Verb::Report];
const COUNT: Verbs = &[Verb::Count];

/// The cells of one row, in the order of the table's columns.
type Cells = [Decision; 7];

/// The table. A kind and a verb are in one row at most; where there is none, nobody may.
///
/// Of `list` and `watch` only the columns "own" count: nothing is listed or told that may not be
/// got.
#[rustfmt::skip]
const TABLE: &[(Kind, Verbs, Cells)] = &[
    //                           owner  auditor  operator: own  near  other  node: own  other
    (Kind::Operator,   READ,     [Y,    Y,                 Y,   H,    H,           N,   N]),
    (Kind::Operator,   FOLLOW,   [Y,    Y,                 Y,   Y,    Y,           N,   N]),
    (Kind::Operator,   WRITE,    [Y,    N,                 N,   N,    N,           N,   N]),

    (Kind::Node,       READ,     [Y,    Y,                 N,   N,    N,           Y,   N]),
    (Kind::Node,       FOLLOW,   [Y,    Y,                 N,   N,    N,           N,   N]),
    (Kind::Node,       WRITE,    [Y,    N,                 N,   N,    N,           N,   N]),
    (Kind::Node,       DESIRED,  [Y,    Y,                 N,   N,    N,           Y,   N]),
    (Kind::Node,       REPORT,   [N,    N,                 N,   N,    N,           Y,   N]),

    (Kind::Port,       READ,     [Y,    Y,                 H,   Y,    H,           N,   N]),
    (Kind::Port,       FOLLOW,   [Y,    Y,                 Y,   Y,    Y,           N,   N]),
    (Kind::Port,       WRITE,    [Y,    N,                 N,   N,    N,           N,   N]),

    (Kind::Server,     READ,     [Y,    Y,                 H,   Y,    H,           N,   N]),
    (Kind::Server,     FOLLOW,   [Y,    Y,                 Y,   Y,    Y,           N,   N]),
    (Kind::Server,     WRITE,    [Y,    N,                 N,   N,    N,           N,   N]),
    (Kind::Server,     TRANSFER, [Y,    N,                 N,   N,    N,           N,   N]),

    (Kind::Lease,      READ,     [Y,    Y,                 Y,   H,    H,           N,   N]),
    (Kind::Lease,      FOLLOW,   [Y,    Y,                 Y,   Y,    Y,           N,   N]),
    (Kind::Lease,      WRITE,    [Y,    N,                 N,   N,    N,           N,   N]),
    (Kind::Lease,      ACCEPT,   [Y,    N,                 Y,   N,    N,           N,   N]),
    (Kind::Lease,      STEER,    [Y,    N,                 N,   N,    N,           N,   N]),

    (Kind::Profile,    READ,     [Y,    Y,                 Y,   H,    H,           N,   N]),
    (Kind::Profile,    FOLLOW,   [Y,    Y,                 Y,   Y,    Y,           N,   N]),
    (Kind::Profile,    WRITE,    [Y,    N,                 Y,   N,    N,           N,   N]),

    (Kind::Segment,    READ,     [Y,    Y,                 Y,   H,    H,           N,   N]),
    (Kind::Segment,    FOLLOW,   [Y,    Y,                 Y,   Y,    Y,           N,   N]),
    (Kind::Segment,    WRITE,    [Y,    N,                 Y,   N,    N,           N,   N]),

    (Kind::Attachment, READ,     [Y,    Y,                 Y,   H,    H,           N,   N]),
    (Kind::Attachment, FOLLOW,   [Y,    Y,                 Y,   Y,    Y,           N,   N]),
    (Kind::Attachment, WRITE,    [Y,    N,                 Y,   N,    N,           N,   N]),
    // How much an operator carries is its own business, and of who carries it.
    (Kind::Attachment, COUNT,    [Y,    N,                 Y,   N,    N,           N,   N]),

    (Kind::Tombstone,  READ,     [Y,    Y,                 N,   N,    N,           N,   N]),
    (Kind::Tombstone,  FOLLOW,   [Y,    Y,                 N,   N,    N,           N,   N]),

    (Kind::Trial,      READ,     [Y,    Y,                 Y,   H,    H,           N,   N]),
    (Kind::Trial,      FOLLOW,   [Y,    Y,                 Y,   Y,    Y,           N,   N]),
    (Kind::Trial,      TRY,      [Y,    N,                 Y,   N,    N,           N,   N]),
];

/// What the table says.
fn look_up(who: &Identity, relation: Relation, verb: Verb, kind: Kind) -> Decision {
    let row = TABLE.iter().find(|(of, verbs, _)| *of == kind && verbs.contains(&verb));
    let Some((_, _, cells)) = row else { return N };
    let [owner, auditor, own, near, other, node, other_node] = *cells;
    match (who, relation) {
        (Identity::Owner, _) => owner,
        (Identity::Auditor, _) => auditor,
        (Identity::Operator(_), Relation::Own) => own,
        (Identity::Operator(_), Relation::Near) => near,
        (Identity::Operator(_), Relation::Other) => other,
        (Identity::Node(_), Relation::Own) => node,
        (Identity::Node(_), _) => other_node,
    }
}

/// What is asked of the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// An entry about the asker's own objects.
    Own,
    /// Any other entry.
    Other,
    /// How large it is, its checkpoint, and that it has only grown. It is how everybody sees that
    /// nothing was rewritten.
    Log,
}

/// Who may read what of the audit log. Nobody may write it.
#[rustfmt::skip]
const AUDIT: &[(Record, [Decision; 4])] = &[
    //               owner  auditor  operator  node
    (Record::Own,   [Y,     Y,       Y,        N]),
    (Record::Other, [Y,     Y,       H,        N]),
    (Record::Log,   [Y,     Y,       Y,        N]),
];

/// Whether somebody may read something of the audit log.
pub fn may_audit(who: &Identity, record: Record) -> Decision {
    let Some((_, cells)) = AUDIT.iter().find(|(of, _)| *of == record) else { return N };
    let [owner, auditor, operator, node] = *cells;
    match who {
        Identity::Owner => owner,
        Identity::Auditor => auditor,
        Identity::Operator(_) => operator,
        Identity::Node(_) => node,
    }
}

/// Whether somebody may do something with an object, whether it is there or not.
pub fn may(who: &Identity, verb: Verb, key: &Key, state: &State) -> Decision {
    look_up(who, relation(who, key, state), verb, key.kind())
}

/// Whether somebody may ask for the objects of a kind at all. What it then gets is what it may
/// [`Verb::Get`].
pub fn may_ask(who: &Identity, verb: Verb, kind: Kind) -> Decision {
    look_up(who, Relation::Own, verb, kind)
}

/// Whether somebody may make a change. It goes by the names in it alone, so that the answer tells
/// nothing of the state.
///
/// # Errors
/// What it may not, in a sentence.
pub fn may_change(who: &Identity, change: &Change) -> Result<(), Denied> {
    let (verb, key) = match change {
        Change::Put(key, ..) => (Verb::Put, key.clone()),
        Change::Delete(key, _) => (Verb::Delete, key.clone()),
        Change::Lease(owned, LeaseStep::Accept) => (Verb::Accept, Key::Lease(owned.clone())),
        Change::Lease(owned, LeaseStep::Drain(_)) => (Verb::Drain, Key::Lease(owned.clone())),
        Change::Lease(owned, LeaseStep::Confirm) => (Verb::Confirm, Key::Lease(owned.clone())),
        Change::Transfer { server, .. } => (Verb::Transfer, Key::Server(server.clone())),
        // What it frees is the owner's to free, as the node is to remove.
        Change::Forget { node } => (Verb::Delete, Key::Node(node.clone())),
        Change::Report(report) => (Verb::Report, Key::Node(report.node.clone())),
        Change::Trial { of, .. } | Change::Confirm(of) => (Verb::Confirm, Key::Trial(of.clone())),
        Change::RollBack(of) => (Verb::RollBack, Key::Trial(of.clone())),
        Change::Tick => return Err(Denied("nobody can make time pass".to_owned())),
        Change::Hold(..) => {
            return Err(Denied("only the controller says why nothing was taken back".to_owned()));
        }
    };
    may_by_name(who, verb, &key)
}

/// Whether somebody may do something that is not only to read, going by the name alone.
///
/// # Errors
/// What it may not, in a sentence.
pub fn may_by_name(who: &Identity, verb: Verb, key: &Key) -> Result<(), Denied> {
    let relation = if is_own(who, key) { Relation::Own } else { Relation::Other };
    match look_up(who, relation, verb, key.kind()) {
        Decision::Allowed => Ok(()),
        Decision::Forbidden | Decision::Hidden => {
            Err(Denied(format!("{who} may not {} {key}", verb.as_str())))
        }
    }
}

/// What somebody may not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(pub String);

/// What an object is to somebody.
pub fn relation(who: &Identity, key: &Key, state: &State) -> Relation {
    match who {
        _ if is_own(who, key) => Relation::Own,
        Identity::Operator(operator) if is_near(operator, key, state) => Relation::Near,
        _ => Relation::Other,
    }
}

/// What the name alone says.
fn is_own(who: &Identity, key: &Key) -> bool {
    match who {
        Identity::Owner | Identity::Auditor => true,
        Identity::Operator(operator) => key.operator() == Some(operator),
        Identity::Node(node) => matches!(key, Key::Node(name) if name == node),
    }
}

/// Whether the operator rents it, is offered it, or has it granted.
fn is_near(operator: &Name, key: &Key, state: &State) -> bool {
    match key {
        // A lease that is released no longer refers to its server.
        Key::Server(_) => state
            .referrers(key)
            .any(|user| matches!(user, Key::Lease(owned) if owned.operator == *operator)),
        Key::Port(port) => {
            let granted = state.port(port).is_some_and(|spec| {
                spec.role == PortRole::Handover && spec.grants.contains_key(operator)
            });
            let server = || state.server_at(port).cloned().map(Key::Server);
            granted || server().is_some_and(|server| is_near(operator, &server, state))
        }
        _ => false,
    }
}
