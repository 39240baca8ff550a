//! The audit log: what was changed, by whom, in a form that nobody can rewrite unseen, not even the
//! owner.
//!
//! Every change that was accepted or refused is an [`Entry`]. A transaction makes one entry for
//! each audience: what it did to the objects of the owner alone, and what it did to each
//! operator's. So an operator can be given its entries whole, and nothing of them is another's.
//!
//! An entry with its place, the root of the tree before it and a random salt is a text, the
//! **leaf's text**; its SHA-256 is the entry's **commitment**; and the commitments are the leaves
//! of a Merkle tree as in RFC 9162 section 2.1, with SHA-256. The salt is why a commitment,
//! which is part of others' proofs, tells nothing of the entry: what it says can't be tried out.
//! What does show is how many entries there are.
//!
//! The root and the size of the tree are signed (Ed25519) as a **checkpoint**, a text of three
//! lines in the form that other logs use (C2SP `tlog-checkpoint` and `signed-note`). Whoever keeps
//! one can later be shown that an entry is in the log ([`Proof`]), and that the log has only grown
//! since, and needs nobody for that but the key. A log that was rewritten can show neither.
//!
//! Because each entry says the root of what was before it, [`verify`] can also tell which entry was
//! changed, unless all that follow were made anew; then the checkpoints that somebody kept tell
//! from where on.
//!
//! In the store an entry is under `audit/` and its place in 20 digits, the tree's right edge under
//! `audit/tree`, and the newest checkpoint under `audit/checkpoint`. Entries are written by the
//! same commit as the change ([`add`]), so that none is without the other, and so are edge and
//! checkpoint ([`seal`]); or, where a store makes several commits together so that nobody sees a
//! part of them, by the last of these.
#![forbid(unsafe_code)]

mod append;
mod archive;
mod checkpoint;
mod entry;
mod export;
mod log;
mod proof;
mod tree;
mod verify;

pub use append::{Leaf, add, seal};
pub use archive::{Archive, ArchiveError, Page, Read};
pub use checkpoint::{Checkpoint, NoteError, Signer, VerifierKey};
pub use entry::{
    Decision, Entry, Salt, Touched, Who, accepted, is_visible, is_visible_of, refused,
};
pub use export::{Export, ExportError, Item, of_store, read_export, write_export};
pub use log::Log;
pub use proof::{Growth, Proof, ProofError};
pub use tree::{Hash, Tree, commitment, restore};
pub use verify::{Finding, verify};

/// What all keys of the log begin with.
pub const PREFIX: &str = "audit/";
/// What the keys of all entries begin with: 10^19 of them will never be. No other key of the log
/// begins so.
pub const ENTRIES: &str = "audit/0";
/// The key of the tree's right edge.
pub const TREE_KEY: &str = "audit/tree";
/// The key of the newest checkpoint.
pub const CHECKPOINT_KEY: &str = "audit/checkpoint";

/// The key of an entry.
pub fn entry_key(at: u64) -> String {
    format!("{PREFIX}{at:020}")
}
