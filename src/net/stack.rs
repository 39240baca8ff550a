//! The node's own IP stack on a port that faces servers: it shall hear nothing there.
//!
//! The programs let nothing through to it. But they are not asked of every frame: not of what comes
//! before they are on a new device, nor of what a container's own program has marked as not to be
//! classified (`tc_skip_classify`, which `ifb` sets, and which a veth keeps). Such a frame would
//! reach the node's sockets, be forwarded to its underlay, or, as a router advertisement,
//! change its routes.

use std::{fs, io, path::PathBuf};

use super::NetlinkError;

/// What is set on a port, and what it may have been before.
struct Setting {
    family: &'static str,
    key: &'static str,
    wanted: &'static str,
    /// Values that are changed, each with its bit in a port's record.
    from: &'static [(&'static str, u32)],
}

/// In a port's record. Only ever append: nodes remember the bits.
const SETTINGS: [Setting; 3] = [
    Setting { family: "ipv6", key: "disable_ipv6", wanted: "1", from: &[("0", 1 << 20)] },
    // Strict (RFC 3704): no route leads to such a port, so that no source is right there.
    Setting {
        family: "ipv4",
        key: "rp_filter",
        wanted: "1",
        from: &[("0", 1 << 21), ("2", 1 << 22)],
    },
    // ARP is answered for no address.
    Setting { family: "ipv4", key: "arp_ignore", wanted: "8", from: &[("0", 1 << 23)] },
];

impl Setting {
    fn path(&self, device: &str) -> PathBuf {
        ["/proc/sys/net", self.family, "conf", device, self.key].iter().collect()
    }

    /// Nothing where the device is gone, or the kernel has no such stack.
    fn read(&self, device: &str) -> Result<Option<String>, NetlinkError> {
        match fs::read_to_string(self.path(device)) {
            Ok(value) => Ok(Some(value.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(NetlinkError::while_doing("reading a device's IP settings")(error)),
        }
    }

    fn write(&self, device: &str, value: &str) -> Result<(), NetlinkError> {
        match fs::write(self.path(device), value) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(NetlinkError::while_doing("changing a device's IP settings")(error))
            }
            _ => Ok(()),
        }
    }
}

/// What of it hears something on a device: as bits, what is to be changed.
///
/// # Errors
/// A setting can't be read.
pub fn open(device: &str) -> Result<u32, NetlinkError> {
    let mut bits = 0;
    for setting in &SETTINGS {
        let value = setting.read(device)?;
        let open = setting.from.iter().find(|(from, _)| value.as_deref() == Some(from));
        bits |= open.map_or(0, |(_, bit)| *bit);
    }
    Ok(bits)
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
            setting.write(device, before)?;
        }
    }
    Ok(())
}

/// All bits that [`open`] may say.
pub const BITS: u32 = 0xf << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_is_one_settings_own() {
        let bits: Vec<u32> =
            SETTINGS.iter().flat_map(|setting| setting.from).map(|(_, bit)| *bit).collect();
        assert_eq!(bits.iter().fold(0, |all, bit| all | *bit), BITS);
        assert_eq!(bits.iter().sum::<u32>(), BITS);
        assert!(SETTINGS.iter().all(|one| one.from.iter().all(|(from, _)| *from != one.wanted)));
    }

    #[test]
    fn a_device_that_is_gone_is_closed() {
        assert_eq!(open("no-such-device").unwrap_or(u32::MAX), 0);
        assert!(close("no-such-device", BITS).is_ok() && reopen("no-such-device", BITS).is_ok());
    }
}
