//! From what the file says to what the tables should hold. Pure: the same input gives the same
//! tables.
//!
//! Ids are kept for what stays, so that it is not touched. A segment's uid is never given out
//! twice, whatever becomes of its VNI: what was learned under the old one is unreachable under the
//! new.

mod guards;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use sillon_abi::{
    Addr, Attachment, ClassKey, Endpoint, FdbKey, FloodKey, Guards, Label, NodeEntry, PortEntry,
    Role, Segment, TunnelEntry, TunnelKey,
};

use super::{
    rates,
    sizes::Sizes,
    tables::{LIST_STEP, Tables, padded, unpadded},
};
use crate::model::{self, NodeConfig};

const LINE: u8 = sillon_abi::Service::Line as u8;

/// What is known of a port's device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its ifindex.
    pub ifindex: u32,
    /// Its MAC.
    pub mac: [u8; 6],
    /// Whether the pipeline is at TC there.
    pub at_tc: bool,
    /// Whether it is one end of a veth pair whose other end is in another network namespace.
    pub has_far_end: bool,
    /// Whether it is one end of a veth pair.
    pub is_veth: bool,
}

impl Device {
    fn flags(self) -> u8 {
        match (self.at_tc, self.has_far_end) {
            (false, _) if self.is_veth => PortEntry::VETH,
            (false, _) => 0,
            (true, false) => PortEntry::AT_TC,
            (true, true) => PortEntry::AT_TC | PortEntry::HAS_FAR_END,
        }
    }
}

/// The configuration does not fit into the maps.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CompileError {
    /// Too many of something.
    #[error(
        "{wanted} {what}, but the node has room for {room}; raise the limits under [node] and \
         flush the node"
    )]
    Full {
        /// Of what.
        what: &'static str,
        /// How many there are.
        wanted: usize,
        /// How many there may be.
        room: usize,
    },
    /// No number is left for a new segment, and none may be used again.
    #[error(
        "every number that a segment can have was given out once; flush the node, which begins anew"
    )]
    OutOfUids,
}

/// The tables for `config` on `devices` (by port name; a port without a device is left out),
/// keeping ids of `previous`.
///
/// # Errors
/// There is more than the maps have room for.
pub fn compile(
    config: &NodeConfig,
    devices: &BTreeMap<String, Device>,
    previous: &Tables,
    sizes: &Sizes,
) -> Result<Tables, CompileError> {
    let named = Named::new(config);
    let (tables, points, macs) = (Tables::default(), BTreeMap::new(), Vec::new());
    let mut compiler = Compiler { config, named, devices, previous, tables, points, macs };
    compiler.node();
    compiler.segments()?;
    compiler.remotes();
    compiler.attachments();
    compiler.points = compiler.points();
    compiler.cross_connects();
    compiler.tunnels();
    compiler.flood_lists();
    compiler.ports();
    guards::own_macs(&mut compiler.tables, compiler.macs);
    check(&compiler.tables, sizes)?;
    Ok(compiler.tables)
}

fn check(tables: &Tables, sizes: &Sizes) -> Result<(), CompileError> {
    let counts = [
        ("attachments", tables.attachments.len(), sizes.attachments),
        ("segments", tables.segments.len(), sizes.segments),
        ("remotes", tables.remotes.len(), sizes.remotes),
        ("remotes of all segments together", tables.tunnels.len(), sizes.tunnels()),
        ("configured MACs", tables.macs.len(), sizes.macs()),
        ("prefixes", tables.prefixes.len(), sizes.guard_entries()),
        ("listed ethertypes", tables.ethertypes.len(), sizes.guard_entries()),
        ("configured bindings", tables.bindings.len(), sizes.guard_entries()),
    ];
    for (what, wanted, room) in counts {
        let room = room as usize;
        if wanted > room {
            return Err(CompileError::Full { what, wanted, room });
        }
    }
    Ok(())
}

/// An address as the tables keep it.
pub fn addr(ip: IpAddr) -> Addr {
    let octets = match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    let mut words = [0; 8];
    for (word, pair) in words.iter_mut().zip(octets.chunks_exact(2)) {
        *word = u16::from_ne_bytes([pair[0], pair[1]]);
    }
    Addr(words)
}

/// The first ids from 1 on that nobody has.
fn free_ids(taken: impl IntoIterator<Item = u32>) -> impl Iterator<Item = u32> {
    let taken: BTreeSet<u32> = taken.into_iter().collect();
    (1..).filter(move |id| !taken.contains(id))
}

/// Ids that nothing has, and something still mentions, since it could not be removed: it must not
/// mean who comes next.
fn strays(tables: &Tables) -> BTreeSet<u32> {
    let of_endpoints =
        tables.macs.values().chain(tables.bindings.values().map(|binding| &binding.endpoint));
    let of_endpoints =
        of_endpoints.filter(|endpoint| !endpoint.is_remote()).map(|endpoint| endpoint.id());
    let listed = tables.prefixes.iter().map(|(_, key)| key.attachment());
    let listed = listed.chain(tables.ethertypes.iter().map(|key| key.attachment));
    let all = of_endpoints.chain(listed).chain(tables.classes.values().copied());
    all.filter(|id| !tables.attachments.contains_key(id)).collect()
}

/// What the file's names mean: attachments have many of them.
struct Named<'a> {
    segments: HashMap<&'a str, &'a model::Segment>,
    profiles: BTreeMap<&'a model::Name, &'a model::Profile>,
    /// The guards that all points of a segment have.
    shared: BTreeMap<&'a str, u16>,
}

impl<'a> Named<'a> {
    fn new(config: &'a NodeConfig) -> Self {
        Self {
            segments: config.segments.iter().map(|it| (it.name.as_str(), it)).collect(),
            profiles: config.profiles.iter().map(|profile| (&profile.name, profile)).collect(),
            shared: guards::of_segments(config),
        }
    }

    fn shared(&self, segment: &str) -> u16 {
        self.shared.get(segment).copied().unwrap_or(0)
    }
}

/// By what a segment is the same as before: a segment keeps its uid as long as it is the same
/// operator's, by name, VNI and service.
pub(crate) type Identity = ([u8; 64], [u8; 64], u32, u8);

fn label(segment: &model::Segment) -> Label {
    Label { segment: padded(segment.name.as_ref()), operator: padded(segment.operator.as_ref()) }
}

/// What a segment of the file is the same as before by.
pub(crate) fn identity(segment: &model::Segment) -> Identity {
    let label = label(segment);
    (label.segment, label.operator, segment.vni.get(), service(segment.service))
}

/// The uids that there are.
pub(crate) fn uids(tables: &Tables) -> BTreeMap<Identity, u32> {
    let all = tables.segments.iter().filter_map(|(uid, segment)| {
        let label = tables.labels.get(uid)?;
        Some(((label.segment, label.operator, segment.vni, segment.service), *uid))
    });
    all.collect()
}

struct Compiler<'a> {
    config: &'a NodeConfig,
    named: Named<'a>,
    devices: &'a BTreeMap<String, Device>,
    previous: &'a Tables,
    tables: Tables,
    /// What [`Self::points`] says, once there are attachments and remotes.
    points: BTreeMap<u32, Vec<Endpoint>>,
    /// Configured addresses, as the file gives them.
    macs: Vec<(FdbKey, Endpoint)>,
}

impl Compiler<'_> {
    fn node(&mut self) {
        self.tables.node = NodeEntry {
            next_uid: self.previous.node.next_uid.max(1),
            next_list: self.previous.node.next_list.max(LIST_STEP),
            own_macs: 0,
        };
    }

    fn segments(&mut self) -> Result<(), CompileError> {
        let previous = uids(self.previous);
        for segment in &self.config.segments {
            let (label, service) = (label(segment), service(segment.service));
            let uid = match previous.get(&identity(segment)).copied() {
                Some(uid) => uid,
                None => self.new_uid()?,
            };
            let entry = Segment {
                vni: segment.vni.get(),
                list: 0,
                members: 0,
                mtu: segment.mtu,
                service,
                tos: segment.dscp << 2,
                ageing: segment.ageing,
                fdb_limit: segment.mac_limit,
                move_limit: segment.moves.limit,
                move_window: segment.moves.window,
                freeze: segment.moves.freeze,
            };
            self.tables.segments.insert(uid, entry);
            self.tables.labels.insert(uid, label);
            self.tables.vnis.insert(segment.vni.get(), uid);
        }
        Ok(())
    }

    fn new_uid(&mut self) -> Result<u32, CompileError> {
        let next = &mut self.tables.node.next_uid;
        let uid = *next;
        *next = uid.checked_add(1).ok_or(CompileError::OutOfUids)?;
        Ok(uid)
    }

    fn remotes(&mut self) {
        let wanted: BTreeSet<Addr> = self
            .config
            .segments
            .iter()
            .flat_map(|segment| &segment.remotes)
            .map(|ip| addr(*ip))
            .collect();
        let previous: BTreeMap<Addr, u32> =
            self.previous.remotes.iter().map(|(id, addr)| (*addr, *id)).collect();
        let mut free = free_ids(self.previous.remotes.keys().copied());
        for addr in wanted {
            if let Some(id) = previous.get(&addr).copied().or_else(|| free.next()) {
                self.tables.remotes.insert(id, addr);
            }
        }
    }

    /// An attachment keeps its id as long as it is the same segment in the same class. A new one
    /// gets an id that nothing had before, as long as there are such: whatever still holds an
    /// old one finds a free slot.
    fn attachments(&mut self) {
        let previous: HashMap<(u32, ClassKey), u32> = self
            .previous
            .attachments
            .iter()
            .map(|(id, entry)| ((entry.segment, entry.class), *id))
            .collect();
        let mut free =
            free_ids(self.previous.attachments.keys().copied().chain(strays(self.previous)));
        // Maps that are made of all entries at once are made many times as fast as entry by entry.
        let (mut attachments, mut rates_of) = (Vec::new(), Vec::new());
        for attachment in &self.config.attachments {
            let Some(device) = self.devices.get(attachment.port.as_str()) else { continue };
            let Some((uid, segment)) = self.segment(&attachment.segment) else { continue };
            let class = class(device.ifindex, attachment.encap);
            let Some(id) = previous.get(&(uid, class)).copied().or_else(|| free.next()) else {
                continue;
            };
            let rates = rates::of(attachment, &self.named.profiles);
            let shared = self.named.shared(attachment.segment.as_str());
            let entry = Attachment {
                segment: uid,
                class,
                vni: segment.vni,
                cross: Endpoint::NONE,
                fdb_limit: segment.fdb_limit,
                mtu: segment.mtu,
                service: segment.service,
                leaf: u8::from(attachment.role == model::LeafRole::Leaf),
                tos: segment.tos,
                over_limit: guards::over_limit(attachment.guards.over_limit),
                guards: guards::bits(&attachment.guards) | shared | rates::guards(&rates),
                mac_limit: attachment.guards.mac_limit,
            };
            guards::lists(&mut self.tables, id, &attachment.guards);
            self.macs.extend(guards::macs(id, uid, &attachment.guards));
            guards::bindings(&mut self.tables, id, uid, attachment);
            attachments.push((id, entry));
            rates_of.push((id, rates));
        }
        self.tables.attachments = attachments.into_iter().collect();
        self.tables.rates = rates_of.into_iter().collect();
        let classes =
            self.tables.attachments.iter().map(|(id, attachment)| (attachment.class, *id));
        self.tables.classes =
            classes.filter(|(class, _)| class.encap() != sillon_abi::Encap::Port).collect();
    }

    fn segment(&self, name: &model::Name) -> Option<(u32, Segment)> {
        let vni = self.named.segments.get(name.as_str())?.vni.get();
        let uid = *self.tables.vnis.get(&vni)?;
        Some((uid, *self.tables.segments.get(&uid)?))
    }

    /// In a `line`, each point's other one.
    fn cross_connects(&mut self) {
        let points = &self.points;
        for (id, attachment) in &mut self.tables.attachments {
            if attachment.service == LINE {
                let own = Endpoint::attachment(*id);
                let others = points.get(&attachment.segment).into_iter().flatten();
                attachment.cross =
                    others.copied().find(|endpoint| *endpoint != own).unwrap_or(Endpoint::NONE);
            }
        }
    }

    /// All points of each segment: attachments, then IPv4 remotes, then IPv6 remotes (the order
    /// that the flood wants).
    fn points(&self) -> BTreeMap<u32, Vec<Endpoint>> {
        let mut points: BTreeMap<u32, Vec<Endpoint>> = BTreeMap::new();
        for (id, attachment) in &self.tables.attachments {
            points.entry(attachment.segment).or_default().push(Endpoint::attachment(*id));
        }
        let ids: BTreeMap<Addr, u32> =
            self.tables.remotes.iter().map(|(id, addr)| (*addr, *id)).collect();
        for segment in &self.config.segments {
            let Some(uid) = self.tables.vnis.get(&segment.vni.get()) else { continue };
            let mut remotes = segment.remotes.clone();
            remotes.sort_by_key(|ip| (ip.is_ipv6(), *ip));
            let endpoints = remotes
                .into_iter()
                .filter_map(|ip| ids.get(&addr(ip)))
                .map(|id| Endpoint::remote(*id));
            points.entry(*uid).or_default().extend(endpoints);
        }
        points
    }

    fn tunnels(&mut self) {
        for (uid, endpoints) in &self.points {
            let Some(segment) = self.tables.segments.get(uid) else { continue };
            let is_line = segment.service == LINE;
            let label = self.tables.labels.get(uid);
            let guards = label.map_or(0, |label| self.named.shared(&unpadded(&label.segment)));
            let attached = endpoints
                .iter()
                .copied()
                .find(|endpoint| !endpoint.is_remote())
                .unwrap_or(Endpoint::NONE);
            for remote in endpoints.iter().filter(|endpoint| endpoint.is_remote()) {
                let Some(source) = self.tables.remotes.get(&remote.id()) else { continue };
                let key = TunnelKey::new(segment.vni, *source);
                let entry = TunnelEntry {
                    key,
                    segment: *uid,
                    remote: remote.id(),
                    cross: if is_line { attached } else { Endpoint::NONE },
                    fdb_limit: segment.fdb_limit,
                    mtu: segment.mtu,
                    service: segment.service,
                    pad: 0,
                    guards,
                    pad2: 0,
                };
                self.tables.tunnels.insert(key, entry);
            }
        }
    }

    /// A list that is the same as before stays; a changed one is a new list, which the segment is
    /// switched to.
    fn flood_lists(&mut self) {
        let mut flood = Vec::new();
        for (uid, segment) in &mut self.tables.segments {
            let members = match self.points.get(uid) {
                Some(members) if segment.service != LINE => members.as_slice(),
                _ => &[],
            };
            let before = self.previous.segments.get(uid);
            segment.members = u32::try_from(members.len()).unwrap_or(u32::MAX);
            segment.list = match before {
                Some(before) if self.previous.members(before) == members => before.list,
                _ => {
                    let list = self.tables.node.next_list;
                    self.tables.node.next_list = list.wrapping_add(LIST_STEP).max(LIST_STEP);
                    list
                }
            };
            let list = segment.list;
            flood.extend(
                (0..).zip(members).map(|(index, endpoint)| (FloodKey { list, index }, *endpoint)),
            );
        }
        self.tables.flood = flood.into_iter().collect();
    }

    fn ports(&mut self) {
        let attachments = self.tables.attachments.values();
        let peers = attachments.filter(|attachment| attachment.guards & Guards::PEER != 0);
        let peers: BTreeSet<u32> = peers.map(|attachment| attachment.class.ifindex).collect();
        let whole = self.tables.attachments.iter().map(|(id, attachment)| (attachment.class, *id));
        let whole = whole.filter(|(class, _)| class.encap() == sillon_abi::Encap::Port);
        let whole: BTreeMap<u32, u32> = whole.map(|(class, id)| (class.ifindex, id)).collect();
        let classes = self.tables.attachments.values().map(|attachment| attachment.class);
        let tagged = classes.filter(|class| class.encap() != sillon_abi::Encap::Untagged);
        let tagged: BTreeSet<u32> = tagged.map(|class| class.ifindex).collect();
        for port in &self.config.ports {
            let Some(device) = self.devices.get(port.name.as_str()) else { continue };
            let bare = bare_port(&self.config.node, port, *device);
            // Where there is an untagged attachment alone, its operator's frames are what they are
            // without the tag that XDP does not see.
            let is_confusable =
                bare.flags & PortEntry::VETH != 0 && tagged.contains(&device.ifindex);
            let entry = PortEntry {
                whole: whole.get(&device.ifindex).copied().unwrap_or(0),
                flags: bare.flags
                    | if peers.contains(&device.ifindex) { PortEntry::PEERS } else { 0 }
                    | if is_confusable { PortEntry::HW_VLAN } else { 0 },
                ..bare
            };
            self.tables.ports.insert(device.ifindex, entry);
            self.tables.tc_devices.insert(device.ifindex);
            // What XDP has for a port at TC goes on to TC, since it finds no device here.
            if !device.at_tc {
                self.tables.devices.insert(device.ifindex);
            }
            if let Some(record) = self.previous.records.get(&device.ifindex) {
                self.tables.records.insert(device.ifindex, *record);
            }
        }
    }
}

/// A port to which nothing is attached.
pub fn bare_port(node: &model::Node, port: &model::Port, device: Device) -> PortEntry {
    let is_uplink = port.role == model::PortRole::Uplink;
    PortEntry {
        whole: 0,
        mac: sillon_abi::Mac::new(device.mac),
        role: role(port.role) as u8,
        flags: device.flags(),
        vtep4: node.vtep4.filter(|_| is_uplink).map_or([0; 4], |ip| ip.octets()),
        vtep6: node.vtep6.filter(|_| is_uplink).map_or([0; 8], |ip| addr(ip.into()).0),
    }
}

const fn service(service: model::Service) -> u8 {
    match service {
        model::Service::Line => sillon_abi::Service::Line as u8,
        model::Service::Lan => sillon_abi::Service::Lan as u8,
        model::Service::Tree => sillon_abi::Service::Tree as u8,
    }
}

/// What the ABI calls it.
pub const fn role(role: model::PortRole) -> Role {
    match role {
        model::PortRole::Access => Role::Access,
        model::PortRole::Handover => Role::Handover,
        model::PortRole::Uplink => Role::Uplink,
    }
}

/// The class that an attachment on a device is.
pub(crate) fn class(ifindex: u32, encap: model::Encap) -> ClassKey {
    match encap {
        model::Encap::Untagged => ClassKey::untagged(ifindex),
        model::Encap::Dot1q(vid) => ClassKey::dot1q(ifindex, vid.get()),
        model::Encap::QinqS(s) => ClassKey::qinq(ifindex, s.get(), ClassKey::ANY),
        model::Encap::QinqSC { s, c } => ClassKey::qinq(ifindex, s.get(), c.get()),
        model::Encap::Port => ClassKey::whole(ifindex),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

    use super::*;
    use crate::model;

    #[test]
    fn a_node_that_has_given_out_every_uid_gives_out_none_again() {
        const FILE: &str = "[node]\nname = \"edge1\"\n[[segment]]\nname = \"alder-lan\"\n\
                            operator = \"alder\"\nvni = 100\n\
                            service = \"lan\"\n";
        let (config, _) = model::parse("node.toml", FILE).unwrap();
        let sizes = Sizes { attachments: 8, segments: 8, remotes: 8, fdb: 4096 };
        let next = |next_uid| {
            let node = NodeEntry { next_uid, ..NodeEntry::default() };
            compile(&config, &BTreeMap::new(), &Tables { node, ..Tables::default() }, &sizes)
        };
        assert!(next(u32::MAX - 1).unwrap().segments.contains_key(&(u32::MAX - 1)));
        assert!(matches!(next(u32::MAX), Err(CompileError::OutOfUids)));
    }
}
