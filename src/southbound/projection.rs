//! What one node shall do at one revision, and what its agent has to be sent for it. Pure.

use std::collections::BTreeSet;

use crate::{
    controller::LeaderTerm,
    fabric::{self, Affected, Owned, ProjectError, Revision, State},
    model::Name,
    protocol::{Digest, Parts, pb},
};

/// A node's part of the fabric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    /// Of the fabric.
    pub revision: Revision,
    /// Its file.
    pub parts: Parts,
    /// Of its file.
    pub digest: Digest,
    /// What it shall forget now.
    purges: Vec<fabric::Purge>,
    /// The first revision that asked it to forget what it can't be asked to forget yet.
    early: Option<Revision>,
}

impl Projection {
    /// The part of a node.
    ///
    /// # Errors
    /// It is not there.
    pub fn of(state: &State, node: &Name) -> Result<Self, ProjectError> {
        Ok(Self::with(state, node, Parts::of(&fabric::desired(state, node)?)))
    }

    /// The part of a node in a later state, where nothing but `affected` may differ.
    ///
    /// # Errors
    /// It is not there.
    pub fn follow(
        &self,
        state: &State,
        node: &Name,
        affected: &Affected,
    ) -> Result<Self, ProjectError> {
        let Affected::Tables(tables) = affected else { return Self::of(state, node) };
        let mut parts = self.parts.clone();
        tables.ports.iter().for_each(|port| parts.remove_port(port));
        // What has no such name was never there.
        let names = |all: &BTreeSet<Owned>| -> Vec<Name> {
            all.iter().filter_map(|owned| fabric::joined(owned).ok()).collect()
        };
        names(&tables.segments).iter().for_each(|name| parts.remove_segment(name));
        names(&tables.profiles).iter().for_each(|name| parts.remove_profile(name));
        parts.extend(&fabric::desired_tables(state, node, tables)?);
        Ok(Self::with(state, node, parts))
    }

    fn with(state: &State, node: &Name, parts: Parts) -> Self {
        let (early, purges): (Vec<_>, Vec<_>) =
            fabric::purges(state, node).into_iter().partition(|purge| purge.is_early);
        let digest = parts.digest();
        let early = early.iter().map(|purge| purge.freed).min();
        Self { revision: state.revision(), parts, digest, purges, early }
    }

    /// Whether an agent that has carried out `done` has nothing to do.
    pub fn is_done_with(&self, done: &Self) -> bool {
        let has_purged = self.purges.iter().all(|purge| done.purges.contains(purge));
        self.digest == done.digest && has_purged
    }

    /// The last revision that a node has applied wholly when it has applied this.
    pub fn counts_as(&self) -> Revision {
        self.early
            .map_or(self.revision, |early| self.revision.min(Revision(early.0.saturating_sub(1))))
    }

    /// What an agent is sent that has the parts of `base`, or none that are known here.
    pub fn update(&self, base: Option<&Self>, lead: &LeaderTerm) -> pb::Update {
        let nothing = Parts::default();
        let parts = self.parts.changes_from(base.map_or(&nothing, |base| &base.parts));
        pb::Update {
            term: lead.term(),
            revision: self.revision.0,
            base: base.map_or_else(Vec::new, |base| base.digest.to_vec()),
            parts,
            purges: self.purges.iter().filter_map(purge).collect(),
            digest: self.digest.to_vec(),
        }
    }
}

/// Nothing, if the node never reached the other one.
fn purge(purge: &fabric::Purge) -> Option<pb::Purge> {
    let fabric::Purge { segment, port, remote, .. } = purge;
    // A segment's name fits a node's, or it would not be there.
    let segment = fabric::joined(segment).ok()?.to_string();
    let at = match remote {
        Some(remote) => pb::purge::At::Remote(remote.to_string()),
        None => pb::purge::At::Port(port.port.to_string()),
    };
    Some(pb::Purge { segment, at: Some(at) })
}
