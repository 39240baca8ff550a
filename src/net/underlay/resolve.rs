//! From what the kernel answers to the ways to a remote. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use rtnetlink::packet_route::{
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia},
};

use crate::net::links::Link;

/// A next hop on the way to a remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The uplink.
    pub ifindex: u32,
    /// The uplink's MAC.
    pub src_mac: [u8; 6],
    /// The neighbour's MAC.
    pub dst_mac: [u8; 6],
    /// Largest layer-3 packet, bytes: of the link, or of the route where it says less.
    pub mtu: u32,
    /// The neighbour.
    pub gateway: IpAddr,
}

/// The ways to a remote, and why others can't be taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// The ways.
    pub paths: Vec<Path>,
    /// Reasons, for people.
    pub why_not: Vec<String>,
}

/// A neighbour that should be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// On which link.
    pub ifindex: u32,
    /// Its address.
    pub address: IpAddr,
}

/// Usable neighbours' MACs.
pub type Neighbours = BTreeMap<Wanted, [u8; 6]>;

/// The neighbours that can be sent to.
pub fn usable(messages: &[NeighbourMessage]) -> Neighbours {
    messages.iter().filter_map(neighbour).collect()
}

fn neighbour(message: &NeighbourMessage) -> Option<(Wanted, [u8; 6])> {
    let usable = matches!(
        message.header.state,
        NeighbourState::Permanent
            | NeighbourState::Noarp
            | NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
    );
    let mut address = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => address = Some(IpAddr::V4(*v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => address = Some(IpAddr::V6(*v6)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = <[u8; 6]>::try_from(bytes.as_slice()).ok(),
            _ => {}
        }
    }
    usable.then_some((Wanted { ifindex: message.header.ifindex, address: address? }, mac?))
}

/// What a resolution needs to know.
pub struct Context<'a> {
    /// The links, by ifindex.
    pub links: &'a BTreeMap<u32, Link>,
    /// The ports of role `uplink`.
    pub uplinks: &'a BTreeSet<String>,
    /// Usable neighbours.
    pub neighbours: &'a Neighbours,
}

/// The ways to `remote` by the kernel's `route`, and the neighbours that they need (resolved or not).
pub fn resolve(remote: IpAddr, route: &RouteMessage, context: &Context<'_>) -> (Resolution, Vec<Wanted>) {
    let mut resolution = Resolution::default();
    let mut wanted = Vec::new();
    if route.header.kind != RouteType::Unicast {
        resolution.why_not.push(format!("the route is {:?}, not unicast", route.header.kind));
        return (resolution, wanted);
    }
    for hop in hops(remote, route) {
        match path(&hop, route_mtu(&route.attributes), context, &mut wanted) {
            Ok(path) => resolution.paths.push(path),
            Err(why) => resolution.why_not.push(why),
        }
    }
    if resolution.paths.is_empty() && resolution.why_not.is_empty() {
        resolution.why_not.push("the route has no next hop".to_owned());
    }
    (resolution, wanted)
}

/// A next hop as the kernel names it: the neighbour is the gateway, or the remote itself where it is on the link.
fn hops(remote: IpAddr, route: &RouteMessage) -> Vec<Wanted> {
    let multipath = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => Some(hops),
        _ => None,
    });
    if let Some(hops) = multipath {
        return hops
            .iter()
            .map(|hop| Wanted {
                ifindex: hop.interface_index,
                address: gateway(&hop.attributes).unwrap_or(remote),
            })
            .collect();
    }
    let oif = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(ifindex) => Some(*ifindex),
        _ => None,
    });
    let address = gateway(&route.attributes).unwrap_or(remote);
    oif.map(|ifindex| Wanted { ifindex, address }).into_iter().collect()
}

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(v4)) => Some(IpAddr::V4(*v4)),
        RouteAttribute::Gateway(RouteAddress::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        RouteAttribute::Via(RouteVia::Inet(v4)) => Some(IpAddr::V4(*v4)),
        RouteAttribute::Via(RouteVia::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    })
}

fn route_mtu(attributes: &[RouteAttribute]) -> Option<u32> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Metrics(metrics) => metrics.iter().find_map(|metric| match metric {
            RouteMetric::Mtu(mtu) => Some(*mtu),
            _ => None,
        }),
        _ => None,
    })
}

fn path(
    hop: &Wanted,
    route_mtu: Option<u32>,
    context: &Context<'_>,
    wanted: &mut Vec<Wanted>,
) -> Result<Path, String> {
    let link =
        context.links.get(&hop.ifindex).ok_or_else(|| format!("interface #{} is gone", hop.ifindex))?;
    if !context.uplinks.contains(&link.name) {
        return Err(format!("the next hop {} is on {}, which is no uplink port", hop.address, link.name));
    }
    if !link.admin_up || !link.carrier {
        return Err(format!("uplink {} is down", link.name));
    }
    wanted.push(*hop);
    let mac = context.neighbours.get(hop);
    let dst_mac =
        *mac.ok_or_else(|| format!("neighbour {} on {} is not resolved", hop.address, link.name))?;
    let mtu = route_mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu));
    Ok(Path { ifindex: hop.ifindex, src_mac: link.mac, dst_mac, mtu, gateway: hop.address })
}
