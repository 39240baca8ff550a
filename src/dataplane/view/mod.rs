//! A node as its maps tell it, for people and programs; the agent need not run.

mod bindings;
mod guards;
mod limits;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::Serialize;
use sillon_abi::{Answers, Attachment, Counters, Endpoint, FdbEntry, Role, ScopeKind, Service};

use super::{
    DataplaneError,
    clock::monotonic_ns,
    links::{self, Mode},
    maps::Maps,
    names::{Names, encap, ip},
    pins::Pins,
    tables::Tables,
};

pub use bindings::BindingView;
pub use guards::{GuardView, RulesView};
pub use limits::{LimitsView, ProfileView, StormLimitView, StormView, TallyView};

/// Frames and bytes, in and out.
#[derive(Debug, Default, Serialize)]
pub struct Traffic {
    /// Frames received.
    pub in_frames: u64,
    /// Bytes received.
    pub in_bytes: u64,
    /// Frames sent.
    pub out_frames: u64,
    /// Bytes sent.
    pub out_bytes: u64,
}

impl From<Counters> for Traffic {
    fn from(counters: Counters) -> Self {
        let Counters { in_frames, in_bytes, out_frames, out_bytes } = counters;
        Self { in_frames, in_bytes, out_frames, out_bytes }
    }
}

/// A port.
#[derive(Debug, Serialize)]
pub struct PortView {
    /// Interface name.
    pub name: String,
    /// Its ifindex.
    pub ifindex: u32,
    /// `access`, `handover` or `uplink`.
    pub role: &'static str,
    /// Its MAC.
    pub mac: String,
    /// Where its frames are seen to: `xdp` or `tc`.
    pub hook: &'static str,
    /// `native` or `generic` XDP; none at TC.
    pub mode: Option<Mode>,
    /// Whether it takes frames in several pieces, as jumbo frames are; none at TC, which takes
    /// all.
    pub multi_buffer: Option<bool>,
    /// Its attachments.
    pub attachments: Vec<AttachmentView>,
}

/// Questions that were answered for others.
#[derive(Debug, Serialize)]
pub struct AnswersView {
    /// ARP requests.
    pub arp: u64,
    /// IPv6 neighbour solicitations.
    pub nd: u64,
}

/// An attachment.
#[derive(Debug, Serialize)]
pub struct AttachmentView {
    /// Its segment's name.
    pub segment: String,
    /// Its segment's operator.
    pub operator: String,
    /// Port name.
    pub port: String,
    /// As in the configuration.
    pub encap: String,
    /// In a tree: `root` or `leaf`.
    pub role: Option<&'static str>,
    /// What it carried.
    pub traffic: Traffic,
    /// Its questions that were answered for others.
    pub answered: AnswersView,
}

/// A segment.
#[derive(Debug, Serialize)]
pub struct SegmentView {
    /// Its name.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// Its VNI.
    pub vni: u32,
    /// `line`, `lan` or `tree`.
    pub service: &'static str,
    /// Largest layer-3 packet, bytes.
    pub mtu: u16,
    /// MACs in its FDB.
    pub macs: u64,
    /// MACs that it may have.
    pub mac_limit: u32,
    /// Frames whose source was not learned, since the segment had its share.
    pub macs_refused: u64,
    /// Whether its nodes answer ARP and neighbour discovery; none where it has no point here.
    pub suppress: Option<bool>,
    /// Addresses of which it was heard who has them.
    pub bindings: u64,
    /// Claims that were not kept, since the segment had its share.
    pub bindings_refused: u64,
    /// Its attachments on this node.
    pub attachments: Vec<AttachmentView>,
    /// Its remotes.
    pub remotes: Vec<IpAddr>,
}

/// An FDB entry.
#[derive(Debug, Serialize)]
pub struct FdbView {
    /// Its segment's name.
    pub segment: String,
    /// Its segment's VNI.
    pub vni: u32,
    /// The MAC.
    pub mac: String,
    /// Where it was last seen: port and encapsulation, or a remote.
    pub at: String,
    /// Seconds since it was seen, to about a second; none where it is configured.
    pub age: Option<u64>,
    /// `learned`, `configured` or `frozen`.
    pub state: &'static str,
}

/// A remote VTEP.
#[derive(Debug, Serialize)]
pub struct RemoteView {
    /// Its address.
    pub address: IpAddr,
    /// VNIs shared with it.
    pub vnis: Vec<u32>,
    /// The ways to it.
    pub paths: Vec<PathView>,
    /// What went to and came from it; bytes are of the inner frames.
    pub traffic: Traffic,
}

/// A way to a remote.
#[derive(Debug, Serialize)]
pub struct PathView {
    /// Port name.
    pub port: String,
    /// The next hop's MAC.
    pub next_hop: String,
    /// Largest layer-3 packet, bytes.
    pub mtu: u16,
    /// How many of 16 flows take it.
    pub share: usize,
}

/// Dropped frames.
#[derive(Debug, Serialize)]
pub struct DropView {
    /// `port`, `attachment` or `segment`.
    pub scope: &'static str,
    /// Which.
    pub name: String,
    /// The segment's name, if it is known.
    pub segment: Option<String>,
    /// Why.
    pub reason: &'static str,
    /// How many.
    pub frames: u64,
    /// The reason in a sentence.
    pub help: &'static str,
}

/// Reads a node's maps and tells them.
pub struct View<'a> {
    maps: &'a Maps,
    tables: Tables,
}

impl<'a> View<'a> {
    /// Reads the configured tables.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn new(maps: &'a Maps) -> Result<Self, DataplaneError> {
        Ok(Self { maps, tables: maps.read()? })
    }

    fn names(&self) -> Names<'_> {
        Names(&self.tables)
    }

    fn attachment(
        &self,
        id: u32,
        attachment: &Attachment,
    ) -> Result<AttachmentView, DataplaneError> {
        let role = if attachment.leaf != 0 { "leaf" } else { "root" };
        let Answers { arp, nd } = self.maps.answers(id)?;
        Ok(AttachmentView {
            segment: self.names().segment(attachment.segment),
            operator: self.names().operator(attachment.segment),
            port: self.names().port(attachment.class.ifindex),
            encap: encap(attachment.class),
            role: (attachment.service == Service::Tree as u8).then_some(role),
            traffic: self.maps.attachment_counters(id)?.into(),
            answered: AnswersView { arp, nd },
        })
    }

    fn attachments(
        &self,
        wanted: impl Fn(&Attachment) -> bool,
    ) -> Result<Vec<AttachmentView>, DataplaneError> {
        let wanted = self.tables.attachments.iter().filter(|(_, attachment)| wanted(attachment));
        wanted.map(|(id, attachment)| self.attachment(*id, attachment)).collect()
    }

    /// The ports.
    ///
    /// # Errors
    /// A map can't be read, or the kernel does not say what is on a port.
    pub fn ports(&self, pins: &Pins) -> Result<Vec<PortView>, DataplaneError> {
        let multi_buffer = links::multi_buffer(pins)?;
        let mut ports = Vec::new();
        for (ifindex, port) in &self.tables.ports {
            let mode =
                self.tables.records.get(ifindex).and_then(|record| Mode::from_number(record.mode));
            ports.push(PortView {
                name: self.names().port(*ifindex),
                ifindex: *ifindex,
                role: role(port.role),
                mac: port.mac.to_string(),
                hook: if port.is_at_tc() { "tc" } else { "xdp" },
                multi_buffer: multi_buffer.get(ifindex).copied(),
                mode: mode.filter(|mode| *mode != Mode::Tc),
                attachments: self.attachments(|attachment| attachment.class.ifindex == *ifindex)?,
            });
        }
        ports.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(ports)
    }

    /// The segments.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn segments(&self) -> Result<Vec<SegmentView>, DataplaneError> {
        let uids = |endpoints: BTreeSet<(u32, Endpoint)>| {
            endpoints.into_iter().map(|(uid, _)| uid).collect::<BTreeSet<_>>()
        };
        let (points, suppressing) = (uids(self.tables.endpoints()), uids(self.tables.claimants()));
        let mut segments = Vec::new();
        for (uid, segment) in &self.tables.segments {
            let accounts = (self.maps.fdb_use(*uid)?, self.maps.binding_use(*uid)?);
            // The agent may have removed the segment since the tables were read.
            let (Some((used, removed)), Some((bound, unbound))) = accounts else { continue };
            let tunnels = self.tables.tunnels.values().filter(|tunnel| tunnel.segment == *uid);
            segments.push(SegmentView {
                name: self.names().segment(*uid),
                operator: self.names().operator(*uid),
                vni: segment.vni,
                service: service(segment.service),
                mtu: segment.mtu,
                macs: used.learned.saturating_sub(removed),
                mac_limit: segment.fdb_limit,
                macs_refused: used.refused,
                suppress: points.contains(uid).then(|| suppressing.contains(uid)),
                // What the agent adds is counted as one fewer that it has removed, and may be all
                // there is.
                bindings: u64::try_from(bound.learned.wrapping_sub(unbound).cast_signed())
                    .unwrap_or_default(),
                bindings_refused: bound.refused,
                attachments: self.attachments(|attachment| attachment.segment == *uid)?,
                remotes: tunnels.map(|tunnel| ip(tunnel.key.source)).collect(),
            });
        }
        segments.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(segments)
    }

    /// The FDB.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn fdb(&self) -> Result<Vec<FdbView>, DataplaneError> {
        let now = monotonic_ns();
        let mut entries: Vec<_> = self
            .maps
            .fdb()?
            .into_iter()
            .map(|(key, entry)| FdbView {
                segment: self.names().segment(key.segment),
                vni: self.tables.segments.get(&key.segment).map_or(0, |segment| segment.vni),
                mac: key.mac.to_string(),
                at: self.names().endpoint(entry.endpoint),
                age: (!entry.is_configured())
                    .then(|| now.saturating_sub(entry.seen) / 1_000_000_000),
                state: state(&entry),
            })
            .collect();
        entries.sort_by(|a, b| (&a.segment, &a.mac).cmp(&(&b.segment, &b.mac)));
        Ok(entries)
    }

    /// The remotes.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn remotes(&self) -> Result<Vec<RemoteView>, DataplaneError> {
        let paths: BTreeMap<u32, _> = self.maps.paths()?.into_iter().collect();
        let mut remotes = Vec::new();
        for (id, entry) in self.maps.remotes()? {
            let mut shares: BTreeMap<u32, usize> = BTreeMap::new();
            for path in entry.paths.into_iter().filter(|path| *path != 0) {
                *shares.entry(path).or_default() += 1;
            }
            let ways =
                shares.into_iter().filter_map(|(path, share)| Some((paths.get(&path)?, share)));
            let tunnels = self.tables.tunnels.values().filter(|tunnel| tunnel.remote == id);
            remotes.push(RemoteView {
                address: ip(entry.addr),
                vnis: tunnels.map(|tunnel| tunnel.key.vni).collect(),
                paths: ways
                    .map(|(path, share)| PathView {
                        port: self.names().port(path.ifindex),
                        next_hop: sillon_abi::Mac([path.header[0], path.header[1], path.header[2]])
                            .to_string(),
                        mtu: path.mtu,
                        share,
                    })
                    .collect(),
                traffic: self.maps.remote_counters(id)?.into(),
            });
        }
        remotes.sort_by_key(|remote| remote.address);
        Ok(remotes)
    }

    /// Dropped frames, by what they were dropped for.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn drops(&self) -> Result<Vec<DropView>, DataplaneError> {
        let mut drops = Vec::new();
        for (key, reason, frames) in self.maps.drops()? {
            let (scope, name, segment) = if key.scope == ScopeKind::Port as u32 {
                ("port", self.names().port(key.id), None)
            } else if key.scope == ScopeKind::Attachment as u32 {
                let segment =
                    self.tables.attachments.get(&key.id).map(|at| self.names().segment(at.segment));
                ("attachment", self.names().endpoint(Endpoint::attachment(key.id)), segment)
            } else {
                let name = self.names().segment(key.id);
                ("segment", name.clone(), Some(name))
            };
            drops.push(DropView {
                scope,
                name,
                segment,
                reason: reason.name(),
                frames,
                help: reason.help(),
            });
        }
        drops.sort_by(|a, b| (a.scope, &a.name, a.reason).cmp(&(b.scope, &b.name, b.reason)));
        Ok(drops)
    }
}

fn state(entry: &FdbEntry) -> &'static str {
    match entry.flags {
        flags if flags & FdbEntry::CONFIGURED != 0 => "configured",
        flags if flags & FdbEntry::FROZEN != 0 => "frozen",
        _ => "learned",
    }
}

fn role(number: u8) -> &'static str {
    match number {
        n if n == Role::Access as u8 => "access",
        n if n == Role::Handover as u8 => "handover",
        n if n == Role::Uplink as u8 => "uplink",
        _ => "unknown",
    }
}

fn service(number: u8) -> &'static str {
    match number {
        n if n == Service::Line as u8 => "line",
        n if n == Service::Lan as u8 => "lan",
        n if n == Service::Tree as u8 => "tree",
        _ => "unknown",
    }
}
