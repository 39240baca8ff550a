//! The pinned maps, typed: read back as [`Tables`], changed by [`Op`]s.

mod bindings;
mod counters;
mod fdb;

use std::{
    borrow::BorrowMut,
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use aya::{
    Pod,
    maps::xdp::XdpMapError,
    maps::{Array, DevMapHash, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray},
};
use sillon_abi::{
    Addr, Answers, Attachment, Binding, BindingKey, ClassKey, Colours, Counters, DropKey, Drops,
    EthertypeKey, Exit, FdbEntry, FdbKey, FdbUse, FloodKey, Label, Mac, MacUse, Meters, NodeEntry, PathEntry,
    PortEntry, PortRecord, PrefixKey, Rates, RemoteEntry, ScopeKind, Segment, TunnelEntry, TunnelKey, map,
};

use counters::zero;
pub use fdb::Walk;

use super::{
    DataplaneError, barrier,
    diff::{Freshness, Op},
    sizes::Sizes,
    tables::{Tables, unpadded},
};

type Hash<K, V> = HashMap<MapData, K, V>;

/// All maps of a node, opened from their pins.
pub struct Maps {
    node: Array<MapData, NodeEntry>,
    ports: Array<MapData, PortEntry>,
    records: Hash<u32, PortRecord>,
    classes: Hash<ClassKey, u32>,
    attachments: Array<MapData, Attachment>,
    segments: Hash<u32, Segment>,
    labels: Hash<u32, Label>,
    tunnels: Hash<TunnelKey, TunnelEntry>,
    vnis: Hash<u32, u32>,
    remotes: Array<MapData, RemoteEntry>,
    paths: Array<MapData, PathEntry>,
    fdb: Hash<FdbKey, FdbEntry>,
    fdb_use: Hash<u32, FdbUse>,
    fdb_removed: Hash<u32, u64>,
    flood: Hash<FloodKey, Exit>,
    epochs: Array<MapData, u64>,
    devices: DevMapHash<MapData>,
    rates: Array<MapData, Rates>,
    meters: Array<MapData, Meters>,
    colours: PerCpuArray<MapData, Colours>,
    attachment_counters: PerCpuArray<MapData, Counters>,
    remote_counters: PerCpuArray<MapData, Counters>,
    drops: Hash<DropKey, Drops>,
    /// The FDB again, for what aya has no call for.
    fdb_data: MapData,
    macs: Hash<FdbKey, Exit>,
    mac_use: Array<MapData, MacUse>,
    mac_removed: Array<MapData, u64>,
    own_macs: Hash<Mac, u32>,
    prefixes: LpmTrie<MapData, PrefixKey, u32>,
    ethertypes: Hash<EthertypeKey, u32>,
    /// A hash of [`BindingKey`] and [`Binding`].
    bindings_data: MapData,
    fixed_bindings: Hash<BindingKey, Binding>,
    binding_use: Hash<u32, FdbUse>,
    binding_removed: Hash<u32, u64>,
    answers: PerCpuArray<MapData, Answers>,
}

/// Names the map in an error.
pub(super) trait Named<T> {
    fn named(self, map: &'static str) -> Result<T, DataplaneError>;
}

impl<T> Named<T> for Result<T, MapError> {
    fn named(self, map: &'static str) -> Result<T, DataplaneError> {
        self.map_err(|source| DataplaneError::Map { map, source })
    }
}

impl<T> Named<T> for io::Result<T> {
    fn named(self, map: &'static str) -> Result<T, DataplaneError> {
        self.map_err(|source| DataplaneError::Io { path: map.into(), source })
    }
}

/// Whether the kernel refused for this reason.
fn is_errno(error: &MapError, errno: i32) -> bool {
    matches!(error, MapError::SyscallError(error) if error.io_error.raw_os_error() == Some(errno))
}

/// What was to be removed and is not there is as good as removed.
pub(super) fn gone(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(error) if is_errno(&error, libc::ENOENT) => Ok(()),
        result => result,
    }
}

/// Inserts what is not there yet; returns whether it was not.
pub(super) fn insert_new<K: Pod, V: Pod>(map: &mut Hash<K, V>, key: &K, value: &V) -> Result<bool, MapError> {
    const BPF_NOEXIST: u64 = 1;
    match map.insert(key, value, BPF_NOEXIST) {
        Err(error) if is_errno(&error, libc::EEXIST) => Ok(false),
        result => result.map(|()| true),
    }
}

/// Opens a pinned map; the kernel says what it is, and that must be what we took it for.
fn open<T: TryFrom<Map, Error = MapError>>(
    directory: &Path,
    name: &'static str,
) -> Result<T, DataplaneError> {
    let path = directory.join(name);
    let map = MapData::from_pin(&path).and_then(Map::from_map_data).and_then(TryInto::try_into);
    map.map_err(|source| match source {
        MapError::InvalidMapType { .. }
        | MapError::InvalidKeySize { .. }
        | MapError::InvalidValueSize { .. } => DataplaneError::OtherMap { path, source },
        source => DataplaneError::Map { map: name, source },
    })
}

/// Removes a key; that it is not there is as good.
pub(super) fn remove<T: BorrowMut<MapData>, K: Pod, V: Pod>(
    map: &mut HashMap<T, K, V>,
    key: &K,
    name: &'static str,
) -> Result<(), DataplaneError> {
    gone(map.remove(key)).named(name)
}

/// All entries of an array but the first, with their ids.
fn ids<V: Pod>(
    array: &Array<MapData, V>,
    name: &'static str,
) -> impl Iterator<Item = Result<(u32, V), DataplaneError>> {
    (1..array.len()).map(move |id| Ok((id, array.get(&id, 0).named(name)?)))
}

impl Maps {
    /// Opens the maps that are pinned in `directory`.
    ///
    /// # Errors
    /// One is missing or is not what it should be.
    pub fn open(directory: &Path) -> Result<Self, DataplaneError> {
        Ok(Self {
            node: open(directory, map::NODE)?,
            ports: open(directory, map::PORTS)?,
            records: open(directory, map::PORT_RECORDS)?,
            classes: open(directory, map::CLASSES)?,
            attachments: open(directory, map::ATTACHMENTS)?,
            segments: open(directory, map::SEGMENTS)?,
            labels: open(directory, map::LABELS)?,
            tunnels: open(directory, map::TUNNELS)?,
            vnis: open(directory, map::VNIS)?,
            remotes: open(directory, map::REMOTES)?,
            paths: open(directory, map::PATHS)?,
            fdb: open(directory, map::FDB)?,
            fdb_use: open(directory, map::FDB_USE)?,
            fdb_removed: open(directory, map::FDB_REMOVED)?,
            flood: open(directory, map::FLOOD)?,
            epochs: open(directory, map::EPOCHS)?,
            devices: open(directory, map::DEVICES)?,
            rates: open(directory, map::RATES)?,
            meters: open(directory, map::METERS)?,
            colours: open(directory, map::COLOURS)?,
            attachment_counters: open(directory, map::ATTACHMENT_COUNTERS)?,
            remote_counters: open(directory, map::REMOTE_COUNTERS)?,
            drops: open(directory, map::DROPS)?,
            fdb_data: MapData::from_pin(directory.join(map::FDB)).named(map::FDB)?,
            macs: open(directory, map::MACS)?,
            mac_use: open(directory, map::MAC_USE)?,
            mac_removed: open(directory, map::MAC_REMOVED)?,
            own_macs: open(directory, map::OWN_MACS)?,
            prefixes: open(directory, map::PREFIXES)?,
            ethertypes: open(directory, map::ETHERTYPES)?,
            bindings_data: {
                // Opened as what it should be, for the check alone.
                open::<Hash<BindingKey, Binding>>(directory, map::BINDINGS)?;
                MapData::from_pin(directory.join(map::BINDINGS)).named(map::BINDINGS)?
            },
            fixed_bindings: open(directory, map::FIXED_BINDINGS)?,
            binding_use: open(directory, map::BINDING_USE)?,
            binding_removed: open(directory, map::BINDING_REMOVED)?,
            answers: open(directory, map::ANSWERS)?,
        })
    }

    /// What the kernel programs see now.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn read(&self) -> Result<Tables, DataplaneError> {
        let remotes: Vec<_> = ids(&self.remotes, map::REMOTES).collect::<Result<_, _>>()?;
        let attachments: Vec<_> = ids(&self.attachments, map::ATTACHMENTS).collect::<Result<_, _>>()?;
        let attachments: BTreeMap<u32, Attachment> =
            attachments.into_iter().filter(|(_, entry)| entry.segment != 0).collect();
        let records = self.records.iter().collect::<Result<_, _>>().named(map::PORT_RECORDS)?;
        Ok(Tables {
            node: self.node.get(&0, 0).named(map::NODE)?,
            ports: self.ports(&records)?,
            records,
            classes: self.classes.iter().collect::<Result<_, _>>().named(map::CLASSES)?,
            rates: self.rates_of(attachments.keys())?,
            attachments,
            segments: self.segments.iter().collect::<Result<_, _>>().named(map::SEGMENTS)?,
            labels: self.labels.iter().collect::<Result<_, _>>().named(map::LABELS)?,
            tunnels: self.tunnels.iter().collect::<Result<_, _>>().named(map::TUNNELS)?,
            vnis: self.vnis.iter().collect::<Result<_, _>>().named(map::VNIS)?,
            remotes: remotes
                .into_iter()
                .filter(|(_, entry)| entry.addr != Addr::default())
                .map(|(id, entry)| (id, entry.addr))
                .collect(),
            flood: self.flood.iter().collect::<Result<_, _>>().named(map::FLOOD)?,
            devices: self.devices.keys().collect::<Result<BTreeSet<_>, _>>().named(map::DEVICES)?,
            macs: self.macs.iter().collect::<Result<_, _>>().named(map::MACS)?,
            own_macs: self.own_macs.keys().collect::<Result<_, _>>().named(map::OWN_MACS)?,
            prefixes: self.read_prefixes()?,
            ethertypes: self.ethertypes.keys().collect::<Result<_, _>>().named(map::ETHERTYPES)?,
            bindings: self.fixed_bindings.iter().collect::<Result<_, _>>().named(map::FIXED_BINDINGS)?,
        })
    }

    fn rates_of<'a>(
        &self,
        ids: impl Iterator<Item = &'a u32>,
    ) -> Result<BTreeMap<u32, Rates>, DataplaneError> {
        ids.map(|id| Ok((*id, self.rates.get(id, 0).named(map::RATES)?))).collect()
    }

    /// The ports. Each has a record from before it is one until after.
    fn ports(&self, records: &BTreeMap<u32, PortRecord>) -> Result<BTreeMap<u32, PortEntry>, DataplaneError> {
        let mut ports = BTreeMap::new();
        for ifindex in records.keys() {
            let port = self.ports.get(ifindex, 0).named(map::PORTS)?;
            if port.role != 0 {
                ports.insert(*ifindex, port);
            }
        }
        Ok(ports)
    }

    /// How large the maps are that are pinned.
    ///
    /// # Errors
    /// A map can't be asked.
    pub fn sizes(directory: &Path) -> Result<Sizes, DataplaneError> {
        let entries = |name| {
            MapData::from_pin(directory.join(name))
                .and_then(|data| data.info())
                .map(|info| info.max_entries())
                .named(name)
        };
        let sizes = Sizes {
            attachments: entries(map::ATTACHMENTS)?.saturating_sub(1),
            segments: entries(map::SEGMENTS)?,
            remotes: entries(map::REMOTES)?.saturating_sub(1),
            fdb: 0,
        };
        Ok(Sizes { fdb: entries(map::FDB)?.saturating_sub(sizes.macs()), ..sizes })
    }

    /// Takes the steps in order.
    ///
    /// # Errors
    /// The first that the kernel refuses; those before it are taken, and a diff against what is read back goes on from there.
    pub fn apply(&mut self, ops: &[Op]) -> Result<(), DataplaneError> {
        ops.iter().try_for_each(|op| self.take(op))
    }

    fn take(&mut self, op: &Op) -> Result<(), DataplaneError> {
        match op {
            Op::SetNode(entry) => self.node.set(0, *entry, 0).named(map::NODE),
            Op::SetLabel(uid, label) => self.labels.insert(uid, label, 0).named(map::LABELS),
            Op::AddFdbUse(uid) => {
                self.count_drops(ScopeKind::Segment, *uid)?;
                self.fdb_removed.insert(uid, 0, 0).named(map::FDB_REMOVED)?;
                self.fdb_use.insert(uid, FdbUse::default(), 0).named(map::FDB_USE)?;
                self.binding_removed.insert(uid, 0, 0).named(map::BINDING_REMOVED)?;
                self.binding_use.insert(uid, FdbUse::default(), 0).named(map::BINDING_USE)
            }
            Op::SetRemote(id, addr) => {
                self.set_remote(*id, RemoteEntry { addr: *addr, ..RemoteEntry::default() })
            }
            Op::SetRates(id, rates) => self.rates.set(*id, *rates, 0).named(map::RATES),
            Op::SetAttachment(id, attachment, freshness) => self.set_attachment(*id, attachment, *freshness),
            Op::SetFlood(key, exit) => self.flood.insert(key, exit, 0).named(map::FLOOD),
            Op::AddDevice(ifindex) => match self.devices.insert(*ifindex, *ifindex, None, 0) {
                Err(XdpMapError::MapError(error)) => Err(error).named(map::DEVICES),
                // The other failures are of chained programs, which we do not use.
                _ => Ok(()),
            },
            Op::SetRecord(ifindex, record) => {
                self.count_drops(ScopeKind::Port, *ifindex)?;
                self.records.insert(ifindex, record, 0).named(map::PORT_RECORDS)
            }
            Op::SetSegment(uid, segment) => self.segments.insert(uid, segment, 0).named(map::SEGMENTS),
            Op::SetPort(ifindex, port) => self.ports.set(*ifindex, *port, 0).named(map::PORTS),
            Op::SetClass(class, id) => self.classes.insert(class, id, 0).named(map::CLASSES),
            Op::SetTunnel(key, entry) => self.tunnels.insert(key, entry, 0).named(map::TUNNELS),
            Op::SetVni(vni, uid) => self.vnis.insert(vni, uid, 0).named(map::VNIS),
            Op::RemoveClass(class) => remove(&mut self.classes, class, map::CLASSES),
            Op::RemoveTunnel(key) => remove(&mut self.tunnels, key, map::TUNNELS),
            Op::RemoveVni(vni) => remove(&mut self.vnis, vni, map::VNIS),
            Op::RemovePort(ifindex) => self.ports.set(*ifindex, PortEntry::default(), 0).named(map::PORTS),
            Op::Forget => self.forget(),
            Op::Barrier => barrier::wait_for_programs(),
            Op::PurgeFdb(exits) => self.purge_fdb(exits),
            Op::PurgeBindings(exits) => self.purge_bindings(exits),
            Op::RemoveAttachment(id) => self.remove_attachment(*id),
            Op::RemoveSegment(uid) => self.remove_segment(*uid),
            Op::RemoveFlood(key) => remove(&mut self.flood, key, map::FLOOD),
            Op::RemoveRemote(id) => self.set_remote(*id, RemoteEntry::default()),
            // The kernel removes a device that is gone by itself.
            Op::RemoveDevice(ifindex) => gone(self.devices.remove(*ifindex)).named(map::DEVICES),
            Op::RemoveRecord(ifindex) => {
                self.forget_drops(ScopeKind::Port, *ifindex)?;
                remove(&mut self.records, ifindex, map::PORT_RECORDS)
            }
            Op::SetMac(key, exit) => self.set_mac(*key, *exit),
            Op::RemoveMac(key) => self.remove_mac(key),
            Op::AddOwnMac(mac) => self.add_own_mac(mac),
            Op::RemoveOwnMac(mac) => remove(&mut self.own_macs, mac, map::OWN_MACS),
            Op::AddPrefix(length, key) => self.add_prefix(*length, *key),
            Op::RemovePrefix(length, key) => self.remove_prefix(*length, *key),
            Op::AddEthertype(key) => self.ethertypes.insert(key, 0, 0).named(map::ETHERTYPES),
            Op::RemoveEthertype(key) => remove(&mut self.ethertypes, key, map::ETHERTYPES),
            Op::SetBinding(key, binding) => {
                self.fixed_bindings.insert(key, binding, 0).named(map::FIXED_BINDINGS)
            }
            Op::RemoveBinding(key) => remove(&mut self.fixed_bindings, key, map::FIXED_BINDINGS),
        }
    }

    /// Voids what the programs remember: see `ebpf/src/recall.rs`.
    pub(super) fn forget(&mut self) -> Result<(), DataplaneError> {
        let epoch = self.epochs.get(&0, 0).named(map::EPOCHS)?;
        self.epochs.set(0, epoch.wrapping_add(1), 0).named(map::EPOCHS)
    }

    fn set_attachment(
        &mut self,
        id: u32,
        attachment: &Attachment,
        freshness: Freshness,
    ) -> Result<(), DataplaneError> {
        if freshness == Freshness::New {
            self.forget_drops(ScopeKind::Attachment, id)?;
            self.count_drops(ScopeKind::Attachment, id)?;
            self.attachment_counters.set(id, zero()?, 0).named(map::ATTACHMENT_COUNTERS)?;
            self.colours.set(id, zero()?, 0).named(map::COLOURS)?;
            self.answers.set(id, zero()?, 0).named(map::ANSWERS)?;
            self.mac_removed.set(id, 0, 0).named(map::MAC_REMOVED)?;
            self.mac_use.set(id, MacUse::default(), 0).named(map::MAC_USE)?;
        }
        self.attachments.set(id, *attachment, 0).named(map::ATTACHMENTS)
    }

    /// Frees an id: last, so that whoever is interrupted finds the attachment again, and takes up where this was.
    fn remove_attachment(&mut self, id: u32) -> Result<(), DataplaneError> {
        self.rates.set(id, Rates::default(), 0).named(map::RATES)?;
        self.meters.set(id, Meters::default(), 0).named(map::METERS)?;
        self.forget_drops(ScopeKind::Attachment, id)?;
        self.attachments.set(id, Attachment::default(), 0).named(map::ATTACHMENTS)
    }

    fn remove_segment(&mut self, uid: u32) -> Result<(), DataplaneError> {
        remove(&mut self.segments, &uid, map::SEGMENTS)?;
        remove(&mut self.labels, &uid, map::LABELS)?;
        remove(&mut self.fdb_use, &uid, map::FDB_USE)?;
        remove(&mut self.fdb_removed, &uid, map::FDB_REMOVED)?;
        remove(&mut self.binding_use, &uid, map::BINDING_USE)?;
        remove(&mut self.binding_removed, &uid, map::BINDING_REMOVED)?;
        self.forget_drops(ScopeKind::Segment, uid)
    }

    fn set_remote(&mut self, id: u32, entry: RemoteEntry) -> Result<(), DataplaneError> {
        self.remote_counters.set(id, zero()?, 0).named(map::REMOTE_COUNTERS)?;
        self.remotes.set(id, entry, 0).named(map::REMOTES)
    }

    /// Adds to what was turned off on a port.
    ///
    /// # Errors
    /// The map can't be read or written.
    pub fn add_features(&mut self, ifindex: u32, features: u32) -> Result<(), DataplaneError> {
        let record = self.records.get(&ifindex, 0).named(map::PORT_RECORDS)?;
        let record = PortRecord { features: record.features | features, ..record };
        self.records.insert(ifindex, record, 0).named(map::PORT_RECORDS)
    }

    /// The segments, by uid.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn segments(&self) -> Result<Vec<(u32, Segment)>, DataplaneError> {
        self.segments.iter().collect::<Result<_, _>>().named(map::SEGMENTS)
    }

    /// The names of a segment and of its operator.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn label(&self, uid: u32) -> Result<(String, String), DataplaneError> {
        let label = self.labels.get(&uid, 0).named(map::LABELS)?;
        Ok((unpadded(&label.segment), unpadded(&label.operator)))
    }

    /// The remotes with their paths.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn remotes(&self) -> Result<Vec<(u32, RemoteEntry)>, DataplaneError> {
        ids(&self.remotes, map::REMOTES)
            .filter(|entry| entry.as_ref().map_or(true, |(_, entry)| entry.addr != Addr::default()))
            .collect()
    }

    /// The paths in use.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn paths(&self) -> Result<Vec<(u32, PathEntry)>, DataplaneError> {
        ids(&self.paths, map::PATHS)
            .filter(|entry| entry.as_ref().map_or(true, |(_, entry)| entry.header_len != 0))
            .collect()
    }

    /// Writes a path.
    ///
    /// # Errors
    /// The map can't be written.
    pub fn set_path(&mut self, id: u32, path: PathEntry) -> Result<(), DataplaneError> {
        self.paths.set(id, path, 0).named(map::PATHS)
    }

    /// Lets a remote use other paths.
    ///
    /// # Errors
    /// The map can't be written.
    pub fn set_paths_of(&mut self, id: u32, entry: RemoteEntry) -> Result<(), DataplaneError> {
        self.remotes.set(id, entry, 0).named(map::REMOTES)
    }
}
