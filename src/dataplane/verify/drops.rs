//! Whether every drop would be counted: the programs make no entry themselves.

use sillon_abi::{DropKey, ScopeKind};

use super::Verifier;

impl Verifier<'_> {
    pub(super) fn drops(&mut self) {
        let (live, tables) = (self.live, self.tables);
        self.checked("drop counters", live.drops.len());
        let key = |scope: ScopeKind, id: &u32| DropKey { scope: scope as u32, id: *id };
        let attachments = tables.attachments.iter().map(|(id, attachment)| {
            (
                key(ScopeKind::Attachment, id),
                self.names().class(attachment.class),
                Some(attachment.segment),
            )
        });
        let segments = tables
            .segments
            .keys()
            .map(|uid| (key(ScopeKind::Segment, uid), self.names().segment(*uid), Some(*uid)));
        let ports = tables
            .records
            .keys()
            .map(|ifindex| (key(ScopeKind::Port, ifindex), self.names().port(*ifindex), None));
        let (mut left, mut missing) = (live.drops.clone(), Vec::new());
        for (key, name, segment) in attachments.chain(segments).chain(ports) {
            if !left.remove(&key) {
                missing.push((name, segment));
            }
        }
        for (name, segment) in missing {
            self.violation(
                "drop counters",
                format!("what is dropped at {name} is not counted"),
                segment.as_slice(),
            );
        }
        for key in left {
            let what = format!("scope {} #{} is not there, and has a count", key.scope, key.id);
            self.violation("drop counters", what, &[]);
        }
    }
}
