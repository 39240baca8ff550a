//! From what the kernel answers to the ways to a remote. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};

use super::{neighbours::Neighbours, nexthops::Nexthops};
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
    /// How much of what goes to the remote goes this way, beside the other ways' weights.
    pub weight: u32,
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

/// What a resolution needs to know.
pub struct Context<'a> {
    /// The links, by ifindex.
    pub links: &'a BTreeMap<u32, Link>,
    /// The ports of role `uplink`.
    pub uplinks: &'a BTreeSet<String>,
    /// Where neighbours are.
    pub neighbours: &'a Neighbours,
    /// Next-hop objects.
    pub nexthops: &'a Nexthops,
}

/// A next hop as the kernel names it: the neighbour is the gateway, or the remote itself where it
/// is on the link.
struct Hop {
    neighbour: Wanted,
    weight: u32,
}

/// The ways to `remote` by the kernel's `route`, and the neighbours that they need (resolved or
/// not).
pub fn resolve(
    remote: IpAddr,
    route: &RouteMessage,
    context: &Context<'_>,
) -> (Resolution, Vec<Wanted>) {
    let mut resolution = Resolution::default();
    let mut wanted = Vec::new();
    if route.header.kind != RouteType::Unicast {
        resolution.why_not.push(format!("the route is {:?}, not unicast", route.header.kind));
        return (resolution, wanted);
    }
    let hops = hops(remote, route, context.nexthops).unwrap_or_else(|why| {
        resolution.why_not.push(why);
        Vec::new()
    });
    for hop in hops {
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

/// The next hops of a route. One that names an object has what that says, whether the kernel
/// repeats it or not: what it repeats has no weight above 256.
fn hops(remote: IpAddr, route: &RouteMessage, nexthops: &Nexthops) -> Result<Vec<Hop>, String> {
    let mut multipath = None;
    let mut oif = None;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::NhId(id) if nexthops.contains_key(id) => {
                return objects(remote, *id, nexthops);
            }
            RouteAttribute::MultiPath(hops) => multipath = Some(hops),
            RouteAttribute::Oif(ifindex) => oif = Some(*ifindex),
            _ => {}
        }
    }
    let hop = |ifindex, attributes: &[RouteAttribute], weight| {
        if attributes.iter().any(|attribute| matches!(attribute, RouteAttribute::EncapType(_))) {
            return Err(ENCAPSULATED.to_owned());
        }
        let address = gateway(attributes).unwrap_or(remote);
        Ok(Hop { neighbour: Wanted { ifindex, address }, weight })
    };
    match (multipath, oif) {
        (Some(hops), _) => hops
            .iter()
            .map(|of| hop(of.interface_index, &of.attributes, u32::from(of.hops) + 1))
            .collect(),
        (None, Some(ifindex)) => Ok(vec![hop(ifindex, &route.attributes, 1)?]),
        (None, None) => Ok(Vec::new()),
    }
}

const ENCAPSULATED: &str = "the route wraps packets (MPLS, SRv6 or another encapsulation), and \
                            what is in a tunnel already is not wrapped again";

/// The next hops that an object means: it is one, or a group, which has no groups in it.
fn objects(remote: IpAddr, id: u32, nexthops: &Nexthops) -> Result<Vec<Hop>, String> {
    let Some(object) = nexthops.get(&id) else { return Ok(Vec::new()) };
    let own = [(id, 1)];
    let members = if object.group.is_empty() { &own[..] } else { &object.group };
    let mut hops = Vec::new();
    for (id, weight) in members {
        let object = nexthops.get(id).ok_or_else(|| format!("next hop object {id} is gone"))?;
        if object.is_encapsulated {
            return Err(ENCAPSULATED.to_owned());
        }
        if object.is_blackhole {
            return Err(format!("next hop object {id} is a blackhole"));
        }
        let address = object.gateway.unwrap_or(remote);
        let hop = |ifindex| Hop { neighbour: Wanted { ifindex, address }, weight: *weight };
        hops.extend(object.oif.map(hop));
    }
    Ok(hops)
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
    Hop { neighbour: hop, weight }: &Hop,
    route_mtu: Option<u32>,
    context: &Context<'_>,
    wanted: &mut Vec<Wanted>,
) -> Result<Path, String> {
    let link = context
        .links
        .get(&hop.ifindex)
        .ok_or_else(|| format!("interface #{} is gone", hop.ifindex))?;
    if !context.uplinks.contains(&link.name) {
        return Err(format!(
            "the next hop {} is on {}, which is no uplink port",
            hop.address, link.name
        ));
    }
    if !link.admin_up || !link.carrier {
        return Err(format!("uplink {} is down", link.name));
    }
    wanted.push(*hop);
    let mac = context.neighbours.get(hop);
    let dst_mac =
        *mac.ok_or_else(|| format!("neighbour {} on {} is not resolved", hop.address, link.name))?;
    let mtu = route_mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu));
    Ok(Path {
        ifindex: hop.ifindex,
        src_mac: link.mac,
        dst_mac,
        mtu,
        gateway: hop.address,
        weight: *weight,
    })
}
