//! Where a frame came in or goes out: an attachment of this node, or a remote VTEP.

use crate::pod;

const REMOTE: u32 = 1 << 31;

/// An attachment or a remote, in one word, so that a reader never sees half of a change.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint(u32);
pod!(Endpoint = 4);

impl Endpoint {
    /// Nowhere. Neither attachments nor remotes have the id 0.
    pub const NONE: Self = Self(0);

    /// The attachment with this id.
    #[inline(always)]
    pub const fn attachment(id: u32) -> Self {
        Self(id & !REMOTE)
    }

    /// The remote with this id.
    #[inline(always)]
    pub const fn remote(id: u32) -> Self {
        Self(id | REMOTE)
    }

    /// Whether this is a remote.
    #[inline(always)]
    pub const fn is_remote(self) -> bool {
        self.0 & REMOTE != 0
    }

    /// Whether this is nowhere.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The word itself, for who compares and swaps it.
    #[inline(always)]
    pub const fn word(self) -> u32 {
        self.0
    }

    /// The endpoint in such a word.
    #[inline(always)]
    pub const fn from_word(word: u32) -> Self {
        Self(word)
    }

    /// The id of the attachment or remote.
    #[inline(always)]
    pub const fn id(self) -> u32 {
        self.0 & !REMOTE
    }
}
