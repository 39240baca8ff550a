//! What an operator is given, and checks by itself.

use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{Checkpoint, Hash, Leaf, NoteError, VerifierKey, commitment};

/// That an entry is in the log, and that the log has only grown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Says what this is.
    pub sillon_audit_proof: u32,
    /// The entry's place.
    pub at: u64,
    /// The leaf's text.
    pub text: String,
    /// RFC 9162 section 2.1.3, from the leaf upwards.
    pub inclusion: Vec<Hash>,
    /// How many entries the log had that it has grown from.
    pub since: u64,
    /// RFC 9162 section 2.1.4, from that to the checkpoint.
    pub consistency: Vec<Hash>,
    /// The log's checkpoint.
    pub checkpoint: String,
}

/// That the log has only grown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Growth {
    /// Says what this is.
    pub sillon_audit_growth: u32,
    /// How many entries the log had that it has grown from.
    pub since: u64,
    /// RFC 9162 section 2.1.4, from that to the checkpoint.
    pub consistency: Vec<Hash>,
    /// The log's checkpoint.
    pub checkpoint: String,
}

impl Growth {
    /// The form of a growth.
    pub const FORMAT: u32 = 1;

    /// Checks it against the checkpoint that was kept, and gives the newer one.
    ///
    /// # Errors
    /// It proves nothing.
    pub fn verify(&self, key: &VerifierKey, kept: &Checkpoint) -> Result<Checkpoint, ProofError> {
        if self.sillon_audit_growth != Self::FORMAT {
            return Err(ProofError::Form(self.sillon_audit_growth));
        }
        let checkpoint = key.open(&self.checkpoint)?;
        continues(&checkpoint, kept, self.since, &self.consistency)?;
        Ok(checkpoint)
    }
}

/// Why a proof proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// It is of a form that is not known.
    #[error("the proof is of form {0}; this Sillon reads {known}", known = Proof::FORMAT)]
    Form(u32),
    /// Its checkpoint is none.
    #[error("the proof's checkpoint: {0}")]
    Note(#[from] NoteError),
    /// The entry is not in the log.
    #[error(
        "entry {0} is not in the log that the checkpoint is of: the entry, its place or the proof \
         was changed"
    )]
    Inclusion(u64),
    /// The entry can't be read.
    #[error("entry {at} can't be read: {error}")]
    Entry {
        /// Its place.
        at: u64,
        error: serde_json::Error,
    },
    /// The entry says that it has another place.
    #[error("entry {at} says that it is entry {says}")]
    Place {
        /// Where it is.
        at: u64,
        /// Where it says that it is.
        says: u64,
    },
    /// The proof is not from that checkpoint on.
    #[error(
        "the proof begins at {since} entries, and the checkpoint that was kept has {kept}; ask \
         for a proof since that checkpoint"
    )]
    Since {
        /// Where the proof begins.
        since: u64,
        /// Where the checkpoint is.
        kept: u64,
    },
    /// The log has fewer entries than it had.
    #[error(
        "the log has {now} entries, and had {kept} when the checkpoint was kept: it was truncated"
    )]
    Shrunk {
        /// How many it has.
        now: u64,
        /// How many it had.
        kept: u64,
    },
    /// The log is not what it was.
    #[error(
        "the log of {now} entries does not continue the one that the kept checkpoint is of \
         ({kept} entries): it was forked or rewritten. Keep both checkpoints: together they prove \
         it"
    )]
    Forked {
        /// How many it has.
        now: u64,
        /// How many it had.
        kept: u64,
    },
}

impl Proof {
    /// Of this type.
    pub const FORMAT: u32 = 1;

    /// Checks all of it, against a checkpoint that was kept if there is one, and gives the entry
    /// and the newer checkpoint.
    ///
    /// # Errors
    /// It proves nothing.
    pub fn verify(
        &self,
        key: &VerifierKey,
        kept: Option<&Checkpoint>,
    ) -> Result<(Leaf, Checkpoint), ProofError> {
        if self.sillon_audit_proof != Self::FORMAT {
            return Err(ProofError::Form(self.sillon_audit_proof));
        }
        let checkpoint = key.open(&self.checkpoint)?;
        let root = root(&checkpoint);
        let inclusion = InclusionProof::try_from_bytes(self.inclusion.as_flattened_bytes());
        let inclusion = inclusion.map_err(|_| ProofError::Inclusion(self.at))?;
        root.verify_inclusion(&commitment(&self.text), self.at, &inclusion)
            .map_err(|_| ProofError::Inclusion(self.at))?;
        let leaf: Leaf = serde_json::from_str(&self.text)
            .map_err(|error| ProofError::Entry { at: self.at, error })?;
        if leaf.at != self.at {
            return Err(ProofError::Place { at: self.at, says: leaf.at });
        }
        if let Some(kept) = kept {
            continues(&checkpoint, kept, self.since, &self.consistency)?;
        }
        Ok((leaf, checkpoint))
    }
}

/// Whether the log of one checkpoint is that of another one, with more behind it.
fn continues(
    now: &Checkpoint,
    kept: &Checkpoint,
    since: u64,
    consistency: &[Hash],
) -> Result<(), ProofError> {
    if kept.size() > now.size() {
        return Err(ProofError::Shrunk { now: now.size(), kept: kept.size() });
    }
    let forked = || ProofError::Forked { now: now.size(), kept: kept.size() };
    if kept.size() == now.size() {
        return if kept.root() == now.root() { Ok(()) } else { Err(forked()) };
    }
    if since != kept.size() {
        return Err(ProofError::Since { since, kept: kept.size() });
    }
    if kept.size() == 0 {
        // Every log continues the empty one.
        let is_empty = kept.root() == super::Tree::default().root() && consistency.is_empty();
        return if is_empty { Ok(()) } else { Err(forked()) };
    }
    let proof = ConsistencyProof::try_from_bytes(consistency.as_flattened_bytes());
    let proof = proof.map_err(|_| forked())?;
    root(now).verify_consistency(&root(kept), &proof).map_err(|_| forked())
}

fn root(checkpoint: &Checkpoint) -> RootHash<Sha256> {
    RootHash::new(checkpoint.root().0.into(), checkpoint.size())
}

trait Flattened {
    fn as_flattened_bytes(&self) -> Vec<u8>;
}

impl Flattened for [Hash] {
    fn as_flattened_bytes(&self) -> Vec<u8> {
        self.iter().flat_map(|hash| hash.0).collect()
    }
}
