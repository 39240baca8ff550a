//! Brings the kernel to what the file says: preflight, compile, diff, apply, attach. Holds what
//! that needs, and decides nothing else.

mod addresses;
mod ageing;
mod counters;
mod drift;
mod hooks;
mod kernel;
mod listen;
mod make;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs::File,
    net::IpAddr,
    sync::Arc,
};

use anyhow::Context;
use nix::fcntl::Flock;
use sillon_abi::{BindingKey, FdbEntry, FdbKey, Mac, Role};
use tracing::{error, warn};

use ageing::Ageing;

use self::make::{Made, Wish, make};
pub use self::{
    counters::Counters,
    drift::PurgeTarget,
    hooks::{devices, stacks},
};
use super::{log_limit::LogLimit, node_index::NodeIndex, offloads};
use crate::{
    dataplane::{
        DataplaneError,
        applied::AppliedState,
        compile::{CompileError, Device},
        learn_events::LearnEvents,
        left_out::{Item, LeftOut},
        links::{self, Mode},
        loader::Programs,
        maps::Maps,
        paths::{self, NextHop, Underlay, Vteps},
        pins::Pins,
        sizes::Sizes,
        tables::{Tables, unpadded},
    },
    model::{Limits, MacAddr, NodeConfig},
    net::{
        NetlinkError,
        links::Link,
        underlay::{Snapshot, neighbours},
    },
};

/// Why a configuration was not applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// It does not fit, and what does not could not be left out.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The kernel half.
    #[error(transparent)]
    Dataplane(#[from] DataplaneError),
    /// What can't be changed while the node is up.
    #[error(
        "{what} can't be changed while the node is up: it is {is}, and the file says {wanted}; \
         `sillon node flush` first"
    )]
    Fixed {
        /// What.
        what: &'static str,
        /// What it is.
        is: String,
        /// What the file says.
        wanted: String,
    },
    /// A device's features.
    #[error(transparent)]
    Offloads(#[from] offloads::OffloadsError),
    /// The kernel did not say what is on its devices.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

impl ApplyError {
    /// Whether the file asks for what can't be, and nothing was changed.
    pub fn is_wrong_input(&self) -> bool {
        matches!(self, Self::Compile(_) | Self::Fixed { .. })
    }
}

/// A node's kernel half, and what it was last told.
pub struct Reconciler {
    pins: Pins,
    maps: Maps,
    programs: Programs,
    sizes: Sizes,
    mode: Mode,
    config: NodeConfig,
    /// What of it is not carried out.
    left_out: Vec<LeftOut>,
    /// What of that the kernel refused when it was last tried.
    failed: BTreeMap<Item, String>,
    /// Whether something was left undone that could not be left out.
    is_undone: bool,
    /// Ifindexes on which this agent's programs are.
    attached: BTreeMap<u32, (Role, Mode)>,
    /// Those of them that have just come there.
    fresh: BTreeSet<u32>,
    /// What each reachable remote's next hops are. Nothing until the kernel has said: until then the
    /// ways that an agent before this one found stay.
    hops: Option<BTreeMap<IpAddr, Vec<NextHop>>>,
    /// The node's own addresses.
    own_macs: BTreeSet<Mac>,
    /// Addresses whose bindings are configured.
    fixed_bindings: BTreeSet<BindingKey>,
    /// Addresses that were told of as frozen.
    frozen: BTreeSet<FdbKey>,
    /// How many of those are told of.
    log_limit: LogLimit,
    /// How often it was asked to age the FDB.
    ticks: u32,
    /// Where that is, while it is at it.
    ageing: Option<Ageing>,
    /// What ids mean, if anybody wants to know.
    index: Option<Arc<NodeIndex>>,
    /// What of the configuration was applied, which is all but what is left out.
    applied: Option<NodeConfig>,
    /// The same, as it is kept beside the maps.
    applied_state: Option<AppliedState>,
    _lock: Option<Flock<File>>,
}

/// From the tables as they were read back to those that are wanted.
struct Change<'a> {
    /// What of the configuration fits.
    config: Cow<'a, NodeConfig>,
    devices: BTreeMap<String, Device>,
    previous: Tables,
    wanted: Tables,
    /// What of the configuration is not in them.
    left_out: Vec<LeftOut>,
}

impl Reconciler {
    /// Starts on what is pinned in `pins`, or makes it. Where nothing was there before and this
    /// fails, nothing is left.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub async fn start(
        pins: Pins,
        mode: Mode,
        config: NodeConfig,
        links: &BTreeMap<String, Link>,
    ) -> Result<Self, ApplyError> {
        let lock = pins.lock()?;
        let takes_over = pins.exists();
        let result = Self::open(pins.clone(), mode, config, links).await;
        if result.is_err()
            && !takes_over
            && let Err(error) = take_down(&pins).await
        {
            warn!(%error, "what was made could not be removed again");
        }
        Ok(Self { _lock: Some(lock), ..result? })
    }

    async fn open(
        pins: Pins,
        mode: Mode,
        config: NodeConfig,
        links: &BTreeMap<String, Link>,
    ) -> Result<Self, ApplyError> {
        let mut sizes = Sizes::from(config.node.limits);
        let takes_over = pins.exists();
        pins.create()?;
        if takes_over {
            // The loader would take whatever is pinned under the name.
            Maps::open(&pins.maps())?;
            // Maps stay as large as they were made; that another size is asked for is told.
            sizes = Maps::sizes(&pins.maps())?;
        }
        let programs = Programs::load(&pins.maps(), &sizes)?;
        let maps = Maps::open(&pins.maps())?;
        let mut reconciler = Self {
            pins,
            maps,
            programs,
            sizes,
            mode,
            config: config.clone(),
            left_out: Vec::new(),
            failed: BTreeMap::new(),
            is_undone: false,
            attached: BTreeMap::new(),
            fresh: BTreeSet::new(),
            hops: None,
            own_macs: BTreeSet::new(),
            fixed_bindings: BTreeSet::new(),
            frozen: BTreeSet::new(),
            log_limit: LogLimit::default(),
            ticks: 0,
            ageing: None,
            index: None,
            applied: None,
            applied_state: None,
            _lock: None,
        };
        if takes_over {
            reconciler.maps.mend_macs()?;
        }
        let tables = reconciler.tables()?;
        match reconciler.converge(config, tables, links).await {
            Ok(_) => Ok(reconciler),
            Err(error) if takes_over => {
                error!(%error, "not all was done that was asked for; it is tried again");
                Ok(reconciler)
            }
            Err(error) => Err(error),
        }
    }

    /// What the programs say of addresses. Once.
    ///
    /// # Errors
    /// It was taken.
    pub fn learn_events(&mut self) -> Result<LearnEvents, DataplaneError> {
        self.programs.learn_events()
    }

    /// What the maps were made for. They keep their size until the node is flushed.
    pub const fn made_for(&self) -> Limits {
        self.sizes.limits()
    }

    /// What the node does now.
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// What the kernel half has now: read back, never remembered, so that whatever somebody else
    /// did to a map is put right.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn tables(&self) -> Result<Tables, DataplaneError> {
        self.maps.read()
    }

    /// Applies another file to the tables as they were just read back; returns the number of
    /// changes. Where it is refused, nothing has changed.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub async fn reload(
        &mut self,
        config: NodeConfig,
        tables: Tables,
        links: &BTreeMap<String, Link>,
    ) -> Result<usize, ApplyError> {
        if config.node.name != self.config.node.name {
            return Err(fixed("the node's name", &self.config.node.name, &config.node.name));
        }
        let changes = self.converge(config, tables, links).await;
        // What was left undone keeps nobody's ways from being followed.
        let paths = self.follow_paths();
        Ok(changes? + paths?)
    }

    /// What of the configuration is not carried out, and why.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Whether there is something to be tried again.
    pub fn is_partial(&self) -> bool {
        self.is_undone || !self.left_out.is_empty()
    }

    /// Where a device's frames are seen to, if it is a port.
    pub fn mode_on(&self, ifindex: u32) -> Option<Mode> {
        self.attached.get(&ifindex).map(|(_, mode)| *mode)
    }

    /// Devices came, went or changed.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub async fn links_changed(
        &mut self,
        links: &BTreeMap<String, Link>,
    ) -> Result<usize, ApplyError> {
        let changes = self.converge(self.config.clone(), self.tables()?, links).await;
        // An uplink that came is a way from now on, and one that went is none.
        let paths = self.follow_paths();
        Ok(changes? + paths?)
    }

    /// The next hops of the remotes changed.
    ///
    /// # Errors
    /// A map can't be read or written.
    pub fn underlay_changed(&mut self, snapshot: &Snapshot) -> Result<usize, DataplaneError> {
        let hops = next_hops(snapshot);
        if self.hops.as_ref() == Some(&hops) {
            return Ok(0);
        }
        self.hops = Some(hops);
        self.follow_paths()
    }

    fn follow_paths(&mut self) -> Result<usize, DataplaneError> {
        let Some(hops) = &self.hops else { return Ok(0) };
        let vteps = Vteps { v4: self.config.node.vtep4, v6: self.config.node.vtep6 };
        let underlay = Underlay { vteps, hops };
        paths::apply(&mut self.maps, underlay, self.sizes.paths())
    }

    /// Brings the kernel to as much of a configuration as can be. Nobody but this agent writes what
    /// it starts from: it has the node's lock, and its steps are one after the other.
    async fn converge(
        &mut self,
        config: NodeConfig,
        tables: Tables,
        links: &BTreeMap<String, Link>,
    ) -> Result<usize, ApplyError> {
        // What a walk has counted may be gone after this.
        self.ageing = None;
        let (mode, sizes) = (self.mode, self.sizes);
        let wish = Wish { config: &config, links, mode, sizes: &sizes };
        let Made { changes, tables, applied, left_out, failed, error } =
            make(self, wish, tables).await;
        if self.index.is_some() {
            self.index = Some(Arc::new(NodeIndex::of(&tables)));
        }
        self.own_macs.clone_from(&tables.own_macs);
        self.fixed_bindings = tables.bindings.keys().copied().collect();
        self.attached.retain(|ifindex, _| tables.records.contains_key(ifindex));
        if let Some(applied) = applied {
            self.keep(&config, applied, &tables);
        }
        (self.config, self.left_out, self.failed) = (config, left_out, failed);
        self.is_undone = error.is_some();
        let fresh = std::mem::take(&mut self.fresh);
        if let Err(error) = self.listen(links, &fresh).await {
            // It is tried again each second.
            warn!(%error, "a port does not hear what is for its servers");
        }
        error.map_or(Ok(changes), Err)
    }

    /// Turns off again what somebody has turned on since; flushing the node will restore that, too.
    ///
    /// # Errors
    /// Netlink fails, a device refuses, or a map can't be written. The other ports are seen to all
    /// the same.
    pub async fn tend(&mut self, links: &BTreeMap<String, Link>) -> Result<(), ApplyError> {
        let names = self.config.ports.iter().map(|port| port.name.as_str());
        let ports = names.filter_map(|name| links.get(name));
        let ports = ports.filter(|link| self.attached.contains_key(&link.ifindex));
        let lapsed =
            offloads::lapsed(ports.map(|link| (link.name.as_str(), self.setting_of(link)))).await?;
        let mut result = Ok(());
        for link in lapsed.into_iter().filter_map(|name| links.get(name)) {
            result = result.and(self.clean(link).await);
        }
        result.and(self.listen(links, &BTreeSet::new()).await)
    }

    async fn clean(&mut self, link: &Link) -> Result<(), ApplyError> {
        let features = offloads::turn_off(&link.name, self.setting_of(link)).await?;
        warn!(
            port = link.name,
            "somebody turned on what was off: frames may have lost their tags since"
        );
        Ok(self.maps.add_features(link.ifindex, features)?)
    }

    /// Forgets where frozen addresses of a segment are, or only one of them; returns how many.
    ///
    /// # Errors
    /// There is no such segment, or a map can't be read or written.
    pub fn thaw(&mut self, segment: &str, mac: Option<MacAddr>) -> anyhow::Result<u64> {
        self.ageing = None;
        let labels = self.maps.labels()?;
        let uid = labels.iter().find(|(_, label)| unpadded(&label.segment) == segment);
        let (uid, _) =
            uid.with_context(|| format!("there is no segment {segment} on this node"))?;
        let mac = mac.map(|mac| Mac::new(mac.octets()));
        let is_meant = |key: &FdbKey, entry: &FdbEntry| {
            key.segment == *uid
                && entry.flags & FdbEntry::FROZEN != 0
                && mac.is_none_or(|mac| mac == key.mac)
        };
        let fdb = self.maps.fdb()?;
        let keys = fdb.iter().filter(|(key, entry)| is_meant(key, entry));
        let keys: Vec<FdbKey> = keys.map(|(key, _)| *key).collect();
        Ok(self.maps.remove_addresses(&keys)?)
    }
}

/// The next hops of the remotes.
pub fn next_hops(snapshot: &Snapshot) -> BTreeMap<IpAddr, Vec<NextHop>> {
    let hop = |path: &crate::net::underlay::Path| NextHop {
        ifindex: path.ifindex,
        src_mac: path.src_mac,
        dst_mac: path.dst_mac,
        mtu: path.mtu,
        weight: path.weight,
    };
    let remotes = snapshot.remotes.iter();
    remotes
        .map(|(remote, resolution)| (*remote, resolution.paths.iter().map(hop).collect()))
        .collect()
}

fn fixed(what: &'static str, is: &impl ToString, wanted: &impl ToString) -> ApplyError {
    ApplyError::Fixed { what, is: is.to_string(), wanted: wanted.to_string() }
}

/// Takes a node down: its programs, its maps, and what it changed on its ports. Returns the ports
/// that were given back.
///
/// # Errors
/// Its agent runs, or something could not be removed; the rest is.
pub async fn flush(pins: &Pins) -> Result<Vec<String>, ApplyError> {
    let _lock = pins.lock()?;
    take_down(pins).await
}

/// As [`flush`], by who has the lock.
async fn take_down(pins: &Pins) -> Result<Vec<String>, ApplyError> {
    let records = match Maps::open(&pins.maps()) {
        Ok(maps) => maps.records()?,
        // Of another version, or half made: what can be removed is.
        Err(_) => BTreeMap::new(),
    };
    let ports = pins.ifindexes();
    links::detach_all(pins)?;
    pins.remove()?;
    if let Err(error) =
        neighbours::release(&ports.into_iter().chain(records.keys().copied()).collect()).await
    {
        warn!(%error, "the kernel keeps neighbours that nobody needs");
    }
    let mut restored = Vec::new();
    for record in records.values() {
        let name = unpadded(&record.name);
        match offloads::restore(&name, record.features).await {
            Ok(()) => restored.push(name),
            Err(error) => warn!(port = name, %error, "its features could not be restored"),
        }
    }
    Ok(restored)
}
