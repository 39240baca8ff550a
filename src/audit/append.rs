//! What is written when entries are added to the log: the leaves, and what seals them.

use serde::{Deserialize, Serialize};

use super::{
    CHECKPOINT_KEY, TREE_KEY,
    checkpoint::Signer,
    entry::{Entry, Salt},
    entry_key,
    tree::{Hash, Tree, commitment},
};
use crate::store::Write;

/// What is written of an entry, and what its commitment is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    pub at: u64,
    /// The root of all entries before it.
    pub previous: Hash,
    /// So that its commitment tells nothing of it.
    pub salt: Salt,
    /// What happened.
    pub entry: Entry,
}

/// [`Leaf`], of what is there.
#[derive(Serialize)]
struct LeafOf<'e> {
    at: u64,
    previous: Hash,
    salt: &'e Salt,
    entry: &'e Entry,
}

/// Puts entries behind the others, and gives the next tree and what has to be written, in the same
/// commit as what the entries tell of. Before anybody sees it, what [`seal`] gives has to be
/// written, too.
///
/// It is pure: the salts come with the entries. A controller that lost a race adds to the tree that
/// it reads then.
///
/// # Errors
/// An entry can't be written as JSON. Each can.
pub fn add(
    tree: &Tree,
    entries: &[(Entry, Salt)],
) -> Result<(Vec<Write>, Tree), serde_json::Error> {
    let mut next = tree.clone();
    let mut writes = Vec::with_capacity(entries.len());
    for (entry, salt) in entries {
        let leaf = LeafOf { at: next.size(), previous: next.root(), salt, entry };
        let text = serde_json::to_string(&leaf)?;
        next.push(commitment(&text));
        writes.push((entry_key(leaf.at), Some(text)));
    }
    Ok((writes, next))
}

/// What seals it: the tree's right edge and, if somebody signs, its checkpoint.
///
/// # Errors
/// None: hashes can be written as JSON.
pub fn seal(tree: &Tree, signer: Option<&Signer>) -> Result<Vec<Write>, serde_json::Error> {
    let mut writes = vec![(TREE_KEY.to_owned(), Some(serde_json::to_string(tree)?))];
    writes.extend(
        signer.map(|signer| (CHECKPOINT_KEY.to_owned(), Some(signer.sign(tree).to_string()))),
    );
    Ok(writes)
}
