//! What the node's ids mean to others: by which names and addresses segments, ports and remotes are
//! spoken of.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use sillon_abi::{Endpoint, FdbKey, Service, TunnelKey};

use super::subject::{Bound, Found};
use crate::dataplane::{
    compile::addr,
    names::{Names, encap},
    tables::{Tables, unpadded},
};

/// A segment that learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedSegment {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub operator: String,
    /// How many addresses it may have.
    pub limit: u32,
    /// Whether questions for IP addresses are answered there.
    suppresses: bool,
    vni: u32,
}

/// An attachment, as others speak of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Its segment's name.
    pub segment: String,
    /// Its port.
    pub port: String,
    /// As in the configuration.
    pub encap: String,
    /// Whether frames from it, and to it, have a profile.
    pub policed: [bool; 2],
}

/// What ids mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeIndex {
    /// The segments that learn, by uid.
    pub segments: BTreeMap<u32, IndexedSegment>,
    by_name: HashMap<String, u32>,
    /// Segment and port, by attachment id.
    attachments: HashMap<u32, (u32, Arc<str>)>,
    tunnels: BTreeMap<TunnelKey, u32>,
    /// All attachments, by id; also those of a `line`.
    pub points: BTreeMap<u32, Point>,
    /// What is configured for attachments.
    pub configured: Vec<Found<FdbKey>>,
    /// The same of IP addresses.
    pub bound: Vec<Bound>,
}

impl NodeIndex {
    /// What these tables have.
    pub fn of(tables: &Tables) -> Self {
        let suppressing: BTreeSet<u32> =
            tables.claimants().into_iter().map(|(uid, _)| uid).collect();
        let learns =
            tables.segments.iter().filter(|(_, segment)| segment.service != Service::Line as u8);
        let segments = learns.filter_map(|(uid, segment)| {
            let label = tables.labels.get(uid)?;
            let (name, operator) = (unpadded(&label.segment), unpadded(&label.operator));
            let (limit, suppresses) = (segment.fdb_limit, suppressing.contains(uid));
            Some((*uid, IndexedSegment { name, operator, limit, suppresses, vni: segment.vni }))
        });
        let segments: BTreeMap<u32, IndexedSegment> = segments.collect();
        let ports: BTreeMap<u32, Arc<str>> = tables
            .records
            .iter()
            .map(|(ifindex, record)| (*ifindex, unpadded(&record.name).into()))
            .collect();
        let attachments = tables.attachments.iter().filter_map(|(id, attachment)| {
            Some((*id, (attachment.segment, Arc::clone(ports.get(&attachment.class.ifindex)?))))
        });
        let points = tables.attachments.iter().map(|(id, attachment)| {
            let (segment, port) = (
                Names(tables).segment(attachment.segment),
                Names(tables).port(attachment.class.ifindex),
            );
            let rates = tables.rates.get(id);
            let policed =
                rates.map_or([false; 2], |rates| [rates.ingress.is_some(), rates.egress.is_some()]);
            (*id, Point { segment, port, encap: encap(attachment.class), policed })
        });
        let configured = tables.macs.iter().filter(|(key, _)| segments.contains_key(&key.segment));
        let bound = tables.bindings.iter().filter(|(key, _)| segments.contains_key(&key.segment));
        Self {
            by_name: segments.iter().map(|(uid, segment)| (segment.name.clone(), *uid)).collect(),
            attachments: attachments.collect(),
            points: points.collect(),
            tunnels: tables.tunnels.iter().map(|(key, tunnel)| (*key, tunnel.remote)).collect(),
            configured: configured
                .map(|(key, endpoint)| Found { key: *key, endpoint: *endpoint, word: () })
                .collect(),
            bound: bound
                .map(|(key, one)| Found { key: *key, endpoint: one.endpoint, word: one.claim })
                .collect(),
            segments,
        }
    }

    /// The uid of a segment that learns.
    pub fn uid(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// Whether a segment learns, and answers questions for IP addresses.
    pub fn suppresses(&self, uid: u32) -> bool {
        self.segments.get(&uid).is_some_and(|segment| segment.suppresses)
    }

    /// The port of a segment's attachment; none if it is not the segment's, or is no attachment.
    pub fn port(&self, uid: u32, endpoint: Endpoint) -> Option<&str> {
        let (segment, port) =
            self.attachments.get(&endpoint.id()).filter(|_| !endpoint.is_remote())?;
        (*segment == uid).then_some(port)
    }

    /// The endpoint to a remote of a segment.
    pub fn remote(&self, uid: u32, remote: IpAddr) -> Option<Endpoint> {
        let key = TunnelKey::new(self.segments.get(&uid)?.vni, addr(remote));
        self.tunnels.get(&key).map(|id| Endpoint::remote(*id))
    }

    /// Whether remotes are reached as they are by others.
    pub fn has_same_remotes(&self, other: &Self) -> bool {
        self.tunnels == other.tunnels && self.segments == other.segments
    }
}
