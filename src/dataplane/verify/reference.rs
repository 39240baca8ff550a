//! What a node is judged by: what it was told, and what is true of its devices, its routes and this
//! binary.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    dataplane::{
        compile::Device,
        links::Mode,
        paths::{NextHop, Vteps},
    },
    model::NodeConfig,
};

/// What was applied.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The configuration.
    pub config: NodeConfig,
    /// The next uid that is given out.
    pub next_uid: u32,
    /// The next flood list.
    pub next_list: u32,
    /// Where XDP runs.
    pub mode: Mode,
}

/// What is known of a node without its maps.
#[derive(Clone, Debug, Default)]
pub struct Reference {
    /// What was applied, if that is known.
    pub kept: Option<Applied>,
    /// The configured ports that have a device.
    pub devices: BTreeMap<String, Device>,
    /// Of each device with a program at XDP, the program and whether that is generic; none where
    /// nobody asked.
    pub xdp: Option<BTreeMap<u32, (u32, bool)>>,
    /// The ways to the remotes that the kernel has; none where nobody asked.
    pub hops: BTreeMap<IpAddr, Vec<NextHop>>,
    /// Tags of the programs that this binary would load, by name.
    pub tags: BTreeMap<&'static str, u64>,
    /// Settings by which the node's own IP stack hears something on a device, by ifindex.
    pub open: BTreeMap<u32, Vec<String>>,
    /// Settings for all devices that undo what is set on a port.
    pub undone: Vec<String>,
    /// Ids of the programs that the agent has loaded itself; none where no agent asks.
    pub loaded: Option<BTreeSet<u32>>,
}

impl Reference {
    /// The node's own addresses in tunnels.
    pub fn vteps(&self) -> Option<Vteps> {
        let node = &self.kept.as_ref()?.config.node;
        Some(Vteps { v4: node.vtep4, v6: node.vtep6 })
    }
}
