//! What becomes of one table: a single walk through it as it is and as it should be says what is
//! written on the way down to what the two have in common, and what on the way up from there.
//! Nearly all of a large node stays, and costs no more than being walked past.

use std::collections::{BTreeMap, BTreeSet};

use itertools::{EitherOrBoth, Itertools};
use sillon_abi::{Endpoint, FloodKey, Segment};

use crate::dataplane::tables::{Tables, interim_list};

/// It leads down to what both have, and up from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From the table as it is.
    Down,
    /// To the table as it should be.
    Up,
}

/// The steps of one table.
#[derive(Debug)]
pub struct TableDiff<K, V> {
    /// What is in between, but not as it was.
    narrowed: Vec<(K, V)>,
    /// What is there, and not in between.
    pub gone: Vec<K>,
    /// What is in between, but not as it should be.
    pub widened: Vec<(K, V)>,
    /// What is not in between, and should be there.
    pub fresh: Vec<(K, V)>,
    /// What is in between, and should not be there.
    late: Vec<K>,
}

impl<K: Ord + Copy, V: PartialEq + Copy> TableDiff<K, V> {
    /// `between` says what is in between of an entry that is there, by how it should be.
    pub fn between(
        old: &BTreeMap<K, V>,
        new: &BTreeMap<K, V>,
        between: impl FnMut(&K, &V, Option<&V>) -> Option<V>,
    ) -> Self {
        Self::walk(old.iter(), new.iter(), between)
    }

    /// What is in both stays as it was, where that `is_same`.
    pub fn kept(
        old: &BTreeMap<K, V>,
        new: &BTreeMap<K, V>,
        mut is_same: impl FnMut(&V, &V) -> bool,
    ) -> Self {
        Self::between(old, new, |_, old, new| {
            new.is_some_and(|new| is_same(old, new)).then_some(*old)
        })
    }

    fn walk<'a>(
        old: impl Iterator<Item = (&'a K, &'a V)>,
        new: impl Iterator<Item = (&'a K, &'a V)>,
        mut between: impl FnMut(&K, &V, Option<&V>) -> Option<V>,
    ) -> Self
    where
        K: 'a,
        V: 'a,
    {
        let [narrowed, widened, fresh] = [const { Vec::new() }; 3];
        let mut diff = Self { narrowed, gone: Vec::new(), widened, fresh, late: Vec::new() };
        for entry in old.merge_join_by(new, |(old, _), (new, _)| old.cmp(new)) {
            let (old, new) = match entry {
                EitherOrBoth::Both((key, old), (_, new)) => ((key, old), Some(new)),
                EitherOrBoth::Left(old) => (old, None),
                EitherOrBoth::Right((key, new)) => {
                    diff.fresh.push((*key, *new));
                    continue;
                }
            };
            diff.add(old, between(old.0, old.1, new), new);
        }
        diff
    }

    fn add(&mut self, (key, old): (&K, &V), between: Option<V>, new: Option<&V>) {
        let Some(between) = between else {
            self.gone.push(*key);
            self.fresh.extend(new.map(|new| (*key, *new)));
            return;
        };
        if between != *old {
            self.narrowed.push((*key, between));
        }
        match new {
            None => self.late.push(*key),
            Some(new) if *new != between => self.widened.push((*key, *new)),
            Some(_) => {}
        }
    }

    /// What is written on the way down.
    pub fn narrowed(&self) -> impl Iterator<Item = (K, V)> {
        self.narrowed.iter().copied()
    }

    /// What is written on the way up.
    pub fn set(&self) -> impl Iterator<Item = (K, V)> {
        self.widened.iter().chain(&self.fresh).copied()
    }

    /// What goes.
    pub fn removed(&self, stage: Stage) -> impl Iterator<Item = K> {
        match stage {
            Stage::Down => &self.gone,
            Stage::Up => &self.late,
        }
        .iter()
        .copied()
    }
}

impl<K: Ord + Copy> TableDiff<K, ()> {
    /// `stays` says of what is there whether it is in between, by whether it should be there.
    pub fn of_sets(old: &BTreeSet<K>, new: &BTreeSet<K>, stays: impl Fn(&K, bool) -> bool) -> Self {
        let [old, new] = [old, new].map(|keys| keys.iter().map(|key| (key, &())));
        Self::walk(old, new, |key, (), new| stays(key, new.is_some()).then_some(()))
    }
}

/// The lists in between of segments whose lists change.
#[derive(Debug, Default)]
pub struct FloodLists(BTreeMap<FloodKey, Endpoint>);

impl FloodLists {
    /// A segment in between has those members that it has before and after, in one of the two lists
    /// if that is one of them.
    pub fn between(
        &mut self,
        (old, before): (&Tables, &Segment),
        (new, after): (&Tables, &Segment),
    ) -> Segment {
        let (had, wanted) = (old.members(before), new.members(after));
        let count = |members: &[Endpoint]| u32::try_from(members.len()).unwrap_or(u32::MAX);
        if before.list == after.list && had == wanted {
            return Segment { members: count(&had), ..*before };
        }
        let stay: BTreeSet<Endpoint> = wanted.iter().copied().collect();
        let members: Vec<Endpoint> =
            had.iter().copied().filter(|endpoint| stay.contains(endpoint)).collect();
        let list = match &members {
            members if *members == wanted => after.list,
            members if *members == had => before.list,
            _ => interim_list(after.list),
        };
        let segment = Segment { list, members: count(&members), ..*before };
        self.0.extend(
            (0..).zip(members).map(|(index, endpoint)| (FloodKey { list, index }, endpoint)),
        );
        segment
    }

    /// What becomes of the places of lists. Those in `between` that are new to it are no step of a
    /// walk through what is there.
    pub fn diff(
        &self,
        old: &BTreeMap<FloodKey, Endpoint>,
        new: &BTreeMap<FloodKey, Endpoint>,
    ) -> TableDiff<FloodKey, Endpoint> {
        let Self(between) = self;
        let mut diff = TableDiff::between(old, new, |key, endpoint, after| {
            between.get(key).or(after.filter(|after| *after == endpoint)).copied()
        });
        diff.fresh.retain(|(key, endpoint)| between.get(key) != Some(endpoint));
        let interim = || between.iter().filter(|(key, _)| !old.contains_key(key));
        diff.narrowed.extend(interim().map(|(key, endpoint)| (*key, *endpoint)));
        diff.late.extend(interim().map(|(key, _)| *key).filter(|key| !new.contains_key(key)));
        diff
    }
}
