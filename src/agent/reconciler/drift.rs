//! What is judged by what is read back from the maps, and not by what was written: drift, and what
//! a controller has purged.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use sillon_abi::{Endpoint, NodeEntry};
use tracing::warn;

use super::{Reconciler, hooks};
use crate::{
    dataplane::{
        DataplaneError,
        applied::AppliedState,
        diff::Op,
        links,
        links::{Mode, Target},
        maps::whole::Account,
        names::ip,
        tables::{Tables, unpadded},
        verify::{self, Applied, Live, Reference, Report, Unsound},
    },
    model::{NodeConfig, Port, PortRole},
    net::links::Link,
    protocol::Parts,
};

/// Where a server was whose addresses are to be purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurgeTarget {
    /// Behind one of the node's own ports.
    Port(String),
    /// Behind another node.
    Remote(IpAddr),
}

impl Reconciler {
    /// What is not as it should be, of all that decides where a frame goes or whether it may: what
    /// two looks found, since programs and underlay change while somebody looks. `links` and
    /// the next hops are those that the tables were made for.
    ///
    /// # Errors
    /// A map can't be read, or the kernel does not say what is on its hooks.
    pub fn judge(&mut self, links: &BTreeMap<String, Link>) -> Result<Report, DataplaneError> {
        let first = self.look(links)?;
        if first.violations.is_empty() {
            return Ok(first);
        }
        Ok(verify::both(&first, self.look(links)?))
    }

    fn look(&mut self, links: &BTreeMap<String, Link>) -> Result<Report, DataplaneError> {
        let reference = self.reference(links)?;
        Ok(verify::judge(&Live::read(&self.maps, &self.pins)?, &reference))
    }

    /// What the agent knows without the maps.
    fn reference(&mut self, links: &BTreeMap<String, Link>) -> Result<Reference, DataplaneError> {
        let applied = self.applied.as_ref().unwrap_or(&self.config);
        let kept = self.applied_state.as_ref().map(|kept| Applied {
            config: applied.clone(),
            next_uid: kept.next_uid,
            next_list: kept.next_list,
            mode: Mode::from_number(kept.mode).unwrap_or(self.mode),
        });
        let (open, undone) = hooks::stacks(applied, links);
        Ok(Reference {
            kept,
            devices: hooks::devices(applied, links),
            // Programs at XDP are not followed, and a link that was looked at a while ago may have
            // had another.
            xdp: None,
            hops: self.hops.clone().unwrap_or_default(),
            open,
            undone,
            tags: self.programs.tags(&[])?,
            loaded: Some(self.programs.ids()?),
        })
    }

    /// Puts right what applying the same configuration again does not: what is in the maps and of
    /// no table, and what is on the hooks. That has to follow.
    ///
    /// # Errors
    /// A map can't be read or written, or a program can't be put in its place. The rest is tried
    /// all the same.
    pub fn mend(&mut self, report: &Report) -> Result<(), DataplaneError> {
        self.ageing = None;
        let maps = self.mend_maps(&report.unsound);
        self.mend_hooks(&report.unsound).and(maps)
    }

    fn mend_maps(&mut self, unsound: &Unsound) -> Result<(), DataplaneError> {
        let misled = self.maps.misled()?;
        self.maps.remove_devices(&misled)?;
        let tables = self.tables()?;
        let left = self.maps.leftovers(&tables.attachments)?;
        self.maps.empty(&left)?;
        self.maps.remove_learned(&unsound.fdb, &unsound.bindings)?;
        self.maps.mend_macs()?;
        self.maps.mend_drops(&tables)?;
        for id in &unsound.meters {
            self.maps.fill(*id)?;
        }
        for (account, (was, there)) in &unsound.accounts {
            match account {
                Account::Fdb(uid) | Account::Bindings(uid)
                    if !tables.segments.contains_key(uid) =>
                {
                    self.maps.close_accounts(*uid)?;
                }
                _ => self.maps.settle(*account, *was, *there)?,
            }
        }
        if let Some(kept) =
            self.applied_state.as_ref().filter(|kept| !kept.has_numbers_of(&tables.node))
        {
            let node =
                NodeEntry { next_uid: kept.next_uid, next_list: kept.next_list, ..tables.node };
            self.maps.apply(&[Op::SetNode(node)])?;
        }
        self.maps.bump_epoch();
        Ok(())
    }

    fn mend_hooks(&mut self, unsound: &Unsound) -> Result<(), DataplaneError> {
        let mut result = Ok(());
        for (ifindex, (role, mode)) in self.attached.clone() {
            let lost: Vec<&str> = unsound
                .lost
                .iter()
                .filter(|(port, _)| *port == ifindex)
                .map(|(_, kind)| *kind)
                .collect();
            // A link that was detached takes no program any more.
            let mut one = links::unpin(&self.pins, ifindex, &lost);
            if unsound.behind.contains(&ifindex) && lost.is_empty() {
                let records = self.maps.records()?;
                let name =
                    records.get(&ifindex).map(|record| unpadded(&record.name)).unwrap_or_default();
                let target = Target { name: &name, ifindex, role, mode };
                one = one.and(links::put_first(&self.pins, &mut self.programs, target));
            }
            if !lost.is_empty()
                || unsound.is_split
                || unsound.replaced.contains(&ifindex)
                || one.is_err()
            {
                self.attached.remove(&ifindex);
            }
            result = result.and(one);
        }
        result
    }

    /// Keeps what was applied of `config`, for who asks without the agent.
    pub(super) fn keep(&mut self, config: &NodeConfig, applied: NodeConfig, tables: &Tables) {
        let mode = stays_at(tables).unwrap_or(self.mode);
        let is_kept =
            self.applied_state.as_ref().is_some_and(|kept| kept.has_numbers_of(&tables.node));
        if is_kept && self.applied.as_ref() == Some(&applied) && self.pins.applied().exists() {
            return;
        }
        let (file, absent) = as_file(&applied, config);
        let NodeEntry { next_uid, next_list, .. } = tables.node;
        let kept = AppliedState { file, absent, next_uid, next_list, mode: mode.number() };
        if let Err(error) = kept.keep(&self.pins) {
            warn!(%error, "what was applied can't be kept: `sillon verify` has nothing to compare \
                           the maps with");
        }
        (self.applied, self.applied_state) = (Some(applied), Some(kept));
    }

    /// Removes what was learned of a segment at a place, whatever is there now. Nothing, if the
    /// segment or the place is not there.
    ///
    /// # Errors
    /// A map can't be read or written.
    pub fn purge(&mut self, segment: &str, place: &PurgeTarget) -> Result<u64, DataplaneError> {
        let tables = self.tables()?;
        let uid = tables.labels.iter().find(|(_, label)| unpadded(&label.segment) == segment);
        let Some((uid, _)) = uid else { return Ok(0) };
        let endpoints: BTreeSet<Endpoint> = match place {
            PurgeTarget::Remote(addr) => {
                let remotes = tables.remotes.iter().filter(|(_, remote)| ip(**remote) == *addr);
                remotes.map(|(id, _)| Endpoint::remote(*id)).collect()
            }
            PurgeTarget::Port(name) => {
                let is_port = |ifindex| {
                    tables
                        .records
                        .get(&ifindex)
                        .is_some_and(|record| unpadded(&record.name) == *name)
                };
                let here = tables.attachments.iter().filter(|(_, attachment)| {
                    attachment.segment == *uid && is_port(attachment.class.ifindex)
                });
                here.map(|(id, _)| Endpoint::attachment(*id)).collect()
            }
        };
        if endpoints.is_empty() { Ok(0) } else { self.maps.purge_endpoints(*uid, &endpoints) }
    }
}

/// What was applied as a node's file, and the uplinks of `config` that are only in it to make it
/// one.
fn as_file(applied: &NodeConfig, config: &NodeConfig) -> (String, Vec<String>) {
    let is_uplink = |port: &&Port| port.role == PortRole::Uplink;
    if applied.ports.iter().any(|port| is_uplink(&port)) {
        return (Parts::of(applied).text(), Vec::new());
    }
    let mut whole = applied.clone();
    whole.ports.extend(config.ports.iter().filter(is_uplink).cloned());
    let absent = config.ports.iter().filter(is_uplink).map(|port| port.name.to_string()).collect();
    (Parts::of(&whole).text(), absent)
}

/// Where XDP runs on the ports that have it: another mode can't be had while they are up.
fn stays_at(tables: &Tables) -> Option<Mode> {
    let modes = tables.records.values().filter_map(|record| Mode::from_number(record.mode));
    modes.into_iter().find(|mode| *mode != Mode::Tc)
}
