//! Where in the kernel each port's frames are seen to.

use std::collections::BTreeMap;

use super::Reconciler;
use crate::{
    agent::offloads::Setting,
    dataplane::compile::Device,
    model::{NodeConfig, Port, PortRole},
    net::{links::Link, stack},
};

impl Reconciler {
    /// What the port on a link can't bear, which has to do with where its frames are seen to.
    pub(super) fn setting_of(&self, link: &Link) -> Setting {
        let is = self.attached.get(&link.ifindex);
        Setting::of(is.map_or(self.mode, |(_, mode)| *mode), link.kind.as_deref())
    }
}

/// The configured ports that have a device now.
pub fn devices(config: &NodeConfig, links: &BTreeMap<String, Link>) -> BTreeMap<String, Device> {
    let present =
        config.ports.iter().filter_map(|port| Some((port, links.get(port.name.as_str())?)));
    let device = |port, link: &Link| Device {
        ifindex: link.ifindex,
        mac: link.mac,
        at_tc: is_at_tc(port, link),
        has_far_end: link.has_far_end,
        is_veth: link.kind.as_deref() == Some("veth"),
    };
    present.map(|(port, link)| (link.name.clone(), device(port, link))).collect()
}

/// By which settings the node's own IP stack hears something on ports that face servers, by
/// ifindex; and which of those for all devices undo what is set there.
pub fn stacks(
    config: &NodeConfig,
    links: &BTreeMap<String, Link>,
) -> (BTreeMap<u32, Vec<String>>, Vec<String>) {
    let facing = config.ports.iter().filter(|port| port.role != PortRole::Uplink);
    let facing = facing.filter_map(|port| links.get(port.name.as_str()));
    let open = facing.map(|link| (link.ifindex, stack::open_lines(&link.name, link.stack)));
    let open = open.filter(|(_, lines)| !lines.is_empty()).collect();
    let undone = stack::of_all().map(stack::undone);
    (open, undone.unwrap_or_else(|error| vec![error.to_string()]))
}

fn is_at_tc(port: &Port, link: &Link) -> bool {
    port.hook.is_tc(port.role, link.kind.as_deref())
}
