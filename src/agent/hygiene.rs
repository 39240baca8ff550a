//! What a device does for the host's own stack and XDP can't bear: it is turned off while the port is ours, and turned on again after.

use tracing::info;

use crate::net::features::{self, FeatureError};

/// The features that we may turn off, in the order of their bits in a port's record. Only ever append: nodes remember the bits.
const FEATURES: [&str; 16] = [
    "rx-vlan-hw-parse",
    "rx-vlan-stag-hw-parse",
    "rx-lro",
    "rx-gro-hw",
    "tx-checksum-ip-generic",
    "tx-checksum-ipv4",
    "tx-checksum-ipv6",
    "tx-checksum-sctp",
    "tx-checksum-fcoe-crc",
    "tx-vlan-hw-insert",
    "tx-vlan-stag-hw-insert",
    "rx-gro-list",
    "rx-udp-gro-forwarding",
    "tx-tcp-segmentation",
    "tx-udp-segmentation",
    "tx-scatter-gather",
];

/// A device's features could not be changed.
#[derive(Debug, thiserror::Error)]
#[error("port {port}: {source}")]
pub struct HygieneError {
    port: String,
    source: FeatureError,
}

/// Turns off what breaks XDP; returns it as bits.
///
/// # Errors
/// The device refuses.
pub async fn turn_off(port: &str, kind: Option<&str>) -> Result<u32, HygieneError> {
    let named = |source| HygieneError { port: port.to_owned(), source };
    let changed = features::turn_off_for_xdp(port, kind).await.map_err(named)?;
    if !changed.is_empty() {
        info!(port, features = changed.join(","), "turned off, since XDP can't bear it");
    }
    Ok(bits(&changed))
}

/// Turns on again what these bits say.
///
/// # Errors
/// The device refuses.
pub async fn restore(port: &str, bits: u32) -> Result<(), HygieneError> {
    let names = names(bits);
    if names.is_empty() {
        return Ok(());
    }
    info!(port, features = names.join(","), "turned on again");
    features::restore(port, &names).await.map_err(|source| HygieneError { port: port.to_owned(), source })
}

fn bits(names: &[String]) -> u32 {
    let bit = |name: &String| FEATURES.iter().position(|feature| feature == name).map_or(0, |bit| 1 << bit);
    names.iter().map(bit).fold(0, |bits, bit| bits | bit)
}

fn names(bits: u32) -> Vec<String> {
    let set = FEATURES.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
    set.map(|(_, name)| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_survive_the_record() {
        let off = vec!["rx-vlan-hw-parse".to_owned(), "tx-checksum-ip-generic".to_owned()];
        assert_eq!(names(bits(&off)), off);
    }
}
