//! What is somewhere: a MAC, or an IP address and whose it is.

use std::{fmt::Debug, hash::Hash};

use sillon_abi::{BindingKey, Claim, Endpoint, FdbKey, MacLocation};

/// What is somewhere.
pub trait Subject: Copy + Ord + Hash + Debug {
    /// What is known of it besides where it is.
    type Word: Copy + Eq + Debug;

    /// Its segment's uid.
    fn segment(&self) -> u32;
}

impl Subject for FdbKey {
    type Word = ();

    fn segment(&self) -> u32 {
        self.segment
    }
}

impl Subject for BindingKey {
    type Word = Claim;

    fn segment(&self) -> u32 {
        self.segment
    }
}

/// Where something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<K: Subject> {
    /// What.
    pub key: K,
    /// Where.
    pub endpoint: Endpoint,
    /// What else is known of it.
    pub word: K::Word,
}

/// Where an IP address is, and whose it is.
pub type Bound = Found<BindingKey>;

impl From<MacLocation> for Found<FdbKey> {
    fn from(MacLocation { key, endpoint }: MacLocation) -> Self {
        Self { key, endpoint, word: () }
    }
}

impl From<Found<FdbKey>> for MacLocation {
    fn from(Found { key, endpoint, word: () }: Found<FdbKey>) -> Self {
        Self { key, endpoint }
    }
}
