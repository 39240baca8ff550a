//! What other nodes have published, in this node's maps.

use std::{collections::BTreeSet, sync::Arc};

use sillon_abi::{Binding, BindingKey, FdbEntry, FdbKey, MacLocation};

use super::Reconciler;
use crate::{
    agent::{
        node_index::NodeIndex,
        subject::{Bound, Found},
    },
    dataplane::{DataplaneError, clock::monotonic_ns, inject::How, maps::Maps},
};

impl Reconciler {
    /// From now on, [`Self::index`] says what ids mean.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn build_index(&mut self) -> Result<(), DataplaneError> {
        self.index = Some(Arc::new(NodeIndex::of(&self.tables()?)));
        Ok(())
    }

    /// What ids mean now.
    pub fn index(&self) -> Arc<NodeIndex> {
        self.index.clone().unwrap_or_default()
    }

    /// Has the programs learn where addresses are.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn inject(&mut self, all: &[MacLocation], how: How) -> Result<(), DataplaneError> {
        if all.is_empty() { Ok(()) } else { self.programs.inject(all, how) }
    }

    /// Removes addresses that were learned, if they are still there.
    ///
    /// # Errors
    /// A map can't be written.
    pub fn withdraw(&mut self, all: &[MacLocation]) -> Result<u64, DataplaneError> {
        withdraw(&mut self.maps, all)
    }

    /// Brings in whose IP addresses are. What is configured here counts more, and so does what is
    /// newer; gives those that are newer.
    ///
    /// # Errors
    /// A map can't be read or written.
    pub fn bind(
        &mut self,
        all: &[Bound],
        is_newer: impl Fn(&Bound) -> bool,
    ) -> Result<Vec<BindingKey>, DataplaneError> {
        let mut kept = Vec::new();
        for Found { key, endpoint, word } in
            all.iter().filter(|bound| !self.fixed_bindings.contains(&bound.key))
        {
            let binding = Binding {
                claim: *word,
                endpoint: *endpoint,
                segment: key.segment,
                seen: monotonic_ns(),
            };
            let may_replace = |is: &Binding| {
                !is_newer(&Found { key: *key, endpoint: is.endpoint, word: is.claim })
            };
            if self.maps.bind(key, &binding, may_replace)? {
                kept.push(*key);
            }
        }
        Ok(kept)
    }

    /// Removes bindings, if they are still so.
    ///
    /// # Errors
    /// A map can't be read or written.
    pub fn unbind(&mut self, all: &[Bound]) -> Result<(), DataplaneError> {
        all.iter().try_for_each(|Found { key, endpoint, word }| {
            self.maps.unbind(key, |is| (is.endpoint, is.claim) == (*endpoint, *word))
        })
    }
}

fn withdraw(maps: &mut Maps, all: &[MacLocation]) -> Result<u64, DataplaneError> {
    let mut keys: BTreeSet<FdbKey> = BTreeSet::new();
    for MacLocation { key, endpoint } in all {
        let is_there = |entry: FdbEntry| entry.endpoint == *endpoint && !entry.is_configured();
        if maps.fdb_entry(key)?.is_some_and(is_there) {
            keys.insert(*key);
        }
    }
    if keys.is_empty() {
        Ok(0)
    } else {
        maps.remove_addresses(&keys.into_iter().collect::<Vec<_>>())
    }
}
