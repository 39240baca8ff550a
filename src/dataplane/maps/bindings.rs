//! Who has which address: the programs write what they hear, and the agent what it is told; it
//! removes it, and keeps its own account of both.

use std::collections::{BTreeMap, BTreeSet};

use aya::maps::{HashMap, MapData, MapError};
use sillon_abi::{Binding, BindingKey, Endpoint, FdbUse, map};

use super::{Maps, Named, batch, found};
use crate::dataplane::{DataplaneError, bpf_syscall};

/// Flags of `BPF_MAP_UPDATE_ELEM`.
const BPF_NOEXIST: u64 = 1;
const BPF_EXIST: u64 = 2;

/// A walk through the bindings that is taken part by part.
#[derive(Debug, Default)]
pub struct BindingWalk {
    reader: batch::Reader,
    /// How many it removed.
    pub removed: u64,
}

impl Maps {
    /// Forgets who has which address, but for what was heard at these (segment uid, endpoint)
    /// pairs.
    pub(super) fn purge_bindings(
        &mut self,
        endpoints: &BTreeSet<(u32, Endpoint)>,
    ) -> Result<(), DataplaneError> {
        self.retain_bindings(|key, binding| endpoints.contains(&(key.segment, binding.endpoint)))
            .map(drop)
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
        mut keep: impl FnMut(&BindingKey, &Binding) -> bool,
    ) -> Result<bool, DataplaneError> {
        let Some(part) = walk.reader.next(&self.bindings).named(map::BINDINGS)? else {
            return Ok(false);
        };
        let gone = part.iter().filter(|(key, binding)| !keep(key, binding)).map(|(key, _)| key);
        walk.removed += self.take_bindings(gone)?;
        Ok(true)
    }

    /// Takes bindings out, and counts them; returns how many there were.
    fn take_bindings<'k>(
        &mut self,
        keys: impl IntoIterator<Item = &'k BindingKey>,
    ) -> Result<u64, DataplaneError> {
        let mut removed: BTreeMap<u32, u64> = BTreeMap::new();
        for key in keys {
            let taken: Option<Binding> =
                bpf_syscall::take(&mut self.bindings, key).named(map::BINDINGS)?;
            *removed.entry(key.segment).or_default() += u64::from(taken.is_some());
        }
        for (segment, count) in &removed {
            self.count_removed(*segment, *count)?;
        }
        Ok(removed.values().sum())
    }

    /// So many more were removed. The programs take one account from the other, so that what the
    /// agent adds is one fewer that it has removed.
    fn count_removed(&mut self, segment: u32, more: u64) -> Result<(), DataplaneError> {
        let Ok(before) = self.binding_removed.get(&segment, 0) else { return Ok(()) };
        self.binding_removed
            .insert(segment, before.wrapping_add(more), 0)
            .named(map::BINDING_REMOVED)
    }

    /// Says whose an IP address is, as if it had been heard, where nothing is known of it or what
    /// is known may be replaced. One too many for its segment, or for the map, is left out, as
    /// if it had been heard. Returns whether something else is known and stays.
    ///
    /// # Errors
    /// A map can't be read or written.
    pub fn bind(
        &mut self,
        key: &BindingKey,
        binding: &Binding,
        may_replace: impl Fn(&Binding) -> bool,
    ) -> Result<bool, DataplaneError> {
        match self.bindings.get(key, 0) {
            Ok(is) if (is.claim, is.endpoint) == (binding.claim, binding.endpoint) => {
                return Ok(false);
            }
            Ok(is) if !may_replace(&is) => return Ok(true),
            // An element of its own, as the programs do it.
            Ok(_) => drop(put(&mut self.bindings, key, binding, BPF_EXIST)?),
            Err(MapError::KeyNotFound) => self.bind_first(key, binding)?,
            Err(error) => return Err(error).named(map::BINDINGS),
        }
        Ok(false)
    }

    /// Counted before it is done, and taken back if it fails, as the programs do: so the share is
    /// never exceeded, whoever is at it meanwhile.
    fn bind_first(&mut self, key: &BindingKey, binding: &Binding) -> Result<(), DataplaneError> {
        let uid = key.segment;
        let limit = match self.segments.get(&uid, 0) {
            Ok(segment) => u64::from(segment.fdb_limit),
            Err(_) => return Ok(()),
        };
        self.count_removed(uid, 1_u64.wrapping_neg())?;
        let done = self.bind_within(limit, key, binding);
        if !matches!(done, Ok(true)) {
            self.count_removed(uid, 1)?;
        }
        done.map(drop)
    }

    /// Whether it was written, of a segment that may have `limit` of them, this one among those
    /// that are counted.
    fn bind_within(
        &mut self,
        limit: u64,
        key: &BindingKey,
        binding: &Binding,
    ) -> Result<bool, DataplaneError> {
        let Some((FdbUse { learned, .. }, removed)) = self.binding_use(key.segment)? else {
            return Ok(false);
        };
        Ok(learned.wrapping_sub(removed) <= limit
            && put(&mut self.bindings, key, binding, BPF_NOEXIST)?)
    }

    /// Forgets whose an IP address is, if it is still so.
    ///
    /// # Errors
    /// A map can't be read or written.
    pub fn unbind(
        &mut self,
        key: &BindingKey,
        is_meant: impl Fn(&Binding) -> bool,
    ) -> Result<(), DataplaneError> {
        match self.bindings.get(key, 0) {
            Ok(is) if is_meant(&is) => self.take_bindings([key]).map(drop),
            Ok(_) | Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(error).named(map::BINDINGS),
        }
    }

    /// What was heard.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn bindings(&self) -> Result<Vec<(BindingKey, Binding)>, DataplaneError> {
        batch::entries(&self.bindings).named(map::BINDINGS)
    }

    /// What was heard in a segment, and what was removed of it; none where there is no such
    /// segment, or no longer.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn binding_use(&self, uid: u32) -> Result<Option<(FdbUse, u64)>, DataplaneError> {
        let used = found(self.binding_use.get(&uid, 0)).named(map::BINDING_USE)?;
        Ok(used.zip(found(self.binding_removed.get(&uid, 0)).named(map::BINDING_REMOVED)?))
    }
}

/// Whether it was written: somebody else may have been first, or the map be full.
fn put(
    map: &mut HashMap<MapData, BindingKey, Binding>,
    key: &BindingKey,
    binding: &Binding,
    flags: u64,
) -> Result<bool, DataplaneError> {
    match map.insert(key, binding, flags) {
        Ok(()) => Ok(true),
        Err(MapError::SyscallError(error))
            if error.io_error.raw_os_error().is_some_and(is_refusal) =>
        {
            Ok(false)
        }
        Err(error) => Err(error).named(map::BINDINGS),
    }
}

const fn is_refusal(errno: i32) -> bool {
    matches!(errno, libc::EEXIST | libc::ENOENT | libc::E2BIG | libc::ENOMEM)
}
