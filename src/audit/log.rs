//! The whole tree, for proofs: of each entry its commitment, and not the entry.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use sha2::Sha256;

use super::{Checkpoint, Growth, Hash, Proof};

/// The whole tree. It takes 96 bytes an entry.
#[derive(Debug, Clone, Default)]
pub struct Log(MemoryBackedTree<Sha256, Hash>);

impl Log {
    /// The tree of these commitments.
    pub fn new(commitments: impl IntoIterator<Item = Hash>) -> Self {
        let mut tree = MemoryBackedTree::new();
        commitments.into_iter().for_each(|commitment| tree.push(commitment));
        Self(tree)
    }

    /// One more.
    pub fn push(&mut self, commitment: Hash) {
        self.0.push(commitment);
    }

    /// How many entries there are.
    pub fn size(&self) -> u64 {
        self.0.len()
    }

    /// The root.
    pub fn root(&self) -> Hash {
        Hash((*self.0.root().as_bytes()).into())
    }

    /// Shows that an entry is in the log, and that the log has only grown since it had `since`
    /// entries. The checkpoint is the log's of now.
    ///
    /// Nothing if there is no such entry, or the log never was that large.
    pub fn prove(&self, at: u64, text: &str, since: u64, checkpoint: &Checkpoint) -> Option<Proof> {
        let consistency = self.consistency(since, checkpoint)?;
        if at >= self.size() {
            return None;
        }
        let inclusion = self.0.prove_inclusion(usize::try_from(at).ok()?);
        Some(Proof {
            sillon_audit_proof: Proof::FORMAT,
            at,
            text: text.to_owned(),
            inclusion: hashes(inclusion.as_bytes()),
            since,
            consistency,
            checkpoint: checkpoint.to_string(),
        })
    }

    /// Shows that the log has only grown since it had `since` entries. Nothing if it never was that
    /// large.
    pub fn grown(&self, since: u64, checkpoint: &Checkpoint) -> Option<Growth> {
        Some(Growth {
            sillon_audit_growth: Growth::FORMAT,
            since,
            consistency: self.consistency(since, checkpoint)?,
            checkpoint: checkpoint.to_string(),
        })
    }

    fn consistency(&self, since: u64, checkpoint: &Checkpoint) -> Option<Vec<Hash>> {
        let is_of_now = checkpoint.size() == self.size() && checkpoint.root() == self.root();
        if since > self.size() || !is_of_now {
            return None;
        }
        let added = usize::try_from(self.size() - since).ok()?;
        // From the empty log, and to itself, there is nothing to show.
        let nothing = since == 0 || added == 0;
        Some(if nothing { Vec::new() } else { hashes(self.0.prove_consistency(added).as_bytes()) })
    }
}

fn hashes(bytes: &[u8]) -> Vec<Hash> {
    bytes.as_chunks::<32>().0.iter().copied().map(Hash).collect()
}
