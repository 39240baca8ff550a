//! What an agent keeps of its controller's wishes, on disk: what it goes by after a restart when no
//! controller answers.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    files::{self, Access, Existing},
    protocol::Parts,
};

/// What is kept. It is on disk before it is applied: an agent that dies in between must not go back
/// to what a controller took back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastKnown {
    /// The largest term that was seen.
    pub term: u64,
    /// The revision that was applied wholly.
    pub applied: u64,
    /// The node's file.
    pub parts: Parts,
    /// Since when it is known that the node's certificate was revoked.
    #[serde(default)]
    pub revoked: Option<Timestamp>,
}

/// Where it is kept.
#[derive(Debug, Clone)]
pub struct File {
    path: PathBuf,
}

impl File {
    /// Of a node, in a directory.
    pub fn of_node(directory: &Path, node: &str) -> Self {
        Self { path: directory.join(format!("{node}.json")) }
    }

    /// What is there; nothing in the beginning.
    ///
    /// # Errors
    /// It can't be read, or is not what was written.
    pub fn read(&self) -> anyhow::Result<LastKnown> {
        let path = || self.path.display().to_string();
        match fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!(
                    "{}: this is not what an agent keeps; remove it, and the controller sends it \
                     again",
                    path()
                )
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(LastKnown::default()),
            Err(error) => Err(error).with_context(path),
        }
    }

    /// Keeps it: all of it, or what was there before.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(&self, kept: &LastKnown) -> anyhow::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let write = || {
            fs::create_dir_all(directory)?;
            let text = serde_json::to_vec(kept)?;
            files::write(&self.path, &text, Access::Public, Existing::Replace)
        };
        write().with_context(|| self.path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_there_again_and_what_is_torn_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::of_node(&dir.path().join("state"), "edge1");
        assert_eq!(file.read().unwrap(), LastKnown::default());
        let kept = LastKnown { term: 3, applied: 7, ..LastKnown::default() };
        file.write(&kept).unwrap();
        assert_eq!(file.read().unwrap(), kept);
        let path = dir.path().join("state/edge1.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert!(format!("{:#}", file.read().unwrap_err()).contains("edge1.json: this is not what"));
    }
}
