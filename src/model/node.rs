//! The desired state of one node, as values that were checked.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Binding, Encap, Guards, Hook, InterfaceName, LeafRole, Name, PortRole, Profile, Service,
    StormControl, Vni,
};

/// What one node shall do. [`super::load`] and [`super::parse()`] give only values that satisfy
/// every rule that is told here; the lists are in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct NodeConfig {
    /// The node itself.
    pub node: Node,
    /// Its ports; no name twice.
    pub ports: Vec<Port>,
    /// Its bandwidth profiles; no name twice.
    pub profiles: Vec<Profile>,
    /// Its segments; no name and no VNI twice.
    pub segments: Vec<Segment>,
    /// Its attachments; no two overlap on a port.
    pub attachments: Vec<Attachment>,
}

/// The node itself: its name, its tunnel addresses and its sizes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Node {
    /// What it is called; also the name of its directory in bpffs.
    pub name: Name,
    /// Its IPv4 tunnel address.
    pub vtep4: Option<Ipv4Addr>,
    /// Its IPv6 tunnel address.
    pub vtep6: Option<Ipv6Addr>,
    /// How much of everything it may hold.
    pub limits: Limits,
}

/// How much a node may hold: these size the kernel's maps, and a configuration beyond them is
/// refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Attachments (`max_attachments`).
    pub attachments: u32,
    /// Learned addresses over all segments (`max_fdb`).
    pub fdb: u32,
    /// Distinct remote tunnel addresses over all segments (`max_remotes`).
    pub remotes: u32,
    /// Segments (`max_segments`).
    pub segments: u32,
}

impl Limits {
    /// The most attachments, remotes and segments that a node can be told to have room for.
    pub(crate) const MOST: u32 = 1 << 20;
    /// The most addresses, of a node, a segment or an attachment.
    pub(crate) const MOST_FDB: u32 = 1 << 24;

    /// MACs that attachments may list, all together: the room goes by how many attachments there
    /// may be.
    pub const fn listed_macs(&self) -> u32 {
        self.attachments.saturating_mul(4).saturating_add(1024)
    }

    /// Prefixes of all attachments together, and as many ethertypes and configured bindings.
    pub const fn guard_entries(&self) -> u32 {
        self.attachments.saturating_mul(8).saturating_add(1024)
    }

    /// Remotes of all segments together: each is one accepted tunnel source and one entry of a
    /// flood list.
    pub const fn tunnels(&self) -> u32 {
        let (a, b) = (self.remotes.saturating_mul(16), self.segments.saturating_mul(4));
        if a > b { a } else { b }
    }

    /// Of each, the smaller one.
    pub fn min(self, other: Self) -> Self {
        Self {
            attachments: self.attachments.min(other.attachments),
            fdb: self.fdb.min(other.fdb),
            remotes: self.remotes.min(other.remotes),
            segments: self.segments.min(other.segments),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { attachments: 4096, fdb: 262_144, remotes: 1024, segments: 4096 }
    }
}

/// An interface of the node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Port {
    /// The kernel's name of it.
    pub name: InterfaceName,
    /// What it faces.
    pub role: PortRole,
    /// Where its frames are seen to.
    pub hook: Hook,
}

/// One isolated layer-2 domain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Segment {
    /// What it is called.
    pub name: Name,
    /// Who owns it.
    pub operator: Name,
    /// Its number in the tunnels.
    pub vni: Vni,
    /// Who reaches whom.
    pub service: Service,
    /// The other nodes of it: the head-end replication list, and the only accepted tunnel sources.
    /// Unicast, no two equal, none this node's own, and each of a family that the node has a
    /// tunnel address of.
    pub remotes: Vec<IpAddr>,
    /// The largest layer-3 packet it carries, in bytes: 576..=9000.
    pub mtu: u16,
    /// After how many seconds of silence an address is forgotten: 1..=1000000.
    pub ageing: u32,
    /// How many addresses it may have in the FDB: 1..=`Limits::fdb`.
    pub mac_limit: u32,
    /// The DSCP of the outer header (RFC 2474 §3): 0..=63.
    pub dscp: u8,
    /// When a moving address is frozen.
    pub moves: Moves,
    /// Whether its nodes answer ARP and neighbour discovery; not in a `line`.
    pub suppress: bool,
}

/// When an address that moves too often is frozen where it is (RFC 7432 §15.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Moves {
    /// The move that is one too many (`move_limit`); 0 where none is.
    pub limit: u16,
    /// Seconds in which moves count (`move_window`), from 1.
    pub window: u16,
    /// Seconds for which it stays frozen (`freeze`): 1..=1000000.
    pub freeze: u32,
}

impl Default for Moves {
    /// RFC 7432 §15.1: "M = 180 seconds", "N = 5".
    fn default() -> Self {
        Self { limit: 5, window: 180, freeze: 180 }
    }
}

impl Segment {
    /// The default of `mtu`: what Ethernet carries without jumbo frames.
    pub const DEFAULT_MTU: u16 = 1500;
    /// The default of `ageing`, in seconds: 802.1Q-2022 §8.8.3 recommends it.
    pub const DEFAULT_AGEING: u32 = 300;
    /// The default of `mac_limit`, or `max_fdb` where that is less.
    pub const DEFAULT_MAC_LIMIT: u32 = 1024;
    /// The least that `mtu` can be: what every IPv4 host takes (RFC 791 §3.1).
    pub const LEAST_MTU: u16 = 576;

    /// What `mtu` can be, in bytes.
    pub(crate) const MTUS: RangeInclusive<u32> = Self::LEAST_MTU as u32..=9000;
    /// What `ageing` and `freeze` can be, in seconds.
    pub(crate) const SECONDS: RangeInclusive<u32> = 1..=1_000_000;
    /// What `dscp` can be.
    pub(crate) const DSCPS: RangeInclusive<u32> = 0..=63;

    /// The largest frame of a segment of this MTU, in bytes without FCS: the packet, an Ethernet
    /// header, two tags of the attachment and two of the operator.
    pub const fn largest_frame(mtu: u16) -> u64 {
        mtu as u64 + 14 + 4 * 4
    }
}

/// One segment on one port under one encapsulation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Attachment {
    /// The name of one of [`NodeConfig::segments`].
    pub segment: Name,
    /// The name of one of [`NodeConfig::ports`], which is not an uplink.
    pub port: InterfaceName,
    /// Which frames of the port belong to it.
    pub encap: Encap,
    /// What it is in a `tree`; [`LeafRole::Root`] in any other service.
    pub role: LeafRole,
    /// The name of one of [`NodeConfig::profiles`], for what comes from it: its bursts hold the
    /// segment's largest frame.
    pub ingress: Option<Name>,
    /// The same for what goes to it.
    pub egress: Option<Name>,
    /// How much of what comes from it may be flooded.
    pub storm: StormControl,
    /// What may be sent there.
    pub guards: Guards,
    /// Addresses of hosts there, to be answered for; only where the segment suppresses. No two of
    /// a segment have one address, and the guards would let each be claimed there.
    pub bindings: BTreeSet<Binding>,
}

impl NodeConfig {
    /// The port of this name.
    pub fn port(&self, name: &InterfaceName) -> Option<&Port> {
        self.ports.iter().find(|port| port.name == *name)
    }

    /// The bandwidth profile of this name.
    pub fn profile(&self, name: &Name) -> Option<&Profile> {
        self.profiles.iter().find(|profile| profile.name == *name)
    }

    /// The segment of this name.
    pub fn segment(&self, name: &Name) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.name == *name)
    }
}
