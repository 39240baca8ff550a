//! What an agent goes by: the node's file, or a controller.

use std::{io, path::PathBuf};

use sillon_abi::MacLocation;
use tokio::sync::mpsc;

use super::remote::{Remote, Word};
use crate::{dataplane::learn_events::LearnEvents, protocol::pb};

/// What an agent goes by.
pub enum Upstream {
    /// The node's file.
    File(PathBuf),
    /// A controller.
    Controller(Box<Followed>),
}

/// A controller that is followed, and what is only there with one.
pub struct Followed {
    pub remote: Remote,
    /// Whether all is detached, since the node's certificate was revoked.
    pub is_shut: bool,
    /// What the programs learn. None once that can't be read.
    pub events: Option<LearnEvents>,
    /// Where addresses are published, while the address stream is open.
    pub publish_to: Option<mpsc::Sender<pb::Here>>,
}

/// What comes from the controller, or for it.
pub enum Arrival {
    /// From the controller.
    Word(Word),
    /// From the programs: what they have learned.
    Learned(io::Result<Vec<MacLocation>>),
}

impl Upstream {
    /// The controller, if one is followed.
    pub fn followed(&self) -> Option<&Followed> {
        match self {
            Self::File(_) => None,
            Self::Controller(followed) => Some(followed),
        }
    }

    /// The same, to change it.
    pub fn followed_mut(&mut self) -> Option<&mut Followed> {
        match self {
            Self::File(_) => None,
            Self::Controller(followed) => Some(followed),
        }
    }

    /// What is said to the controller and heard from it, if one is followed.
    pub fn remote_mut(&mut self) -> Option<&mut Remote> {
        Some(&mut self.followed_mut()?.remote)
    }

    /// What comes next; never anything, if no controller is followed. May be dropped and asked
    /// again.
    pub async fn next(&mut self) -> Arrival {
        let Some(Followed { remote, events, .. }) = self.followed_mut() else {
            return std::future::pending().await;
        };
        tokio::select! {
            word = remote.next() => Arrival::Word(word),
            learned = next_events(events) => Arrival::Learned(learned),
        }
    }
}

async fn next_events(events: &mut Option<LearnEvents>) -> io::Result<Vec<MacLocation>> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}
