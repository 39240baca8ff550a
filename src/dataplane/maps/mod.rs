//! The pinned maps, typed: read back as [`Tables`], changed by [`Op`](super::diff::Op)s.

mod apply;
mod bindings;
mod counters;
mod fdb;
mod macs;
pub mod whole;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use aya::{
    Pod,
    maps::{Array, DevMapHash, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray},
};
use sillon_abi::{
    Addr, Answers, Attachment, Binding, BindingKey, ClassKey, Colours, Counters, DropKey, Drops,
    Endpoint, Epochs, EthertypeKey, FdbEntry, FdbKey, FdbUse, FloodKey, Label, Mac, MacUse, Meters,
    NodeEntry, PathEntry, PortEntry, PortRecord, PrefixKey, Rates, RemoteEntry, Segment,
    TunnelEntry, TunnelKey, map,
};

pub use apply::Refused;
pub use bindings::BindingWalk;
pub use fdb::{FdbWalk, Walk};

use super::{
    DataplaneError,
    bpf_syscall::{
        batch::{self, Batched},
        epoch::NodeEpoch,
    },
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
    flood: Hash<FloodKey, Endpoint>,
    epoch: NodeEpoch,
    devices: DevMapHash<MapData>,
    tc_devices: DevMapHash<MapData>,
    rates: Array<MapData, Rates>,
    meters: Array<MapData, Meters>,
    colours: PerCpuArray<MapData, Colours>,
    attachment_counters: PerCpuArray<MapData, Counters>,
    remote_counters: PerCpuArray<MapData, Counters>,
    drops: Hash<DropKey, Drops>,
    macs: Hash<FdbKey, Endpoint>,
    mac_use: Array<MapData, MacUse>,
    mac_removed: Array<MapData, u64>,
    own_macs: Hash<Mac, u32>,
    prefixes: LpmTrie<MapData, PrefixKey, u32>,
    ethertypes: Hash<EthertypeKey, u32>,
    bindings: Hash<BindingKey, Binding>,
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

/// What is there; none where there is no such entry.
pub(super) fn found<T>(result: Result<T, MapError>) -> Result<Option<T>, MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(None),
        result => result.map(Some),
    }
}

/// Inserts what is not there yet; returns whether it was not.
pub(super) fn insert_new<K: Pod, V: Pod>(
    map: &mut Hash<K, V>,
    key: &K,
    value: &V,
) -> Result<bool, MapError> {
    const BPF_NOEXIST: u64 = 1;
    match map.insert(key, value, BPF_NOEXIST) {
        Err(error) if is_errno(&error, libc::EEXIST) => Ok(false),
        result => result.map(|()| true),
    }
}

/// Opens a pinned map; the kernel says what it is, and that must be what we took it for.
pub(super) fn open<T: TryFrom<Map, Error = MapError>>(
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

/// The node's epoch, in the agent's own memory.
fn epoch(directory: &Path) -> Result<NodeEpoch, DataplaneError> {
    let map: Array<MapData, Epochs> = open(directory, map::EPOCHS)?;
    NodeEpoch::of(map.fd()).map_err(|source| DataplaneError::Shared { map: map::EPOCHS, source })
}

/// All entries of a map.
pub(super) fn all<M: Batched, C: FromIterator<(M::Key, M::Value)>>(
    map: &M,
    name: &'static str,
) -> Result<C, DataplaneError> {
    Ok(batch::entries(map).named(name)?.into_iter().collect())
}

/// The keys of a map.
fn keys<M: Batched, C: FromIterator<M::Key>>(
    map: &M,
    name: &'static str,
) -> Result<C, DataplaneError> {
    Ok(batch::entries(map).named(name)?.into_iter().map(|(key, _)| key).collect())
}

/// The entries of an array that are in use, with their ids. The first never is.
pub(super) fn used<V: Pod, C: FromIterator<(u32, V)>>(
    array: &Array<MapData, V>,
    name: &'static str,
    is_used: impl Fn(&u32, &V) -> bool,
) -> Result<C, DataplaneError> {
    let entries =
        batch::entries_that(array, |(id, value)| *id != 0 && is_used(id, value)).named(name)?;
    Ok(entries.into_iter().collect())
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
            epoch: epoch(directory)?,
            devices: open(directory, map::DEVICES)?,
            tc_devices: open(directory, map::TC_DEVICES)?,
            rates: open(directory, map::RATES)?,
            meters: open(directory, map::METERS)?,
            colours: open(directory, map::COLOURS)?,
            attachment_counters: open(directory, map::ATTACHMENT_COUNTERS)?,
            remote_counters: open(directory, map::REMOTE_COUNTERS)?,
            drops: open(directory, map::DROPS)?,
            macs: open(directory, map::MACS)?,
            mac_use: open(directory, map::MAC_USE)?,
            mac_removed: open(directory, map::MAC_REMOVED)?,
            own_macs: open(directory, map::OWN_MACS)?,
            prefixes: open(directory, map::PREFIXES)?,
            ethertypes: open(directory, map::ETHERTYPES)?,
            bindings: open(directory, map::BINDINGS)?,
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
        let attachments: BTreeMap<u32, Attachment> =
            used(&self.attachments, map::ATTACHMENTS, |_, entry| entry.segment != 0)?;
        let records = self.records()?;
        Ok(Tables {
            node: self.node.get(&0, 0).named(map::NODE)?,
            ports: self.ports(&records)?,
            records,
            classes: all(&self.classes, map::CLASSES)?,
            rates: used(&self.rates, map::RATES, |id, _| attachments.contains_key(id))?,
            attachments,
            segments: all(&self.segments, map::SEGMENTS)?,
            labels: self.labels()?,
            tunnels: all(&self.tunnels, map::TUNNELS)?,
            vnis: all(&self.vnis, map::VNIS)?,
            remotes: self.remotes()?.into_iter().map(|(id, entry)| (id, entry.addr)).collect(),
            flood: all(&self.flood, map::FLOOD)?,
            // The kernel has no batches of these.
            devices: self.devices.keys().collect::<Result<BTreeSet<_>, _>>().named(map::DEVICES)?,
            tc_devices: self
                .tc_devices
                .keys()
                .collect::<Result<BTreeSet<_>, _>>()
                .named(map::TC_DEVICES)?,
            macs: all(&self.macs, map::MACS)?,
            own_macs: keys(&self.own_macs, map::OWN_MACS)?,
            prefixes: self.read_prefixes()?,
            ethertypes: keys(&self.ethertypes, map::ETHERTYPES)?,
            bindings: all(&self.fixed_bindings, map::FIXED_BINDINGS)?,
        })
    }

    /// The ports. Each has a record from before it is one until after.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn ports(
        &self,
        records: &BTreeMap<u32, PortRecord>,
    ) -> Result<BTreeMap<u32, PortEntry>, DataplaneError> {
        let mut ports = BTreeMap::new();
        for ifindex in records.keys() {
            // A record of a number that no port can have is another hand's, and is told of as such.
            let port = match self.ports.get(ifindex, 0) {
                Err(MapError::OutOfBounds { .. }) => continue,
                port => port.named(map::PORTS)?,
            };
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

    /// Adds to what was turned off on a port.
    ///
    /// # Errors
    /// The map can't be read or written.
    pub fn add_features(&mut self, ifindex: u32, features: u32) -> Result<(), DataplaneError> {
        let record = self.records.get(&ifindex, 0).named(map::PORT_RECORDS)?;
        let record = PortRecord { features: record.features | features, ..record };
        self.records.insert(ifindex, record, 0).named(map::PORT_RECORDS)
    }

    /// Takes back from what was turned off on a port.
    ///
    /// # Errors
    /// The map can't be read or written.
    pub fn remove_features(&mut self, ifindex: u32, features: u32) -> Result<(), DataplaneError> {
        let record = self.records.get(&ifindex, 0).named(map::PORT_RECORDS)?;
        let record = PortRecord { features: record.features & !features, ..record };
        self.records.insert(ifindex, record, 0).named(map::PORT_RECORDS)
    }

    /// The segments, by uid.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn segments(&self) -> Result<Vec<(u32, Segment)>, DataplaneError> {
        all(&self.segments, map::SEGMENTS)
    }

    /// The names of all segments, by uid.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn labels(&self) -> Result<BTreeMap<u32, Label>, DataplaneError> {
        all(&self.labels, map::LABELS)
    }

    /// The ports' records, by ifindex.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn records(&self) -> Result<BTreeMap<u32, PortRecord>, DataplaneError> {
        all(&self.records, map::PORT_RECORDS)
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
        used(&self.remotes, map::REMOTES, |_, entry| entry.addr != Addr::default())
    }

    /// The paths in use.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn paths(&self) -> Result<Vec<(u32, PathEntry)>, DataplaneError> {
        used(&self.paths, map::PATHS, |_, entry| entry.header_len != 0)
    }

    /// Writes paths.
    ///
    /// # Errors
    /// The map can't be written.
    pub fn set_paths(&mut self, paths: &[(u32, PathEntry)]) -> Result<(), DataplaneError> {
        batch::update(&mut self.paths, paths.iter().copied()).named(map::PATHS)
    }

    /// Lets remotes use other paths.
    ///
    /// # Errors
    /// The map can't be written.
    pub fn set_paths_of(&mut self, remotes: &[(u32, RemoteEntry)]) -> Result<(), DataplaneError> {
        batch::update(&mut self.remotes, remotes.iter().copied()).named(map::REMOTES)
    }
}
