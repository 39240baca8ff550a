//! Where in the kernel each port's frames are seen to.

use std::collections::BTreeMap;

use super::{ApplyError, Reconciler, fixed};
use crate::{
    agent::{hygiene::Setting, preflight::Refusal},
    dataplane::{compile::Device, links::Mode, tables::Tables},
    model::{NodeConfig, Port},
    net::links::Link,
};

impl Reconciler {
    /// A port that stays is seen to where it was.
    pub(super) fn check_modes(
        &self,
        config: &NodeConfig,
        links: &BTreeMap<String, Link>,
        tables: &Tables,
    ) -> Result<(), ApplyError> {
        let xdp = tables.records.values().filter_map(|record| Mode::from_number(record.mode));
        if let Some(is) = xdp.filter(|mode| *mode != Mode::Tc).find(|mode| *mode != self.mode) {
            return Err(fixed("the XDP mode (--xdp-mode)", &is, &self.mode));
        }
        let moved = config.ports.iter().filter_map(|port| {
            let link = links.get(port.name.as_str())?;
            let is = Mode::from_number(tables.records.get(&link.ifindex)?.mode)?;
            let wanted = self.mode_of(port, link);
            let why = || {
                format!(
                    "its frames are seen to at {is}, and hook = \"{hook}\" is {wanted} on this device; take the port out of the configuration and put it \
                     in again, or write hook = \"{is}\"",
                    is = is.hook(),
                    hook = port.hook,
                    wanted = wanted.hook(),
                )
            };
            (is != wanted).then(|| Refusal { port: link.name.clone(), why: why() })
        });
        let moved: Vec<Refusal> = moved.collect();
        if moved.is_empty() { Ok(()) } else { Err(ApplyError::Refused(moved)) }
    }

    /// Where a port's frames are seen to.
    fn mode_of(&self, port: &Port, link: &Link) -> Mode {
        self.mode_at(is_at_tc(port, link))
    }

    /// What the port on a link can't bear.
    pub(super) fn setting_of(&self, link: &Link) -> Setting {
        let port = self.config.ports.iter().find(|port| port.name.as_str() == link.name);
        let mode = port.map_or(self.mode, |port| self.mode_of(port, link));
        Setting::of(mode, link.kind.as_deref())
    }

    /// The mode of a port that is at TC, or is not.
    pub(super) const fn mode_at(&self, tc: bool) -> Mode {
        if tc { Mode::Tc } else { self.mode }
    }
}

/// The configured ports that have a device now.
pub(super) fn devices(config: &NodeConfig, links: &BTreeMap<String, Link>) -> BTreeMap<String, Device> {
    let present = config.ports.iter().filter_map(|port| Some((port, links.get(port.name.as_str())?)));
    let device = |port, link: &Link| Device {
        ifindex: link.ifindex,
        mac: link.mac,
        at_tc: is_at_tc(port, link),
        has_far_end: link.has_far_end,
    };
    present.map(|(port, link)| (link.name.clone(), device(port, link))).collect()
}

fn is_at_tc(port: &Port, link: &Link) -> bool {
    port.hook.is_tc(port.role, link.kind.as_deref())
}
