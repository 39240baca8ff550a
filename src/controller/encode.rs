//! What is decided, and yet to be written as the store has it: as JSON, with its entries in the
//! audit log.
//!
//! It is written for a whole chain of commits, and only once that is on its way: what is planned
//! again is not written again. A third thread for that was tried, on two CPUs, and seemed to make
//! it slower (docs/adr/0013-one-writer-that-plans-ahead.md).

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    Committed,
    audit_writer::{self, EncodeError, Refusal},
    codec,
};
use crate::{
    audit::{self, Signer, Tree, Who},
    fabric::Change,
    store::{Commit, Leadership, Version},
};

/// A commit that is decided.
pub struct Draft {
    pub committed: Arc<Committed>,
    pub held: Option<Leadership>,
    /// What was asked for.
    pub asked: Vec<Change>,
    /// If that was refused: to whom, and why. Then nothing but this is written.
    pub refused: Option<(Who, Refusal)>,
}

/// What a chain writes, and the audit log after each of its commits.
pub type Written = (Vec<Commit>, Vec<Tree>);

/// Writes a chain behind an audit log.
///
/// The log's edge and checkpoint are written where the store may be seen: with each commit, or, if
/// it makes a chain's commits together (`whole`), with the last. One that has to hold something may
/// end a chain, so that all before it has to be signed.
///
/// # Errors
/// It can't be written: a value can't be said in JSON, or there are no random numbers.
pub fn write(
    drafts: &[Draft],
    tree: Tree,
    signer: Option<&Signer>,
    whole: bool,
) -> Result<Written, EncodeError> {
    let (mut commits, mut trees) =
        (Vec::with_capacity(drafts.len()), Vec::with_capacity(drafts.len()));
    let (mut tree, mut sealed) = (tree.clone(), tree);
    for (index, draft) in drafts.iter().enumerate() {
        let mut writes = codec::writes(&draft.committed)?;
        let (entries, grown) = entries(draft, &tree)?;
        writes.extend(entries);
        let may_be_last = drafts.get(index + 1).is_none_or(|next| next.held.is_some());
        if (may_be_last || !whole) && grown != sealed {
            writes.extend(audit::seal(&grown, signer)?);
            sealed = grown.clone();
        }
        tree = grown;
        trees.push(tree.clone());
        let expected = Version(draft.committed.revision.0.saturating_sub(1));
        commits.push(Commit { expected, held: draft.held.clone(), writes });
    }
    Ok((commits, trees))
}

/// What a commit adds to the audit log.
fn entries(draft: &Draft, tree: &Tree) -> Result<audit_writer::Added, EncodeError> {
    let when: Timestamp = draft.committed.when;
    match &draft.refused {
        None => audit_writer::accepted(tree, &draft.committed, &draft.asked),
        Some((who, refusal)) => audit_writer::refused(tree, (who, when), &draft.asked, refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::{CHECKPOINT_KEY, TREE_KEY},
        controller::audit_writer::nothing_changed,
        fabric::{Actor, Revision},
    };

    /// A refusal has an entry; what changed nothing that anybody asked for has none.
    fn draft(revision: u64, has_entry: bool, held: Option<Leadership>) -> Draft {
        let committed = nothing_changed(Revision(revision), Timestamp::UNIX_EPOCH, &Actor::Owner);
        let refusal =
            Refusal { rule: "vni".to_owned(), message: "none is free".to_owned(), besides: 0 };
        let refused = has_entry.then_some((Who::Controller, refusal));
        Draft { committed: Arc::new(committed), held, asked: Vec::new(), refused }
    }

    fn sealed(written: &Written, signer: &Signer) -> Vec<u64> {
        let (commits, trees) = written;
        let mut sealed = Vec::new();
        for (commit, tree) in commits.iter().zip(trees) {
            let has =
                |of: &str| commit.writes.iter().find(|(key, _)| key == of).map(|(_, value)| value);
            assert_eq!(has(TREE_KEY).is_some(), has(CHECKPOINT_KEY).is_some());
            let Some(Some(checkpoint)) = has(CHECKPOINT_KEY) else { continue };
            let checkpoint = signer.verifier().open(checkpoint).unwrap();
            assert_eq!((checkpoint.size(), checkpoint.root()), (tree.size(), tree.root()));
            sealed.push(commit.expected.0 + 1);
        }
        sealed
    }

    #[test]
    fn the_log_is_signed_wherever_a_chain_may_end_and_nowhere_else() {
        let signer = Signer::generate("north").unwrap();
        let held = Leadership { name: "l".to_owned(), holder: "one".to_owned(), term: 1 };
        let drafts = [
            draft(1, true, None),
            draft(2, true, None),
            // It may be refused: what comes before it has to be signed.
            draft(3, true, Some(held)),
            draft(4, true, None),
            // Its chain's last entry is not its own.
            draft(5, false, None),
        ];
        let write = |whole| write(&drafts, Tree::default(), Some(&signer), whole).unwrap();
        assert_eq!(sealed(&write(true), &signer), [2, 5]);
        assert_eq!(sealed(&write(false), &signer), [1, 2, 3, 4]);
        let (commits, trees) = write(true);
        assert!(trees.iter().map(Tree::size).eq([1, 2, 3, 4, 4]));
        assert!(commits.iter().map(|commit| commit.expected.0).eq(0..5));
    }
}
