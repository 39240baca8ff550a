//! What the programs count: frames and bytes, colours, answers, and drops.

use std::collections::BTreeSet;

use aya::maps::PerCpuValues;
use sillon_abi::{Answers, Colours, Counters, DropKey, DropReason, Drops, ScopeKind, Tally, map};

use super::{Maps, Named, batch, insert_new, keys};
use crate::dataplane::DataplaneError;

impl Maps {
    /// Makes room for what will be dropped there. What is there already goes on.
    pub(super) fn count_drops(&mut self, scope: ScopeKind, id: u32) -> Result<(), DataplaneError> {
        insert_new(&mut self.drops, &DropKey { scope: scope as u32, id }, &Drops::NONE)
            .map(drop)
            .named(map::DROPS)
    }

    pub(super) fn remove_drops(
        &mut self,
        scope: ScopeKind,
        ids: impl IntoIterator<Item = u32>,
    ) -> Result<(), DataplaneError> {
        let scope = scope as u32;
        batch::delete(&mut self.drops, ids.into_iter().map(|id| DropKey { scope, id }))
            .named(map::DROPS)
    }

    /// Counters of an attachment, of all CPUs together.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn attachment_counters(&self, id: u32) -> Result<Counters, DataplaneError> {
        Ok(sum(&self.attachment_counters.get(&id, 0).named(map::ATTACHMENT_COUNTERS)?))
    }

    /// What the profiles of an attachment made of its frames, of all CPUs together.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn colours(&self, id: u32) -> Result<Colours, DataplaneError> {
        let add = |sum: &mut Tally, one: &Tally| {
            sum.frames += one.frames;
            sum.bytes += one.bytes;
        };
        let values = self.colours.get(&id, 0).named(map::COLOURS)?;
        Ok(values.iter().fold(Colours::default(), |mut sum, one| {
            sum.ingress.iter_mut().zip(&one.ingress).for_each(|(sum, one)| add(sum, one));
            sum.egress.iter_mut().zip(&one.egress).for_each(|(sum, one)| add(sum, one));
            sum
        }))
    }

    /// Counters of a remote, of all CPUs together.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn remote_counters(&self, id: u32) -> Result<Counters, DataplaneError> {
        Ok(sum(&self.remote_counters.get(&id, 0).named(map::REMOTE_COUNTERS)?))
    }

    /// Where and why frames were dropped, and how many.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn drops(&self) -> Result<Vec<(DropKey, DropReason, u64)>, DataplaneError> {
        let mut drops = Vec::new();
        for (key, Drops(counts)) in batch::entries(&self.drops).named(map::DROPS)? {
            let counts =
                DropReason::ALL.iter().map(|reason| (key, *reason, counts[*reason as usize]));
            drops.extend(counts.filter(|(_, _, frames)| *frames > 0));
        }
        Ok(drops)
    }

    /// Where drops are counted.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn drop_keys(&self) -> Result<BTreeSet<DropKey>, DataplaneError> {
        keys(&self.drops, map::DROPS)
    }

    /// Questions of an attachment that were answered, of all CPUs together.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn answers(&self, id: u32) -> Result<Answers, DataplaneError> {
        let values = self.answers.get(&id, 0).named(map::ANSWERS)?;
        Ok(values.iter().fold(Answers::default(), |sum, one| Answers {
            arp: sum.arp + one.arp,
            nd: sum.nd + one.nd,
        }))
    }
}

fn sum(values: &PerCpuValues<Counters>) -> Counters {
    values.iter().fold(Counters::default(), |mut sum, counters| {
        sum.in_frames += counters.in_frames;
        sum.in_bytes += counters.in_bytes;
        sum.out_frames += counters.out_frames;
        sum.out_bytes += counters.out_bytes;
        sum
    })
}
