//! Two edges and an underlay between them.
//!
//! ```text
//! Direct    edge1 ── edge2                one link
//! Routed    edge1 ─┬─ router1 ─┬─ edge2   two equal paths; tunnel addresses on the loopbacks
//!                  └─ router2 ─┘
//! ```
//! Both carry both families.

use std::path::{Path, PathBuf};

use crate::{Mounts, Netns, Node, NodeFile, Wire, wire::ready_for_xdp};

/// MTU of the underlay's links: VXLAN over IPv6 around a tagged 1500-byte packet, and some room.
const UNDERLAY_MTU: u16 = 1700;
/// MTU of the edges' ports: a 1500-byte packet with two tags, and some room.
pub const PORT_MTU: u16 = 1600;

/// How the edges reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Underlay {
    /// One link.
    Direct,
    /// Two routers, two paths.
    Routed,
}

/// An IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Two edges and what is between them.
#[derive(Debug)]
pub struct Fabric {
    /// The edges.
    pub edges: [Node; 2],
    /// The routers, where there are any.
    pub routers: Vec<Netns>,
    /// The mounts that all see.
    pub mounts: Mounts,
    underlay: Underlay,
    binary: PathBuf,
}

const VTEPS: [[&str; 2]; 2] = [["10.99.0.1", "fd99::1"], ["10.99.0.2", "fd99::2"]];

impl Fabric {
    /// Makes it. The edges run `binary` when they are started.
    ///
    /// # Errors
    /// We are not root, or the kernel refuses.
    pub fn new(underlay: Underlay, binary: impl AsRef<Path>) -> anyhow::Result<Self> {
        let mounts = Mounts::new()?;
        let binary = binary.as_ref().to_owned();
        let netns = [mounts.netns("edge1")?, mounts.netns("edge2")?];
        let routers = match underlay {
            Underlay::Direct => {
                direct(&netns)?;
                Vec::new()
            }
            Underlay::Routed => routed(&mounts, &netns)?,
        };
        let [one, two] = netns;
        let edges = [Node::new("edge1", one, &binary), Node::new("edge2", two, &binary)];
        Ok(Self { edges, routers, mounts, underlay, binary })
    }

    /// The binary that the edges run.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The tunnel address of an edge.
    pub fn vtep(&self, edge: usize, family: Family) -> &'static str {
        VTEPS[edge][family as usize]
    }

    /// The uplinks of each edge.
    pub fn uplinks(&self) -> &'static [&'static str] {
        match self.underlay {
            Underlay::Direct => &["up0"],
            Underlay::Routed => &["up0", "up1"],
        }
    }

    /// The file of an edge, with its addresses and uplinks, and nothing else yet.
    pub fn file(&self, edge: usize) -> NodeFile {
        self.file_at(edge, "xdp")
    }

    /// The same, with the uplinks at this hook.
    pub fn file_at(&self, edge: usize, hook: &str) -> NodeFile {
        let file = NodeFile::new(self.edges[edge].name(), &VTEPS[edge]);
        self.uplinks().iter().fold(file, |file, uplink| file.port_at(uplink, "uplink", hook))
    }

    /// Plugs a new host into a new port of an edge.
    ///
    /// # Errors
    /// The port is there already, or the kernel refuses.
    pub fn plug(&self, edge: usize, port: &str) -> anyhow::Result<Wire> {
        let node = &self.edges[edge];
        let host = self.mounts.netns(&format!("{}-{port}", node.name()))?;
        Wire::plug(&node.netns, port, host, PORT_MTU)
    }

    /// Plugs a new namespace into a new port of an edge that is no veth but a device over one (a
    /// macvlan that takes all frames), as hardware without XDP in its driver is: what a host
    /// leaves beside a frame ends at its own end.
    ///
    /// # Errors
    /// The port is there already, or the kernel refuses.
    pub fn plug_over(&self, edge: usize, port: &str) -> anyhow::Result<Wire> {
        let below = format!("v-{port}");
        let wire = self.plug(edge, &below)?;
        self.edges[edge].netns.ip(&format!(
            "link add link {below} name {port} mtu {PORT_MTU} type macvlan mode passthru\nlink \
                set {port} up"
        ))?;
        Ok(wire)
    }

    /// The same with a virtual machine, whose port is a tap.
    ///
    /// # Errors
    /// The port is there already, or the kernel refuses.
    pub fn boot(&self, edge: usize, port: &str) -> anyhow::Result<Wire> {
        let node = &self.edges[edge];
        let guest = self.mounts.netns(&format!("{}-{port}", node.name()))?;
        Wire::boot(&node.netns, port, guest, PORT_MTU)
    }
}

fn direct([one, two]: &[Netns; 2]) -> anyhow::Result<()> {
    one.join("up0", two, "up0", UNDERLAY_MTU)?;
    for (edge, [v4, v6]) in [one, two].into_iter().zip(VTEPS) {
        edge.ip(&format!("addr add {v4}/24 dev up0\naddr add {v6}/64 dev up0"))?;
        // An edge may be left without an agent, or be something else.
        ready_for_xdp(edge, "up0")?;
    }
    Ok(())
}

fn routed(mounts: &Mounts, edges: &[Netns; 2]) -> anyhow::Result<Vec<Netns>> {
    let routers = vec![mounts.netns("router1")?, mounts.netns("router2")?];
    for router in &routers {
        router.sysctl("net/ipv4/ip_forward", "1")?;
        router.sysctl("net/ipv6/conf/all/forwarding", "1")?;
    }
    for (e, (edge, [v4, v6])) in edges.iter().zip(VTEPS).enumerate() {
        let mut ways = [String::new(), String::new()];
        for (r, router) in routers.iter().enumerate() {
            // The link of edge e and router r is 10.98.er.0/24: the edge is .1, the router .2.
            let (near, far) = (format!("up{r}"), format!("edge{e}"));
            edge.join(&near, router, &far, UNDERLAY_MTU)?;
            ready_for_xdp(router, &far)?;
            edge.ip(&format!(
                "addr add 10.98.{e}{r}.1/24 dev {near}\naddr add fd98:{e}{r}::1/64 dev {near}"
            ))?;
            router.ip(&format!(
                "addr add 10.98.{e}{r}.2/24 dev {far}\naddr add fd98:{e}{r}::2/64 dev {far}\n\
                 route add {v4} via 10.98.{e}{r}.1\nroute add {v6} via fd98:{e}{r}::1"
            ))?;
            ways[0] += &format!(" nexthop via 10.98.{e}{r}.2 dev {near}");
            ways[1] += &format!(" nexthop via fd98:{e}{r}::2 dev {near}");
        }
        let [far4, far6] = VTEPS[1 - e];
        edge.ip(&format!(
            "addr add {v4}/32 dev lo\naddr add {v6}/128 dev lo\n\
             route add {far4}{}\nroute add {far6}{}",
            ways[0], ways[1]
        ))?;
    }
    Ok(routers)
}
