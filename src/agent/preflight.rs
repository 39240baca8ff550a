//! What must be true of a port before the programs go on it. Pure: links in, refusals out, all that there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use sillon_abi::PORT_SLOTS;

use crate::{
    model::{Encap, Name, NodeConfig, PortRole, Segment},
    net::links::Link,
};

/// Bytes of Ethernet header inside the tunnel, and of IP, UDP and VXLAN header around it.
const V4_OVERHEAD: u32 = 14 + 20 + 8 + 8;
const V6_OVERHEAD: u32 = 14 + 40 + 8 + 8;
const TAG: u32 = 4;

/// Why a port can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The port.
    pub port: String,
    /// What is wrong, and what would be right.
    pub why: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {}: {}", self.port, self.why)
    }
}

/// What the check must know of the node besides the file.
pub struct Known<'a> {
    /// The links of the namespace, by name.
    pub links: &'a BTreeMap<String, Link>,
    /// Whether the programs are on an interface already.
    pub is_attached: &'a dyn Fn(u32) -> bool,
    /// Whether a port was here before; it may be away for a while.
    pub was_here: &'a dyn Fn(&str) -> bool,
}

/// All reasons not to use `config` on this node.
pub fn check(config: &NodeConfig, known: &Known<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for port in &config.ports {
        let name = port.name.as_str();
        let why = match known.links.get(name) {
            None if (known.was_here)(name) => None,
            None => Some(format!(
                "there is no such interface in this network namespace; `ip link show` lists those that are there{}",
                near(name, known.links)
            )),
            Some(link) => refuse(config, port.role, link, known),
        };
        refusals.extend(why.map(|why| Refusal { port: name.to_owned(), why }));
    }
    refusals
}

fn near(name: &str, links: &BTreeMap<String, Link>) -> String {
    let near = links.keys().filter(|other| strsim::levenshtein(name, other) <= 2).min();
    near.map_or_else(String::new, |near| format!(" (is it {near}?)"))
}

fn refuse(config: &NodeConfig, role: PortRole, link: &Link, known: &Known<'_>) -> Option<String> {
    if link.ifindex >= PORT_SLOTS {
        return Some(format!(
            "its ifindex is {}, and must be below {PORT_SLOTS}; give it a lower one where it is made (`ip link add … index N`), or move it \
             into a new network namespace",
            link.ifindex
        ));
    }
    if let Some(master) = link.master {
        let master = known.links.values().find(|link| link.ifindex == master);
        let master = master.map_or("another device", |link| link.name.as_str());
        return Some(format!(
            "it is enslaved to {master}, which takes its frames; `ip link set {} nomaster`",
            link.name
        ));
    }
    if let Some(xdp) = &link.xdp
        && !(known.is_attached)(link.ifindex)
    {
        return Some(format!(
            "it carries an XDP program (id {}) that is not this node's; remove it with `ip link set {} xdp off`, or whatever \
             put it there",
            xdp.prog_id, link.name
        ));
    }
    let needed = needed_mtu(config, role, &link.name);
    (link.mtu < needed).then(|| {
        format!(
            "its MTU is {}, but its segments need {needed}; `ip link set {} mtu {needed}`, or lower the segments' mtu",
            link.mtu, link.name
        )
    })
}

/// The smallest MTU with which a port can carry what its segments promise. A device takes frames of its MTU, an Ethernet header and
/// one tag; what an encapsulation has beyond that counts.
fn needed_mtu(config: &NodeConfig, role: PortRole, port: &str) -> u32 {
    if role == PortRole::Uplink {
        let carry_tags = config.attachments.iter().filter(|attachment| attachment.encap.is_transparent());
        let carry_tags: BTreeSet<&Name> = carry_tags.map(|attachment| &attachment.segment).collect();
        let segments = config.segments.iter().filter(|segment| !segment.remotes.is_empty());
        let needed = segments.map(|segment| on_uplink(segment, carry_tags.contains(&segment.name)));
        return needed.max().unwrap_or(0);
    }
    let mtus: BTreeMap<&Name, u16> =
        config.segments.iter().map(|segment| (&segment.name, segment.mtu)).collect();
    let attachments = config.attachments.iter().filter(|attachment| attachment.port.as_str() == port);
    let needed = attachments.filter_map(|attachment| {
        let mtu = mtus.get(&attachment.segment)?;
        let beyond = if matches!(attachment.encap, Encap::QinqS(_) | Encap::QinqSC { .. }) { TAG } else { 0 };
        Some(u32::from(*mtu) + beyond)
    });
    needed.max().unwrap_or(0)
}

/// A transparent attachment's frames have a tag inside the tunnel.
fn on_uplink(segment: &Segment, carries_tags: bool) -> u32 {
    let overhead =
        if segment.remotes.iter().any(|remote| remote.is_ipv6()) { V6_OVERHEAD } else { V4_OVERHEAD };
    u32::from(segment.mtu) + overhead + if carries_tags { TAG } else { 0 }
}
