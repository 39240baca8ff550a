//! The node's own IP stack on a port that faces servers: it shall hear nothing there.
//!
//! The programs let nothing through to it. But they are not asked of every frame: not of what comes
//! before they are on a new device, nor of what a container's own program has marked as not to be
//! classified (`tc_skip_classify`, which `ifb` sets, and which a veth keeps). Such a frame would
//! reach the node's sockets, be forwarded to its underlay, or, as a router advertisement, change
//! its routes.
//!
//! Of a setting that is there for a device and for `all`, the kernel takes the device's alone
//! (`disable_ipv6`; who writes to `all` writes to each device), or the larger of the two
//! (`IN_DEV_MAXCONF`: `rp_filter`, `arp_ignore`). So a value of `all` can undo what is set on a
//! port, and only the owner can mend that ([`undone`]). Neither `accept_local`, `route_localnet`,
//! `proxy_arp`, `forwarding` nor any of their `all` open what a strict `rp_filter` closes: each is
//! asked only of a packet whose source has passed it.

use std::{fs, io, path::PathBuf};

use super::NetlinkError;

/// What is set for a device, or for all: none where the kernel has no such stack there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conf {
    /// `net.ipv6.conf.*.disable_ipv6`.
    pub disable_ipv6: Option<i32>,
    /// `net.ipv4.conf.*.rp_filter`.
    pub rp_filter: Option<i32>,
    /// `net.ipv4.conf.*.arp_ignore`.
    pub arp_ignore: Option<i32>,
}

/// What the kernel makes of a device's value and that of `all`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Combined {
    /// It asks the device's alone.
    Device,
    /// The larger of both.
    Max,
}

/// What is set on a port, and what it may have been before.
struct Setting {
    family: &'static str,
    key: &'static str,
    combined: Combined,
    of: fn(&mut Conf) -> &mut Option<i32>,
    wanted: i32,
    /// Values that are changed, each with its bit in a port's record. The first stands for all that
    /// have no bit.
    from: &'static [(i32, u32)],
}

/// In a port's record. Only ever append: nodes remember the bits.
const SETTINGS: [Setting; 3] = [
    Setting {
        family: "ipv6",
        key: "disable_ipv6",
        combined: Combined::Device,
        of: |conf| &mut conf.disable_ipv6,
        wanted: 1,
        from: &[(0, 1 << 20)],
    },
    // Strict (RFC 3704): no route leads to such a port, so that no source is right there.
    Setting {
        family: "ipv4",
        key: "rp_filter",
        combined: Combined::Max,
        of: |conf| &mut conf.rp_filter,
        wanted: 1,
        from: &[(0, 1 << 21), (2, 1 << 22)],
    },
    // ARP is answered for no address. Any value but those up to 3 and 8 is as good as 0.
    Setting {
        family: "ipv4",
        key: "arp_ignore",
        combined: Combined::Max,
        of: |conf| &mut conf.arp_ignore,
        wanted: 8,
        from: &[(0, 1 << 23), (1, 1 << 24), (2, 1 << 25), (3, 1 << 26)],
    },
];

impl Setting {
    fn path(&self, device: &str) -> PathBuf {
        ["/proc/sys/net", self.family, "conf", device, self.key].iter().collect()
    }

    fn of(&self, mut conf: Conf) -> Option<i32> {
        *(self.of)(&mut conf)
    }

    /// As people write it.
    fn line(&self, device: &str, value: i32) -> String {
        format!("net.{}.conf.{device}.{} = {value}", self.family, self.key)
    }

    /// Nothing where the kernel has no such stack.
    fn read(&self, device: &str) -> Result<Option<i32>, NetlinkError> {
        let failed = NetlinkError::while_doing("reading a device's IP settings");
        match fs::read_to_string(self.path(device)) {
            Ok(value) => {
                let value = value.trim().parse();
                value.map(Some).map_err(|error| failed(io::Error::other(error)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// A device that is gone is as good as done.
    fn write(&self, device: &str, value: i32) -> Result<(), NetlinkError> {
        match fs::write(self.path(device), value.to_string()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(NetlinkError::while_doing("changing a device's IP settings")(error))
            }
            _ => Ok(()),
        }
    }
}

/// The settings that are open in this, with their values.
fn all_open(conf: Conf) -> impl Iterator<Item = (&'static Setting, i32)> {
    let values = SETTINGS.iter().filter_map(move |it| Some((it, it.of(conf)?)));
    values.filter(|(setting, value)| *value != setting.wanted)
}

/// What of a device's stack hears something: as bits, what is to be changed.
pub fn open(conf: Conf) -> u32 {
    let bit = |(setting, value): (&'static Setting, i32)| {
        let known = setting.from.iter().find(|(from, _)| *from == value);
        known.or(setting.from.first()).map_or(0, |(_, bit)| *bit)
    };
    all_open(conf).map(bit).fold(0, |bits, bit| bits | bit)
}

/// The same, for people.
pub fn open_lines(device: &str, conf: Conf) -> Vec<String> {
    all_open(conf).map(|(setting, value)| setting.line(device, value)).collect()
}

/// What is set for all devices, of what can undo what is set for one.
///
/// # Errors
/// A setting can't be read.
pub fn of_all() -> Result<Conf, NetlinkError> {
    let mut conf = Conf::default();
    for setting in SETTINGS.iter().filter(|setting| setting.combined == Combined::Max) {
        *(setting.of)(&mut conf) = setting.read("all")?;
    }
    Ok(conf)
}

/// What of that opens ports on which all is set as it should be.
pub fn undone(all: Conf) -> Vec<String> {
    let shared = SETTINGS.iter().filter(|setting| setting.combined == Combined::Max);
    let values = shared.filter_map(|setting| Some((setting, setting.of(all)?)));
    values.filter(|(it, all)| *all > it.wanted).map(|(it, all)| it.line("all", all)).collect()
}

/// Changes what [`open`] says.
///
/// # Errors
/// A setting can't be written.
pub fn close(device: &str, bits: u32) -> Result<(), NetlinkError> {
    let is_meant = |setting: &&Setting| setting.from.iter().any(|(_, bit)| bits & bit != 0);
    SETTINGS.iter().filter(is_meant).try_for_each(|setting| setting.write(device, setting.wanted))
}

/// Makes the settings again what they were before these bits.
///
/// # Errors
/// A setting can't be written.
pub fn reopen(device: &str, bits: u32) -> Result<(), NetlinkError> {
    for setting in &SETTINGS {
        // Where the owner has changed it since, more than one may be written down: the last word is
        // the kernel's default.
        if let Some((before, _)) = setting.from.iter().find(|(_, bit)| bits & bit != 0) {
            setting.write(device, *before)?;
        }
    }
    Ok(())
}

/// All bits that [`open`] may say.
pub const BITS: u32 = 0x7f << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(disable_ipv6: i32, rp_filter: i32, arp_ignore: i32) -> Conf {
        Conf {
            disable_ipv6: Some(disable_ipv6),
            rp_filter: Some(rp_filter),
            arp_ignore: Some(arp_ignore),
        }
    }

    #[test]
    fn every_bit_is_one_settings_own() {
        let bits: Vec<u32> =
            SETTINGS.iter().flat_map(|setting| setting.from).map(|(_, bit)| *bit).collect();
        assert_eq!(bits.iter().fold(0, |all, bit| all | *bit), BITS);
        assert_eq!(bits.iter().sum::<u32>(), BITS);
        assert!(SETTINGS.iter().all(|one| one.from.iter().all(|(from, _)| *from != one.wanted)));
    }

    #[test]
    fn whatever_hears_something_is_changed_and_what_it_was_is_remembered() {
        assert_eq!(open(conf(1, 1, 8)), 0);
        assert_eq!(open(Conf::default()), 0, "a device without an IP stack");
        assert_eq!(open(conf(0, 0, 0)), 1 << 20 | 1 << 21 | 1 << 23);
        assert_eq!(open(conf(1, 2, 3)), 1 << 22 | 1 << 26);
        // What the kernel takes for 0.
        assert_eq!(open(conf(1, 1, 5)), 1 << 23);
        let lines = ["net.ipv4.conf.p0.rp_filter = 2", "net.ipv4.conf.p0.arp_ignore = 0"];
        assert_eq!(open_lines("p0", conf(1, 2, 0)), lines);
    }

    #[test]
    fn a_larger_value_of_all_undoes_a_ports() {
        assert!(undone(conf(0, 1, 8)).is_empty() && undone(conf(0, 0, 0)).is_empty());
        assert!(undone(Conf::default()).is_empty());
        let lines = ["net.ipv4.conf.all.rp_filter = 2", "net.ipv4.conf.all.arp_ignore = 9"];
        assert_eq!(undone(conf(0, 2, 9)), lines);
    }

    #[test]
    fn a_device_that_is_gone_is_closed() {
        assert!(close("no-such-device", BITS).is_ok() && reopen("no-such-device", BITS).is_ok());
    }
}
