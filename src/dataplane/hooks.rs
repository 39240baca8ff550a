//! What the kernel says of the programs on a node's ports: where its links are, which programs are
//! in them, what these read, and what else stands on the same hooks. As values, for
//! [`super::verify`] to judge.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fs,
    path::Path,
};

use aya::maps::MapInfo;
use sillon_abi::map;

use super::{
    DataplaneError,
    bpf_syscall::query,
    detach::{Attached, attached_at},
    loader::{APART, EGRESS, FRAGS, INGRESS, PIPELINE, WHOLE},
    maps::Named,
    pins::Pins,
};

/// So much of a name the kernel keeps.
pub const NAME: usize = 15;

/// A loaded program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// A hash of its instructions, maps aside.
    pub tag: u64,
    /// Its name, as far as the kernel keeps it.
    pub name: String,
    /// Ids of the maps that it uses.
    pub maps: BTreeSet<u32>,
}

/// A side of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// What comes in.
    Ingress,
    /// What goes out.
    Egress,
}

/// What is on the hooks of a node's ports.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// The pinned links, by the ifindex and the kind that their pins' names say.
    pub links: BTreeMap<(u32, String), Attached>,
    /// Pins that are named otherwise.
    pub strangers: Vec<String>,
    /// Of tcx, the programs on each side of each port, in their order.
    pub chains: BTreeMap<(u32, Side), Vec<u32>>,
    /// Those of them all that were loaded when it was looked, by id.
    pub programs: BTreeMap<u32, Program>,
    /// The names of their maps, as far as the kernel keeps them, by id.
    pub maps: BTreeMap<u32, String>,
    /// Names of the node's pinned maps, by id.
    pub pinned: BTreeMap<u32, &'static str>,
}

impl Hooks {
    /// Looks at the hooks of these devices.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn read(pins: &Pins, ports: impl IntoIterator<Item = u32>) -> Result<Self, DataplaneError> {
        let mut hooks = Self::default();
        for entry in fs::read_dir(pins.links()).into_iter().flatten().flatten() {
            hooks.link(&entry.path())?;
        }
        for ifindex in ports {
            for (side, number) in
                [(Side::Ingress, Attached::INGRESS), (Side::Egress, Attached::EGRESS)]
            {
                let failed = |source| DataplaneError::Io {
                    path: format!("tcx of #{ifindex}").into(),
                    source,
                };
                hooks
                    .chains
                    .insert((ifindex, side), query::programs(ifindex, number).map_err(failed)?);
            }
        }
        hooks.programs()?;
        for name in map::ALL {
            let info = MapInfo::from_pin(pins.maps().join(name)).named(name)?;
            hooks.pinned.insert(info.id(), name);
        }
        Ok(hooks)
    }

    fn link(&mut self, path: &Path) -> Result<(), DataplaneError> {
        let failed = |source| DataplaneError::Io { path: path.to_owned(), source };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let key = name
            .rsplit_once('-')
            .and_then(|(kind, number)| Some((number.parse().ok()?, kind.to_owned())));
        match (key, attached_at(path)) {
            (Some(key), Ok(Some(link))) => drop(self.links.insert(key, link)),
            // It went just now.
            (_, Ok(None)) => {}
            // What is no link is nothing that would be one.
            (None, _) | (_, Err(_)) if path.exists() => self.strangers.push(name),
            (_, result) => drop(result.map_err(failed)?),
        }
        Ok(())
    }

    fn programs(&mut self) -> Result<(), DataplaneError> {
        let linked = self.links.values().map(|link| link.program);
        let wanted: BTreeSet<u32> = linked.chain(self.chains.values().flatten().copied()).collect();
        for id in wanted {
            let failed =
                |source| DataplaneError::Io { path: format!("program #{id}").into(), source };
            // One that is gone meanwhile is on no port.
            let Some(query::Program { tag, name, maps }) = query::program(id).map_err(failed)?
            else {
                continue;
            };
            for id in &maps {
                if let Entry::Vacant(place) = self.maps.entry(*id)
                    && let Ok(info) = MapInfo::from_id(*id)
                {
                    place.insert(info.name_as_str().unwrap_or_default().to_owned());
                }
            }
            self.programs.insert(id, Program { tag, name, maps: maps.into_iter().collect() });
        }
        Ok(())
    }
}

/// The programs that may be in a kind of links.
pub fn programs_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "xdp" => &[WHOLE, FRAGS],
        "tc" => &[PIPELINE],
        "ingress" => &[INGRESS],
        "egress" => &[EGRESS],
        "apart" => &[APART],
        _ => &[],
    }
}

/// A name as far as the kernel keeps it.
pub fn kept(name: &str) -> &str {
    name.get(..NAME).unwrap_or(name)
}
