//! What of a node's file can be on this node as it is now. Pure: links and tables in, what fits
//! out, and what does not with the reason. It asks each port, segment and attachment by itself, so
//! that none stands in the way of another.
//!
//! Two rules keep what is there: a port that is ours already stays one whatever is found out about
//! its device, and an attachment that was there before stays while no more is asked of its device
//! than then. What an operator asks for besides, and its device can't do, is left out.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use sillon_abi::{ClassKey, PORT_SLOTS};

use crate::{
    dataplane::{
        compile::{self, Device},
        left_out::{Item, LeftOut},
        links::Mode,
        room,
        sizes::Sizes,
        tables::Tables,
    },
    model::{Attachment, Encap, Hook, NodeConfig, Port, PortRole, Segment, mtu},
    net::links::Link,
};

/// What must be known of the node besides the file.
pub struct Known<'a> {
    /// The links of the namespace, by name.
    pub links: &'a BTreeMap<String, Link>,
    /// What the maps have now.
    pub previous: &'a Tables,
    /// Where XDP runs.
    pub mode: Mode,
    /// How large the maps are.
    pub sizes: &'a Sizes,
    /// Whether the programs are on an interface already.
    pub is_attached: &'a dyn Fn(u32) -> bool,
    /// What the kernel has refused, and why.
    pub failed: &'a BTreeMap<Item, String>,
}

/// What fits.
#[derive(Debug)]
pub struct Fit<'a> {
    /// The file without the rest.
    pub config: Cow<'a, NodeConfig>,
    /// The devices of its ports.
    pub devices: BTreeMap<String, Device>,
    /// The rest.
    pub left_out: Vec<LeftOut>,
}

/// What of `config` can be on this node.
pub fn fit<'a>(config: &'a NodeConfig, known: &Known<'_>) -> Fit<'a> {
    let mut fitting =
        Fitting { known, file: config, config: Cow::Borrowed(config), left_out: Vec::new() };
    fitting.sizes();
    let devices = fitting.ports();
    fitting.failed();
    fitting.mtus(&devices);
    fitting.left_out.extend(room::fit(&mut fitting.config, &devices, known.previous, known.sizes));
    fitting.left_out.sort();
    Fit { config: fitting.config, devices, left_out: fitting.left_out }
}

/// Whether a device is there that can be this port of `config`.
pub fn can_be(port: &Port, config: &NodeConfig, known: &Known<'_>) -> bool {
    let (file, left_out) = (config, Vec::new());
    let fitting = Fitting { known, file, config: Cow::Borrowed(config), left_out };
    matches!(fitting.find(port), Found::Usable(_))
}

struct Fitting<'a, 'k> {
    known: &'k Known<'k>,
    /// All that is asked for.
    file: &'a NodeConfig,
    config: Cow<'a, NodeConfig>,
    left_out: Vec<LeftOut>,
}

/// What is found out about a port.
enum Found {
    Usable(Device),
    /// It is ours as it was before.
    Kept(Device, Trouble),
    Unusable(Trouble),
}

/// What is wrong, for everybody; and what more there is to say to who runs the node.
#[derive(Clone, Debug)]
struct Trouble {
    why: String,
    help: String,
}

fn trouble(why: impl Into<String>, help: impl Into<String>) -> Trouble {
    Trouble { why: why.into(), help: help.into() }
}

impl Fitting<'_, '_> {
    fn leave_out(&mut self, what: Item, Trouble { why, help }: Trouble, stays: bool) {
        self.left_out.push(LeftOut { what, why, help, stays });
    }

    /// The maps stay as large as they were made.
    fn sizes(&mut self) {
        let wanted = Sizes::from(self.file.node.limits);
        if wanted != *self.known.sizes {
            let why = "the size of the maps ([node] max_…) can't be changed while the node is up";
            let help = format!(
                "they have room for {}, and {wanted} are asked for; `sillon node flush` first",
                self.known.sizes
            );
            self.leave_out(Item::Node, trouble(why, help), true);
        }
    }

    /// Leaves out ports that can't be used, with all that is attached to them; gives the devices of
    /// the others.
    fn ports(&mut self) -> BTreeMap<String, Device> {
        let (mut devices, mut gone) = (BTreeMap::new(), BTreeSet::new());
        for port in &self.file.ports {
            let (name, item) = (port.name.to_string(), Item::Port { port: port.name.to_string() });
            match self.find(port) {
                Found::Usable(device) => {
                    devices.insert(name, device);
                }
                Found::Kept(device, trouble) => {
                    devices.insert(name, device);
                    self.leave_out(item, trouble, true);
                }
                Found::Unusable(trouble) => {
                    gone.insert(&port.name);
                    self.leave_out(item, trouble, false);
                }
            }
        }
        if !gone.is_empty() {
            let config = self.config.to_mut();
            config.ports.retain(|port| !gone.contains(&port.name));
            config.attachments.retain(|attachment| !gone.contains(&attachment.port));
        }
        devices
    }

    fn find(&self, port: &Port) -> Found {
        let name = port.name.as_str();
        if let Some(why) = self.known.failed.get(&Item::Port { port: name.to_owned() }) {
            return Found::Unusable(trouble(why, ""));
        }
        let Some(link) = self.known.links.get(name) else {
            let help = format!(
                "`ip link show` lists those that are there{}",
                near(name, self.known.links)
            );
            return Found::Unusable(trouble(
                "there is no such interface in this network namespace",
                help,
            ));
        };
        let mode = self
            .known
            .previous
            .records
            .get(&link.ifindex)
            .and_then(|it| Mode::from_number(it.mode));
        let device = |at_tc| Device {
            ifindex: link.ifindex,
            mac: link.mac,
            at_tc,
            has_far_end: link.has_far_end,
            is_veth: link.kind.as_deref() == Some("veth"),
        };
        let at_tc = port.hook.is_tc(port.role, link.kind.as_deref());
        let wanted = if at_tc { Mode::Tc } else { self.known.mode };
        let unfit = unfit(self.file, port, link, self.known.mode);
        match (unfit.or_else(|| unusable(link, self.known)), mode) {
            (Some(trouble), None) => Found::Unusable(trouble),
            (Some(trouble), Some(mode)) => Found::Kept(device(mode == Mode::Tc), trouble),
            (None, Some(mode)) if mode != wanted => {
                Found::Kept(device(mode == Mode::Tc), other_hook(port, mode, wanted))
            }
            (None, _) => Found::Usable(device(at_tc)),
        }
    }

    /// What the kernel has refused.
    fn failed(&mut self) {
        for (item, why) in self.known.failed {
            let has_it = |attachment: &Attachment| match item {
                Item::Node | Item::Port { .. } => false,
                Item::Segment { segment } => attachment.segment.as_str() == segment,
                Item::Attachment { .. } => room::item(attachment) == *item,
            };
            let is_it = |it: &Segment| match item {
                Item::Segment { segment } => it.name.as_str() == segment,
                _ => false,
            };
            if self.config.attachments.iter().any(has_it) || self.config.segments.iter().any(is_it)
            {
                let config = self.config.to_mut();
                config.attachments.retain(|attachment| !has_it(attachment));
                config.segments.retain(|segment| !is_it(segment));
                self.leave_out(item.clone(), trouble(why, ""), false);
            }
        }
    }

    /// Leaves out what needs a larger MTU than the devices have.
    fn mtus(&mut self, devices: &BTreeMap<String, Device>) {
        let wires = Wires::of(&self.config, self.known.links);
        let of_segment =
            |name: &str| self.config.segments.iter().find(|it| it.name.as_str() == name);
        let segments: BTreeMap<&str, &Segment> =
            self.config.segments.iter().map(|segment| (segment.name.as_str(), segment)).collect();
        let is_misfit = |attachment: &&Attachment| {
            let segment = segments.get(attachment.segment.as_str());
            segment.is_some_and(|segment| wires.misfit(attachment, segment, segment.mtu).is_some())
        };
        let troubled: BTreeSet<String> = self
            .config
            .attachments
            .iter()
            .filter(is_misfit)
            .map(|attachment| attachment.segment.to_string())
            .collect();
        if troubled.is_empty() {
            return;
        }
        let before = Before::of(self.known.previous);
        let (mut left_out, mut gone, mut held) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        for segment in troubled.iter().filter_map(|name| of_segment(name)) {
            let here = self.config.attachments.iter().filter(|it| it.segment == segment.name);
            let here: Vec<(&Attachment, bool)> = here
                .map(|attachment| {
                    let device = devices.get(attachment.port.as_str());
                    (
                        attachment,
                        device.is_some_and(|device| before.has(segment, *device, attachment)),
                    )
                })
                .collect();
            let (here, wires) = (&here, &wires);
            let misfit = |mtu| {
                here.iter().filter_map(move |(attachment, was_there)| {
                    Some((*attachment, *was_there, wires.misfit(attachment, segment, mtu)?))
                })
            };
            // Who was there before stays as it was, and with it its whole segment: its points have
            // one MTU.
            let mut mtu = segment.mtu;
            if let Some(old) = before.mtu(segment).filter(|old| *old < segment.mtu)
                && let Some((_, _, trouble)) = misfit(mtu).find(|(_, was_there, _)| *was_there)
            {
                mtu = old;
                held.insert(segment.name.clone(), mtu);
                left_out.push((Item::Segment { segment: segment.name.to_string() }, trouble, true));
            }
            for (attachment, was_there, trouble) in misfit(mtu) {
                if !was_there {
                    gone.insert(room::item(attachment));
                }
                left_out.push((room::item(attachment), trouble, was_there));
            }
        }
        let config = self.config.to_mut();
        config.attachments.retain(|attachment| !gone.contains(&room::item(attachment)));
        for segment in &mut config.segments {
            segment.mtu = held.get(&segment.name).copied().unwrap_or(segment.mtu);
        }
        left_out
            .into_iter()
            .for_each(|(what, trouble, stays)| self.leave_out(what, trouble, stays));
    }
}

/// The MTUs of the ports, and what is tunnelled.
struct Wires<'a> {
    links: &'a BTreeMap<String, Link>,
    /// The uplink with the least.
    uplink: Option<u32>,
    /// Segments with a transparent attachment: its frames have a tag inside the tunnel.
    carry_tags: BTreeSet<String>,
}

impl<'a> Wires<'a> {
    fn of(config: &NodeConfig, links: &'a BTreeMap<String, Link>) -> Self {
        let uplinks = config.ports.iter().filter(|port| port.role == PortRole::Uplink);
        let uplink = uplinks.filter_map(|port| Some(links.get(port.name.as_str())?.mtu)).min();
        let carry_tags =
            config.attachments.iter().filter(|attachment| attachment.encap.is_transparent());
        let carry_tags = carry_tags.map(|attachment| attachment.segment.to_string()).collect();
        Self { links, uplink, carry_tags }
    }

    /// What an attachment lacks for its segment to have this MTU.
    fn misfit(&self, attachment: &Attachment, segment: &Segment, mtu: u16) -> Option<Trouble> {
        let port = attachment.port.as_str();
        let needed = mtu::at_port(mtu, attachment.encap);
        if let Some(has) = self.links.get(port).map(|link| link.mtu).filter(|has| *has < needed) {
            let why = format!(
                "the MTU of port {port} is {has}, and a segment of MTU {mtu} needs {needed} there \
                 under \"{}\"",
                attachment.encap
            );
            let help = format!("`ip link set {port} mtu {needed}`, or lower the segment's mtu");
            return Some(trouble(why, help));
        }
        if segment.remotes.is_empty() {
            return None;
        }
        let is_over_v6 = segment.remotes.iter().any(std::net::IpAddr::is_ipv6);
        let carries_tags = self.carry_tags.contains(segment.name.as_str());
        let needed = mtu::on_uplink(mtu, is_over_v6, carries_tags);
        let has = self.uplink.filter(|has| *has < needed)?;
        let why = format!(
            "the MTU of the node's uplink is {has}, and the tunnel of a segment of MTU {mtu} \
             needs {needed}"
        );
        Some(trouble(
            why,
            "raise the MTU of the uplinks (`ip link set … mtu …`), or lower the segment's mtu",
        ))
    }
}

/// What was there before.
struct Before<'a> {
    previous: &'a Tables,
    uids: BTreeMap<compile::Identity, u32>,
    classes: BTreeSet<(u32, ClassKey)>,
}

impl<'a> Before<'a> {
    fn of(previous: &'a Tables) -> Self {
        let classes =
            previous.attachments.values().map(|entry| (entry.segment, entry.class)).collect();
        Self { previous, uids: compile::uids(previous), classes }
    }

    fn uid(&self, segment: &Segment) -> Option<u32> {
        self.uids.get(&compile::identity(segment)).copied()
    }

    fn mtu(&self, segment: &Segment) -> Option<u16> {
        Some(self.previous.segments.get(&self.uid(segment)?)?.mtu)
    }

    fn has(&self, segment: &Segment, device: Device, attachment: &Attachment) -> bool {
        let class = compile::class(device.ifindex, attachment.encap);
        self.uid(segment).is_some_and(|uid| self.classes.contains(&(uid, class)))
    }
}

fn near(name: &str, links: &BTreeMap<String, Link>) -> String {
    let near = links.keys().filter(|other| strsim::levenshtein(name, other) <= 2).min();
    near.map_or_else(String::new, |near| format!(" (is it {near}?)"))
}

fn other_hook(port: &Port, is: Mode, wanted: Mode) -> Trouble {
    if is.hook() == wanted.hook() {
        let help = format!("it is {is}, and --xdp-mode says {wanted}; `sillon node flush` first");
        return trouble("the XDP mode (--xdp-mode) can't be changed while the port is up", help);
    }
    let why = format!(
        "its frames are seen to at {is}, and hook = \"{hook}\" is {wanted} on this device",
        is = is.hook(),
        hook = port.hook,
        wanted = wanted.hook(),
    );
    let help = format!(
        "take the port out of the configuration and put it in again, or write hook = \"{}\"",
        is.hook()
    );
    trouble(why, help)
}

/// What of a device itself does not go with its use.
fn unfit(config: &NodeConfig, port: &Port, link: &Link, mode: Mode) -> Option<Trouble> {
    let kind = link.kind.as_deref();
    if !link.is_ethernet {
        let why = "it is no Ethernet device, but a loopback, a tun or another that carries \
                   packets and no frames";
        return Some(trouble(why, "name one of which `ip link show` says link/ether"));
    }
    if port.hook == Hook::Xdp
        && let Some(kind @ ("bond" | "team")) = kind
    {
        let why = format!(
            "hook = \"xdp\" is not for a {kind}: the kernel runs XDP for each of its slaves, so \
             that all of its frames would be dropped, the host's own too"
        );
        return Some(trouble(why, "write hook = \"tc\", or leave it out"));
    }
    if port.hook == Hook::Xdp && kind == Some("tun") {
        let why = "hook = \"xdp\" is not for a tap: where its driver leaves a checksum to the \
                   card, or sends many packets as one, the kernel runs XDP on a copy \
                   that keeps nothing of what XDP says of floods";
        return Some(trouble(why, "write hook = \"tc\", or leave it out"));
    }
    if mode != Mode::Generic || port.hook.is_tc(port.role, kind) {
        return None;
    }
    if kind == Some("veth") {
        let why = "generic XDP is not for a veth: who is behind it can leave metadata in front of \
                   a frame, which is kept there and would be taken for the pipeline's own";
        return Some(trouble(
            why,
            "write hook = \"tc\", or run the agent without --xdp-mode generic",
        ));
    }
    let mut attachments =
        config.attachments.iter().filter(|attachment| attachment.port == port.name);
    let kind =
        kind.filter(|_| attachments.any(|attachment| attachment.encap != Encap::Untagged))?;
    let why = format!(
        "generic XDP sees no tags on a {kind}: the kernel takes them off on the device below"
    );
    Some(trouble(why, "write hook = \"tc\", or attach to it untagged alone"))
}

/// Why a device can't be a port.
fn unusable(link: &Link, known: &Known<'_>) -> Option<Trouble> {
    if link.ifindex >= PORT_SLOTS {
        let why = format!("its ifindex is {}, and must be below {PORT_SLOTS}", link.ifindex);
        let help = "give it a lower one where it is made (`ip link add … index N`), or move it \
                    into a new network namespace";
        return Some(trouble(why, help));
    }
    if let Some(master) = link.master {
        let master = known.links.values().find(|link| link.ifindex == master);
        let master = master.map_or("another device", |link| link.name.as_str());
        let help = format!("it is enslaved to {master}; `ip link set {} nomaster`", link.name);
        return Some(trouble("it is part of another device, which takes its frames", help));
    }
    if let Some(xdp) = &link.xdp
        && !(known.is_attached)(link.ifindex)
    {
        let help = format!(
            "it has id {}; remove it with `ip link set {} xdp off`, or whatever put it there",
            xdp.prog_id, link.name
        );
        return Some(trouble("it carries an XDP program that is not this node's", help));
    }
    None
}
