//! What a device does for the host's own stack and the pipeline can't bear: it is turned off while
//! the port is ours, and turned on again after.
//!
//! And what a port needs that faces servers: a device with a filter for addresses gives the node
//! only what is for its own (veths and taps have none). So such a port is made promiscuous, as a
//! bridge makes its own, and as long as it is ours, unless its owner had it so before.

use tracing::info;

use crate::{
    dataplane::links::Mode,
    net::{
        NetlinkError,
        features::{self, Features},
        links::{self, Link},
        stack,
    },
};

/// What it is about a port that decides what it can't bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// XDP, on what has a wire behind it.
    Xdp,
    /// XDP, where the other end of the "wire" is a kernel too, which takes the frame as the first
    /// left it.
    XdpOnVeth,
    /// TC: the kernel's own offloads stay on, since skbs say what is left to be done with them.
    Tc,
}

impl Setting {
    /// Of a port in this mode, on a device of this kind.
    pub fn of(mode: Mode, kind: Option<&str>) -> Self {
        match (mode, kind) {
            (Mode::Tc, _) => Self::Tc,
            (_, Some("veth")) => Self::XdpOnVeth,
            _ => Self::Xdp,
        }
    }
}

/// A feature that must be off.
struct Feature {
    name: &'static str,
    /// Where it must be.
    at: &'static [Setting],
}

const fn anywhere(name: &'static str) -> Feature {
    Feature { name, at: &[Setting::Xdp, Setting::XdpOnVeth, Setting::Tc] }
}

const fn at_xdp(name: &'static str) -> Feature {
    Feature { name, at: &[Setting::Xdp, Setting::XdpOnVeth] }
}

const fn on_veth(name: &'static str) -> Feature {
    Feature { name, at: &[Setting::XdpOnVeth] }
}

/// In the order of their bits in a port's record. Only ever append: nodes remember the bits.
///
/// A tag that the device has taken off is a tag that XDP can't see, and merged frames are frames
/// that XDP does not get. A veth hands its peer what hardware would have finished: a checksum to be
/// filled in, a tag to be put in. TC can bear all but LRO, which merges what can't be taken apart
/// again as it was, and the two kinds of GRO that merge the packets of a tunnel by their outer
/// headers.
const FEATURES: [Feature; 11] = [
    at_xdp("rx-vlan-hw-parse"),
    at_xdp("rx-vlan-stag-hw-parse"),
    anywhere("rx-lro"),
    at_xdp("rx-gro-hw"),
    on_veth("tx-checksum-ip-generic"),
    on_veth("tx-checksum-sctp"),
    on_veth("tx-vlan-hw-insert"),
    on_veth("tx-vlan-stag-hw-insert"),
    anywhere("rx-gro-list"),
    anywhere("rx-udp-gro-forwarding"),
    Feature { name: VLAN_FILTER, at: &[] },
];

/// Some devices drop tags that nobody has registered, even where they hear all addresses. It is
/// turned off where that can be.
const VLAN_FILTER: &str = "rx-vlan-filter";

/// Beside the features' bits: the port was made promiscuous.
pub const PROMISCUOUS: u32 = 1 << 31;
/// What is only for a port that faces servers.
pub const FACING: u32 = PROMISCUOUS | stack::BITS;

/// A device's features could not be changed.
#[derive(Debug, thiserror::Error)]
#[error("port {port}: {source}")]
pub struct OffloadsError {
    port: String,
    source: Refusal,
}

/// Why not.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error("its driver keeps {} on, which the pipeline can't bear (`ethtool -k`); use a port of \
             another device", .0.join(", "))]
    Fixed(Vec<&'static str>),
}

/// Turns off what breaks the pipeline; returns it as bits.
///
/// # Errors
/// The device refuses.
pub async fn turn_off(port: &str, setting: Setting) -> Result<u32, OffloadsError> {
    let named = |source| OffloadsError { port: port.to_owned(), source };
    let unbearable = unbearable(&read(port).await.map_err(named)?, setting);
    if unbearable.is_empty() {
        return Ok(0);
    }
    features::set(port, &unbearable, false).await.map_err(|error| named(error.into()))?;
    let still = read(port).await.map_err(named)?;
    let fixed: Vec<_> =
        unbearable.iter().copied().filter(|name| still.on.contains(*name)).collect();
    if !fixed.is_empty() {
        return Err(named(Refusal::Fixed(fixed)));
    }
    info!(port, features = unbearable.join(","), "turned off, since the pipeline can't bear it");
    Ok(bits(&unbearable))
}

/// Which of these ports, given with their settings, have something on again that must be off. All
/// devices are asked at once: an agent does this each second.
///
/// # Errors
/// Netlink fails.
pub async fn lapsed<'a>(
    ports: impl IntoIterator<Item = (&'a str, Setting)>,
) -> Result<Vec<&'a str>, NetlinkError> {
    let all = features::read_all().await?;
    let is_lapsed = |(port, setting): &(&str, Setting)| {
        all.get(*port).is_some_and(|features| !unbearable(features, *setting).is_empty())
    };
    Ok(ports.into_iter().filter(is_lapsed).map(|(port, _)| port).collect())
}

async fn read(port: &str) -> Result<Features, Refusal> {
    Ok(features::read(port).await?)
}

/// What keeps frames for others from a port, or gives frames to the node's own stack: as bits, what
/// is to be changed. Of a filter for VLANs only at first: a driver may take it back.
///
/// # Errors
/// Netlink fails.
pub async fn deafness(link: &Link, is_new: bool) -> Result<u32, OffloadsError> {
    let named = |source| OffloadsError { port: link.name.clone(), source };
    let promiscuous = if link.is_promiscuous { 0 } else { PROMISCUOUS };
    let promiscuous = promiscuous | stack::open(link.stack);
    if !is_new {
        return Ok(promiscuous);
    }
    let features = read(&link.name).await.map_err(named)?;
    let filters = features.on.contains(VLAN_FILTER) && features.changeable.contains(VLAN_FILTER);
    Ok(promiscuous | if filters { bits(&[VLAN_FILTER]) } else { 0 })
}

/// Changes what [`deafness`] says.
///
/// # Errors
/// The device refuses.
pub async fn listen(port: &str, deafness: u32) -> Result<(), OffloadsError> {
    let named = |error: NetlinkError| OffloadsError { port: port.to_owned(), source: error.into() };
    if deafness & PROMISCUOUS != 0 {
        links::set_promiscuous(port, true).await.map_err(named)?;
        info!(port, "made promiscuous, to hear frames for its servers");
    }
    if deafness & stack::BITS != 0 {
        stack::close(port, deafness).map_err(named)?;
        info!(port, "the node's own IP stack hears nothing there");
    }
    let filters = names(deafness);
    if !filters.is_empty() {
        features::set(port, &filters, false).await.map_err(named)?;
    }
    Ok(())
}

/// Which features are on and must not be.
fn unbearable(features: &Features, setting: Setting) -> Vec<&'static str> {
    let unbearable = FEATURES.iter().filter(|feature| feature.at.contains(&setting));
    unbearable.map(|feature| feature.name).filter(|name| features.on.contains(*name)).collect()
}

/// What an agent has set on a port that faces servers is taken back: promiscuity, and that the
/// node's own stack hears nothing.
///
/// # Errors
/// The device refuses.
pub async fn hear_no_others(port: &str, bits: u32) -> Result<(), OffloadsError> {
    let reopened = stack::reopen(port, bits);
    reopened.map_err(|error| OffloadsError { port: port.to_owned(), source: error.into() })?;
    if bits & PROMISCUOUS == 0 {
        return Ok(());
    }
    info!(port, "not promiscuous any more");
    let done = links::set_promiscuous(port, false).await;
    done.map_err(|error| OffloadsError { port: port.to_owned(), source: error.into() })
}

/// Makes a port again what it was before what these bits say.
///
/// # Errors
/// The device refuses.
pub async fn restore(port: &str, bits: u32) -> Result<(), OffloadsError> {
    hear_no_others(port, bits).await?;
    let names = names(bits);
    if names.is_empty() {
        return Ok(());
    }
    info!(port, features = names.join(","), "turned on again");
    features::set(port, &names, true)
        .await
        .map_err(|error| OffloadsError { port: port.to_owned(), source: error.into() })
}

fn bits(names: &[&str]) -> u32 {
    let bits = (0..).zip(&FEATURES).filter(|(_, feature)| names.contains(&feature.name));
    bits.fold(0, |bits, (bit, _)| bits | 1 << bit)
}

fn names(bits: u32) -> Vec<&'static str> {
    let set = (0..).zip(&FEATURES).filter(|(bit, _)| bits & (1 << bit) != 0);
    set.map(|(_, feature)| feature.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(names: &[&str]) -> Features {
        Features {
            on: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Features::default()
        }
    }

    #[test]
    fn features_survive_the_record() {
        let off = ["rx-vlan-hw-parse", "tx-checksum-ip-generic"];
        assert_eq!(names(bits(&off)), off);
        assert_eq!(names(u32::MAX).len(), FEATURES.len());
    }

    #[test]
    fn what_is_off_or_does_no_harm_stays_as_it_is() {
        let features = on(&["rx-gro", "rx-lro", "tx-checksum-ip-generic"]);
        assert_eq!(unbearable(&features, Setting::Xdp), ["rx-lro"]);
        assert_eq!(unbearable(&features, Setting::Tc), ["rx-lro"]);
        assert_eq!(unbearable(&features, Setting::XdpOnVeth), ["rx-lro", "tx-checksum-ip-generic"]);
    }
}
