//! Who was heard to have which address: the programs write it, and the agent removes it and keeps its own account of that.

use std::collections::{BTreeMap, BTreeSet};

use sillon_abi::{Binding, BindingKey, Exit, FdbUse, map};

use super::{Maps, Named, batch};
use crate::dataplane::{DataplaneError, raw};

/// A walk through the bindings that is taken part by part.
#[derive(Debug, Default)]
pub struct BindingWalk {
    reader: batch::Reader,
    /// How many it removed.
    pub removed: u64,
}

impl Maps {
    /// Forgets who has which address, but for what was heard at these (segment uid, exit) pairs.
    pub(super) fn purge_bindings(&mut self, exits: &BTreeSet<(u32, Exit)>) -> Result<(), DataplaneError> {
        self.retain_bindings(|key, binding| exits.contains(&(key.segment, binding.exit))).map(drop)
    }

    /// Forgets what was heard and `keep` does not want; returns how much that was.
    ///
    /// # Errors
    /// The map can't be read or written.
    pub fn retain_bindings(
        &mut self,
        keep: impl Fn(&BindingKey, &Binding) -> bool,
    ) -> Result<u64, DataplaneError> {
        let mut walk = BindingWalk::default();
        while self.walk_bindings(&mut walk, &keep)? {}
        Ok(walk.removed)
    }

    /// The next part of such a walk, some thousand bindings; returns whether there are more.
    ///
    /// # Errors
    /// The map can't be read or written.
    pub fn walk_bindings(
        &mut self,
        walk: &mut BindingWalk,
        keep: impl Fn(&BindingKey, &Binding) -> bool,
    ) -> Result<bool, DataplaneError> {
        let Some(part) = walk.reader.next(&self.bindings).named(map::BINDINGS)? else { return Ok(false) };
        let gone = part.iter().filter(|(key, binding)| !keep(key, binding)).map(|(key, _)| key);
        let mut removed: BTreeMap<u32, u64> = BTreeMap::new();
        for key in gone {
            let taken: Option<Binding> = raw::take(&mut self.bindings, key).named(map::BINDINGS)?;
            *removed.entry(key.segment).or_default() += u64::from(taken.is_some());
        }
        for (segment, count) in &removed {
            if let Ok(before) = self.binding_removed.get(segment, 0) {
                self.binding_removed.insert(segment, before + count, 0).named(map::BINDING_REMOVED)?;
            }
        }
        walk.removed += removed.values().sum::<u64>();
        Ok(true)
    }

    /// What was heard.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn bindings(&self) -> Result<Vec<(BindingKey, Binding)>, DataplaneError> {
        batch::entries(&self.bindings).named(map::BINDINGS)
    }

    /// What was heard in a segment, and what was removed of it.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn binding_use(&self, uid: u32) -> Result<(FdbUse, u64), DataplaneError> {
        Ok((
            self.binding_use.get(&uid, 0).named(map::BINDING_USE)?,
            self.binding_removed.get(&uid, 0).named(map::BINDING_REMOVED)?,
        ))
    }
}
