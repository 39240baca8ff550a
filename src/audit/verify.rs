//! Whether a log is what it was.

use std::fmt;

use super::{Checkpoint, Export, Hash, NoteError, Tree, VerifierKey};

/// What is wrong with a log. The first thing that is wrong with its entries is told, since nothing
/// can be said of what stands on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Entries are missing.
    Missing {
        /// The first that is.
        from: u64,
        /// The next that is there.
        until: u64,
    },
    /// An entry is where another one should be.
    Misplaced {
        /// Where it is.
        place: u64,
        /// Where it says that it belongs.
        says: u64,
    },
    /// An entry can't be read.
    Unreadable { at: u64, why: String },
    /// An entry was changed, or what the next one says of it.
    Changed { at: u64 },
    /// The log's own checkpoint is none.
    Checkpoint(NoteError),
    /// There are fewer entries than were signed.
    Truncated {
        /// How many there are.
        entries: u64,
        /// How many were signed.
        signed: u64,
    },
    /// There are more entries than were signed.
    Unsigned {
        /// How many there are.
        entries: u64,
        /// How many were signed.
        signed: u64,
    },
    /// The entries are not those that were signed.
    Rewritten {
        /// Up to here they are those of a checkpoint that was kept.
        after: u64,
        /// The log's own checkpoint says how many were signed.
        signed: u64,
    },
    /// The entries are not those of a checkpoint that was kept.
    Forked {
        /// Up to here they are those of a checkpoint that was kept.
        after: u64,
        /// The checkpoint that says something else.
        kept: u64,
    },
    /// Two checkpoints of one size, both signed, say different things.
    TwoHistories {
        /// Of which size.
        size: u64,
    },
}

/// Holds a log against itself, its own checkpoint, and the checkpoints that somebody kept. Finds
/// nothing if all is well.
pub fn verify(export: &Export, key: &VerifierKey, kept: &[Checkpoint]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let own = key
        .open(&export.checkpoint)
        .map_err(|error| findings.push(Finding::Checkpoint(error)))
        .ok();
    let all: Vec<&Checkpoint> = kept.iter().chain(&own).collect();
    two_histories(&all, &mut findings);
    let (roots, wrong) = walk(export);
    if let Some(wrong) = wrong {
        findings.push(wrong);
        return findings;
    }
    against(&roots, kept, own.as_ref(), &mut findings);
    findings
}

fn two_histories(all: &[&Checkpoint], findings: &mut Vec<Finding>) {
    let mut sorted: Vec<_> = all.iter().map(|one| (one.size(), one.root())).collect();
    sorted.sort_by_key(|(size, _)| *size);
    for pair in sorted.windows(2) {
        if pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1 {
            findings.push(Finding::TwoHistories { size: pair[0].0 });
        }
    }
}

/// The root at each size, from 0, and what is wrong with the entries by themselves.
fn walk(export: &Export) -> (Vec<Hash>, Option<Finding>) {
    let mut tree = Tree::default();
    let mut roots = vec![tree.root()];
    for (place, (at, item)) in export.items.iter().enumerate() {
        let place = place as u64;
        if *at > place {
            return (roots, Some(Finding::Missing { from: place, until: *at }));
        }
        if *at < place {
            return (roots, Some(Finding::Misplaced { place, says: *at }));
        }
        match item.leaf() {
            Some(Err(error)) => {
                return (roots, Some(Finding::Unreadable { at: place, why: error.to_string() }));
            }
            Some(Ok(leaf)) if leaf.at != place => {
                return (roots, Some(Finding::Misplaced { place, says: leaf.at }));
            }
            Some(Ok(leaf)) if leaf.previous != tree.root() => {
                return (roots, Some(Finding::Changed { at: place.saturating_sub(1) }));
            }
            _ => {}
        }
        tree.push(item.commitment());
        roots.push(tree.root());
    }
    (roots, None)
}

fn against(
    roots: &[Hash],
    kept: &[Checkpoint],
    own: Option<&Checkpoint>,
    findings: &mut Vec<Finding>,
) {
    let entries = roots.len() as u64 - 1;
    let at = |size: u64| usize::try_from(size).ok().and_then(|size| roots.get(size));
    let fits = |one: &&Checkpoint| at(one.size()) == Some(&one.root());
    // Up to here, somebody has seen the same.
    let seen = |before: u64| {
        kept.iter()
            .filter(fits)
            .map(Checkpoint::size)
            .filter(|size| *size < before)
            .max()
            .unwrap_or(0)
    };
    if let Some(own) = own {
        let signed = own.size();
        if signed > entries {
            findings.push(Finding::Truncated { entries, signed });
        } else if !fits(&own) {
            findings.push(Finding::Rewritten { after: seen(signed), signed });
        } else if signed < entries {
            findings.push(Finding::Unsigned { entries, signed });
        }
    }
    for one in kept {
        let signed = one.size();
        if signed > entries {
            findings.push(Finding::Truncated { entries, signed });
        } else if !fits(&one) {
            findings.push(Finding::Forked { after: seen(signed), kept: signed });
        }
    }
    findings.dedup();
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { from, until } if from + 1 == *until => {
                write!(f, "entry {from} is missing")
            }
            Self::Missing { from, until } => {
                write!(f, "entries {from} to {} are missing", until - 1)
            }
            Self::Misplaced { place, says } => write!(
                f,
                "at place {place} there is entry {says}: entries were reordered, or one is there \
                 twice"
            ),
            Self::Unreadable { at, why } => write!(f, "entry {at} can't be read: {why}"),
            Self::Changed { at } => {
                write!(
                    f,
                    "entry {at} was changed, or what entry {} says of the log before it",
                    at + 1
                )
            }
            Self::Checkpoint(error) => write!(f, "the log's own checkpoint: {error}"),
            Self::Truncated { entries, signed } => {
                write!(
                    f,
                    "there are {entries} entries, and {signed} were signed: the log was truncated"
                )
            }
            Self::Unsigned { entries, signed } => {
                write!(
                    f,
                    "there are {entries} entries, and only {signed} were signed: entries were added"
                )
            }
            Self::Rewritten { after, signed } => {
                write!(
                    f,
                    "of the entries {after} to {}, one or more are not those that were signed",
                    signed - 1
                )
            }
            Self::Forked { after, kept } => write!(
                f,
                "of the entries {after} to {}, one or more are not those of the checkpoint that \
                 was kept at {kept} entries: the log was forked or rewritten",
                kept.saturating_sub(1)
            ),
            Self::TwoHistories { size } => write!(
                f,
                "two different logs of {size} entries were signed: the log was forked. Keep both \
                 checkpoints: together they prove it"
            ),
        }
    }
}
