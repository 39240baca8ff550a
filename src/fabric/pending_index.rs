//! What waits for which node to apply it: attachments and segments that are not programmed yet. So
//! what an agent reports costs as much as there is to be confirmed, and not as much as the node
//! has.

use super::map::Map;

use super::{
    Key,
    object::{ConditionKind, Object},
};
use crate::model::Name;

/// By node. A copy shares all that is the same.
#[derive(Debug, Clone, Default)]
pub(super) struct PendingIndex {
    /// `None` is before all keys of a node.
    all: Map<(Name, Option<Key>), ()>,
}

impl PendingIndex {
    /// What waits for a node.
    pub fn at(&self, node: &Name) -> impl Iterator<Item = &Key> {
        let from = (node.clone(), None);
        let all = self.all.range(from..).take_while(move |((of, _), ())| of == node);
        all.filter_map(|((_, key), ())| key.as_ref())
    }

    /// Something waits for a node, or does no more.
    pub fn set(&mut self, node: &Name, key: &Key, waits: bool) {
        let entry = (node.clone(), Some(key.clone()));
        match (self.all.get(&entry).is_some(), waits) {
            (false, true) => {
                self.all.insert(entry, ());
            }
            (true, false) => {
                self.all.remove(&entry);
            }
            _ => {}
        }
    }
}

/// Whether an object was not programmed yet.
pub(super) fn is_pending(object: &Object) -> bool {
    object.conditions.get(&ConditionKind::Programmed).is_none_or(|condition| !condition.is)
}
