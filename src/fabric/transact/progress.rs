//! Who is waited for: a segment says which node has yet to apply its last change; what was taken
//! away, and the lease that can't end before that, say which nodes have yet to confirm it.

use std::collections::BTreeSet;

use super::{Tx, leases::owned};
use crate::{
    fabric::{
        Freed, Key, Kind, Owned, PortKey,
        object::{Body, ConditionKind, LeaseState, Revision},
        pending_index::is_pending,
        project::is_early,
    },
    model::Name,
};

/// How many nodes are named; a segment may be on hundreds.
const NAMED: usize = 3;

/// What a segment says that is on no node.
pub(super) const UNUSED: &str = "nothing is attached to it";

/// What is not programmed says so of the node that it waits for.
pub(super) fn not_applied(node: &Name) -> String {
    format!("{} has not applied the last change", Key::Node(node.clone()))
}

impl Tx<'_> {
    /// A segment that has another attachment is not programmed before its nodes have that; and one
    /// that has lost one may wait for nobody any more.
    pub(super) fn explain_segments(&mut self) {
        let mut segments = BTreeSet::new();
        for key in &self.touched {
            match key {
                Key::Attachment(owned) => {
                    let all = [self.before, &self.next]
                        .into_iter()
                        .filter_map(|state| state.attachment(owned));
                    segments.extend(all.map(|attachment| owned.beside(&attachment.spec.segment)));
                }
                Key::Segment(owned) => {
                    segments.insert(owned.clone());
                }
                _ => {}
            }
        }
        segments.iter().for_each(|segment| self.explain_segment(segment));
    }

    /// What a segment says of who has applied its last change.
    pub(super) fn explain_segment(&mut self, segment: &Owned) {
        let key = Key::Segment(segment.clone());
        let (is, why) = match (self.awaited_by(segment), self.left_out_of(segment)) {
            (Some(node), _) => (false, not_applied(&node)),
            (None, Some(why)) => (false, why),
            _ if !self.next.get(&key).is_some_and(|segment| is_pending(segment)) => return,
            _ if self.next.nodes_of(segment).next().is_none() => (false, UNUSED.to_owned()),
            _ => (true, "every node has applied it".to_owned()),
        };
        self.note(&key, ConditionKind::Programmed, is, &why);
    }

    /// The first of a segment's nodes that has not applied its last change, or the last of its
    /// attachments. One is named and not all that there are: what is said is written down, and
    /// a segment on a hundred nodes would be written a hundred times until all have confirmed.
    fn awaited_by(&self, segment: &Owned) -> Option<Name> {
        let key = Key::Segment(segment.clone());
        let revision = |key: &Key| self.next.get(key).map_or(Revision(0), |object| object.revision);
        let attachments = self.next.referrers(&key).filter(|user| user.kind() == Kind::Attachment);
        let wanted = attachments.map(revision).max().unwrap_or_default().max(revision(&key));
        let applied = |node: &Name| self.next.node(node).map_or(Revision(0), |node| node.applied);
        self.next.nodes_of(segment).find(|node| applied(node) < wanted).cloned()
    }

    /// The first of a segment's attachments that its node leaves out, and why. None waits any more.
    fn left_out_of(&self, segment: &Owned) -> Option<String> {
        let key = Key::Segment(segment.clone());
        self.next.attachments_of(&key).find_map(|(owned, attachment)| {
            let key = Key::Attachment(owned.clone());
            let object = self.next.get(&key).filter(|object| is_pending(object))?;
            let why = &object.conditions.get(&ConditionKind::Programmed)?.why;
            (*why != not_applied(&attachment.spec.port.node)).then(|| format!("{key}: {why}"))
        })
    }

    /// What waits says for whom, wherever that may be another one now.
    pub(super) fn name_the_awaited(&mut self) {
        let (mut tombstones, mut leases) = (BTreeSet::new(), BTreeSet::new());
        for key in &self.touched {
            match key {
                Key::Tombstone(node, freed) => {
                    let Some(port) = port_of(node, freed) else {
                        tombstones.insert(key.clone());
                        continue;
                    };
                    // The others are asked once the server's own node has confirmed; and only then,
                    // since a handover port may have thousands.
                    if self.next.get(key).is_none() && port.node == *node {
                        let is_learned =
                            |key: &&Key| matches!(key, Key::Tombstone(_, Freed::Learned(..)));
                        tombstones.extend(
                            self.next
                                .referrers(&Key::Port(port.clone()))
                                .filter(is_learned)
                                .cloned(),
                        );
                    }
                    tombstones.insert(key.clone());
                    leases.extend(self.leases_at(&port));
                }
                // Once it is over, its server does not know it any more.
                Key::Lease(owned) => {
                    leases.insert(owned.clone());
                }
                _ => {}
            }
        }
        tombstones.iter().for_each(|tombstone| self.explain_tombstone(tombstone));
        leases.iter().for_each(|lease| self.explain_lease(lease));
    }

    /// The leases of the server that is behind a port.
    fn leases_at(&self, port: &PortKey) -> Vec<Owned> {
        let Some(server) = self.next.server_at(port) else { return Vec::new() };
        let key = Key::Server(server.clone());
        self.next.referrers(&key).filter_map(owned).collect()
    }

    fn explain_tombstone(&mut self, key: &Key) {
        let Key::Tombstone(node, freed) = key else { return };
        let why = match freed {
            Freed::Learned(learned) if self.is_early(key) => format!(
                "{} has not confirmed that it lets the server in no more; {} is asked to forget \
                 it after that",
                Key::Node(learned.port.node.clone()),
                Key::Node(node.clone())
            ),
            _ => format!("{} has not confirmed", Key::Node(node.clone())),
        };
        self.note(key, ConditionKind::Programmed, false, &why);
    }

    fn explain_lease(&mut self, owned: &Owned) {
        let Some(lease) = self.next.lease(owned) else { return };
        let key = Key::Lease(owned.clone());
        let has_said = self
            .next
            .get(&key)
            .is_some_and(|object| object.conditions.contains_key(&ConditionKind::Programmed));
        let (is, why) = match lease.state {
            LeaseState::Quarantined => match self.awaited(owned, &lease.spec.server) {
                None => (
                    true,
                    "every node has confirmed that the server is detached and forgotten".to_owned(),
                ),
                Some(nodes) => (
                    false,
                    format!("not confirmed that the server is detached and forgotten: {nodes}"),
                ),
            },
            LeaseState::Released if has_said => (
                true,
                "every node has confirmed that the server is detached and forgotten".to_owned(),
            ),
            _ => return,
        };
        self.note(&key, ConditionKind::Programmed, is, &why);
    }

    /// The nodes that a lease's end waits for, of those that can confirm now; nothing, if it waits
    /// for none.
    fn awaited(&self, lease: &Owned, server: &Name) -> Option<String> {
        let (mut nodes, mut is_clean) = (BTreeSet::new(), true);
        for port in self.next.ports_of(server) {
            for key in self.next.referrers(&Key::Port(port.clone())) {
                let Key::Tombstone(node, _) = key else { continue };
                is_clean = false;
                let is_own = self.next.get(key).is_some_and(|object| match &object.body {
                    Body::Tombstone(tombstone) => tombstone.operator == lease.operator,
                    _ => false,
                });
                // What is another's is not named to this lease's operator.
                if is_own && !self.is_early(key) {
                    nodes.insert(node);
                }
            }
        }
        let mut named: Vec<String> =
            nodes.iter().take(NAMED).map(|node| Key::Node(Name::clone(node)).to_string()).collect();
        match nodes.len() {
            _ if is_clean => return None,
            0 => named.push("a node".to_owned()),
            all if all > NAMED => named.push(format!("{} more", all - NAMED)),
            _ => {}
        }
        Some(named.join(", "))
    }

    fn is_early(&self, key: &Key) -> bool {
        let freed = |key| match &self.next.get(key)?.body {
            Body::Tombstone(tombstone) => Some(tombstone.freed),
            _ => None,
        };
        match key {
            Key::Tombstone(node, Freed::Learned(learned)) => {
                freed(key).is_some_and(|freed| is_early(&self.next, node, &learned.port, freed))
            }
            _ => false,
        }
    }
}

/// The port that it has to do with, if any.
fn port_of(node: &Name, freed: &Freed) -> Option<PortKey> {
    match freed {
        Freed::Vni(_) => None,
        Freed::Encap(port, _) => Some(PortKey { node: node.clone(), port: port.clone() }),
        Freed::Learned(learned) => Some(learned.port.clone()),
    }
}
