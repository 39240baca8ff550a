//! The guards' part of [`super::verify`]: what is configured for an attachment is its own, each
//! guard that asks for a list has one, and no list is left over.

use std::collections::{BTreeMap, BTreeSet};

use sillon_abi::{Endpoint, FdbEntry, FdbKey, Guards, PortEntry, Service};

use super::Verifier;
use crate::dataplane::tables::Lists;

impl Verifier<'_> {
    pub(super) fn guards(&mut self) {
        self.configured_macs();
        self.own_macs();
        self.lists();
        self.attachment_limits();
        self.line_guards();
        self.peers();
    }

    /// The node's own stack speaks where an attachment says so, and nowhere else.
    fn peers(&mut self) {
        let tables = self.tables;
        let peers =
            tables.attachments.values().filter(|attachment| attachment.guards & Guards::PEER != 0);
        let peers: BTreeSet<u32> = peers.map(|attachment| attachment.class.ifindex).collect();
        for (ifindex, port) in &tables.ports {
            if (port.flags & PortEntry::PEERS != 0) != peers.contains(ifindex) {
                let name = self.names().port(*ifindex);
                let what = format!(
                    "port {name} lets out other control frames of the node's than its attachments \
                     say"
                );
                self.violation("ports", what, &[]);
            }
        }
    }

    /// Each configured address is in the FDB as such, and nothing else is.
    fn configured_macs(&mut self) {
        let tables = self.tables;
        self.checked("configured MACs", tables.macs.len());
        let fdb: BTreeMap<FdbKey, FdbEntry> = self.live.fdb.iter().copied().collect();
        for (key, endpoint) in &tables.macs {
            let whose = format!("{} in {}", key.mac, self.names().segment(key.segment));
            match fdb.get(key) {
                Some(entry) if entry.is_configured() && entry.endpoint == *endpoint => {}
                Some(_) => {
                    let what = format!("{whose} is configured, and the FDB has it otherwise");
                    self.violation("configured MACs", what, &[key.segment]);
                }
                None => {
                    let what = format!("{whose} is configured, and not in the FDB");
                    self.violation("configured MACs", what, &[key.segment]);
                }
            }
            if endpoint.is_remote() {
                self.violation(
                    "configured MACs",
                    format!("{whose} is configured for a remote"),
                    &[key.segment],
                );
            }
            self.expect_own("configured MACs", &whose, *endpoint, key.segment);
        }
        for (key, entry) in &fdb {
            if entry.is_configured() && !tables.macs.contains_key(key) {
                let what = format!(
                    "{} in {} is nobody's, and does not age",
                    key.mac,
                    self.names().segment(key.segment)
                );
                self.violation("FDB", what, &[key.segment]);
            }
        }
    }

    fn own_macs(&mut self) {
        let tables = self.tables;
        self.checked("own MACs", tables.own_macs.len());
        for (ifindex, port) in tables.ports.iter().filter(|(_, port)| !port.mac.is_zero()) {
            let name = self.names().port(*ifindex);
            if !tables.own_macs.contains(&port.mac)
                || tables.node.own_macs & port.mac.own_bit() == 0
            {
                self.violation(
                    "own MACs",
                    format!("who sends from {}, the MAC of port {name}, is believed", port.mac),
                    &[],
                );
            }
        }
        for mac in &tables.own_macs {
            if !tables.ports.values().any(|port| port.mac == *mac) {
                self.violation("own MACs", format!("{mac} is no port's, and is dropped"), &[]);
            }
        }
        for (key, _) in self
            .live
            .fdb
            .iter()
            .filter(|(key, entry)| tables.own_macs.contains(&key.mac) && !entry.is_configured())
        {
            let what = format!(
                "{}, which is the node's own, was learned in {}",
                key.mac,
                self.names().segment(key.segment)
            );
            self.violation("FDB", what, &[key.segment]);
        }
    }

    /// Guards without a list drop everything; lists without a guard are left over, and would be
    /// another attachment's later.
    fn lists(&mut self) {
        let tables = self.tables;
        self.checked("prefixes", tables.prefixes.len());
        self.checked("ethertypes", tables.ethertypes.len());
        let lists = Lists::of(tables);
        for (id, attachment) in &tables.attachments {
            let name = self.names().class(attachment.class);
            let has = [
                (Guards::PREFIXES, "prefixes", lists.prefixes.contains_key(id)),
                (Guards::ETHERTYPES, "ethertypes", lists.ethertypes.contains_key(id)),
                (Guards::FIXED_MACS, "configured MACs", lists.macs.contains_key(id)),
            ];
            for (bit, of, is_there) in has {
                match (attachment.guards & bit != 0, is_there) {
                    (true, false) => {
                        self.violation(
                            of,
                            format!("{name} may have none at all"),
                            &[attachment.segment],
                        );
                    }
                    (false, true) => {
                        self.violation(
                            of,
                            format!("those of {name} are not asked for"),
                            &[attachment.segment],
                        );
                    }
                    _ => {}
                }
            }
        }
        let is_left = |id: &u32| !tables.attachments.contains_key(id);
        let prefixes =
            lists.prefixes.iter().filter(|(id, _)| is_left(id)).map(|(_, list)| list.len());
        let ethertypes =
            lists.ethertypes.iter().filter(|(id, _)| is_left(id)).map(|(_, list)| list.len());
        for (of, count) in [("prefixes", prefixes.sum::<usize>()), ("ethertypes", ethertypes.sum())]
        {
            if count > 0 {
                self.violation(of, format!("{count} of them are of no attachment"), &[]);
            }
        }
    }

    /// No attachment has learned more than it may.
    fn attachment_limits(&mut self) {
        let mut counts: BTreeMap<Endpoint, u32> = BTreeMap::new();
        for (_, entry) in self.live.fdb.iter().filter(|(_, entry)| !entry.is_configured()) {
            *counts.entry(entry.endpoint).or_default() += 1;
        }
        let tables = self.tables;
        for (id, attachment) in &tables.attachments {
            let has = counts.get(&Endpoint::attachment(*id)).copied().unwrap_or(0);
            if has > attachment.mac_limit {
                let name = self.names().class(attachment.class);
                let what =
                    format!("{name} has {has} addresses, more than its {}", attachment.mac_limit);
                self.violation("FDB", what, &[attachment.segment]);
            }
        }
    }

    /// A line's points and tunnels agree on what crosses it, and no other segment carries control
    /// frames.
    fn line_guards(&mut self) {
        const SHARED: u16 = Guards::LINE_MACS | Guards::CONTROL;
        let tables = self.tables;
        let mut lines: BTreeMap<u32, u16> = BTreeMap::new();
        let points = tables.attachments.values().map(|one| (one.segment, one.service, one.guards));
        let tunnels = tables.tunnels.values().map(|one| (one.segment, one.service, one.guards));
        for (uid, service, guards) in points.chain(tunnels) {
            let shared = guards & SHARED;
            let is_line = service == Service::Line as u8;
            if !is_line && shared != 0 || is_line && *lines.entry(uid).or_insert(shared) != shared {
                let what = format!(
                    "the points of {} do not agree on what crosses it",
                    self.names().segment(uid)
                );
                self.violation("guards", what, &[uid]);
            }
        }
    }
}
