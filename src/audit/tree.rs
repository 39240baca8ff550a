//! The tree as it grows: its right edge is all that is needed to append.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

/// The right edge of a tree of some size: the roots of the complete trees that it consists of, the
/// largest first. There are as many as the size has binary ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    size: u64,
    edge: Vec<Hash>,
}

/// What an entry's text is in the tree.
pub fn commitment(text: &str) -> Hash {
    Hash(Sha256::digest(text.as_bytes()).into())
}

/// Returns the tree that a store has under [`super::TREE_KEY`]; the empty one if there is none.
///
/// # Errors
/// It is not a tree.
pub fn restore(value: Option<&str>) -> Result<Tree, serde_json::Error> {
    let tree: Tree = value.map_or_else(|| Ok(Tree::default()), serde_json::from_str)?;
    if tree.size.count_ones() as usize != tree.edge.len() {
        return Err(de::Error::custom("the edge of the audit log's tree does not fit its size"));
    }
    Ok(tree)
}

impl Tree {
    /// How many entries there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root: RFC 9162 section 2.1.1.
    pub fn root(&self) -> Hash {
        let mut trees = self.edge.iter().rev().copied();
        let Some(last) = trees.next() else { return Hash(Sha256::digest(b"").into()) };
        trees.fold(last, |right, left| parent(left, right))
    }

    pub(super) fn push(&mut self, commitment: Hash) {
        let mut node = leaf(commitment);
        // Each binary one at the end of the size is a tree as large as the one that was just
        // completed.
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.edge.pop() else { break };
            node = parent(left, node);
        }
        self.edge.push(node);
        self.size += 1;
    }
}

fn leaf(commitment: Hash) -> Hash {
    Hash(Sha256::new_with_prefix([0]).chain_update(commitment.0).finalize().into())
}

fn parent(left: Hash, right: Hash) -> Hash {
    Hash(Sha256::new_with_prefix([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Hash {
    /// From base64.
    pub(super) fn parse(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("a hash is 32 bytes in base64"))
    }
}
