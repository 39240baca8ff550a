//! What a node was last told, kept beside its maps, so that who asks without the agent knows what
//! they should hold.
//!
//! It is an array in the kernel, pinned like the maps and frozen: it is replaced as a whole by each
//! change. Who may write to maps may replace it, too: it shows what one write has changed, and not
//! what somebody has done who makes maps and this agree. An agent that runs does not read it; it
//! knows.

use serde::{Deserialize, Serialize};
use sillon_abi::NodeEntry;

use super::{DataplaneError, bpf_syscall::sealed, pins::Pins};

/// What was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedState {
    /// The configuration, as a node's file.
    pub file: String,
    /// Uplinks in it that are left out: a file with remotes has to name one.
    #[serde(default)]
    pub absent: Vec<String>,
    /// Which numbers were given out, [`NodeEntry::next_uid`].
    pub next_uid: u32,
    /// [`NodeEntry::next_list`].
    pub next_list: u32,
    /// Where XDP runs, [`super::links::Mode::number`].
    pub mode: u32,
}

impl AppliedState {
    /// Whether these are the numbers that it gave out.
    pub const fn has_numbers_of(&self, node: &NodeEntry) -> bool {
        self.next_uid == node.next_uid && self.next_list == node.next_list
    }

    /// Keeps it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn keep(&self, pins: &Pins) -> Result<(), DataplaneError> {
        let path = pins.applied();
        let bytes = serde_json::to_vec(self).map_err(std::io::Error::other);
        bytes
            .and_then(|bytes| sealed::keep(&path, &bytes))
            .map_err(|source| DataplaneError::Io { path, source })
    }

    /// What is kept; none if nothing is.
    ///
    /// # Errors
    /// The kernel refuses, or it is something else.
    pub fn read(pins: &Pins) -> Result<Option<Self>, DataplaneError> {
        let path = pins.applied();
        let failed = |source| DataplaneError::Io { path: path.clone(), source };
        let Some(bytes) = sealed::kept(&path).map_err(failed)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(error.into()))
    }
}
