//! A configuration as the text of its file: what [`super::parse()`] reads back as the same values.

use std::{fmt::Display, net::IpAddr};

use super::{
    Attachment, Guards, InterfaceName, LeafRole, Name, Node, NodeConfig, Port, Profile, Segment,
    StormControl,
};

/// The tables of a file, each with a key that no other has, in the order of the configuration.
pub fn parts(config: &NodeConfig) -> impl Iterator<Item = (String, String)> {
    let NodeConfig { node: own, ports, profiles, segments, attachments } = config;
    let attached =
        |one: &Attachment| (attachments_at(&one.port) + &one.encap.to_string(), attachment(one));
    std::iter::once(("node".to_owned(), node(own)))
        .chain(ports.iter().map(|one| (port_key(&one.name), port(one))))
        .chain(segments.iter().map(|one| (segment_key(&one.name), segment(one))))
        .chain(profiles.iter().map(|one| (profile_key(&one.name), profile(one))))
        .chain(attachments.iter().map(attached))
}

/// The key of a port's table.
pub fn port_key(name: &InterfaceName) -> String {
    format!("port/{name}")
}

/// What the keys of the tables of a port's attachments begin with, and no others.
pub fn attachments_at(port: &InterfaceName) -> String {
    format!("attachment/{port}/")
}

/// The key of a segment's table.
pub fn segment_key(name: &Name) -> String {
    format!("segment/{name}")
}

/// The key of a profile's table.
pub fn profile_key(name: &Name) -> String {
    format!("profile/{name}")
}

fn node(node: &Node) -> String {
    let limits = &node.limits;
    let mut out = format!("[node]\nname = \"{}\"\n", node.name);
    let vteps: Vec<IpAddr> =
        node.vtep4.map(IpAddr::V4).into_iter().chain(node.vtep6.map(IpAddr::V6)).collect();
    if !vteps.is_empty() {
        line(&mut out, "vtep", list(&vteps));
    }
    line(&mut out, "max_attachments", limits.attachments);
    line(&mut out, "max_fdb", limits.fdb);
    line(&mut out, "max_remotes", limits.remotes);
    line(&mut out, "max_segments", limits.segments);
    out
}

fn port(Port { name, role, hook }: &Port) -> String {
    format!("\n[[port]]\nname = \"{name}\"\nrole = \"{role}\"\nhook = \"{hook}\"\n")
}

fn segment(segment: &Segment) -> String {
    let Segment {
        name,
        operator,
        vni,
        service,
        remotes,
        mtu,
        ageing,
        mac_limit,
        dscp,
        moves,
        suppress,
    } = segment;
    let mut out =
        format!("\n[[segment]]\nname = \"{name}\"\noperator = \"{operator}\"\nvni = {vni}\n");
    line(&mut out, "service", quoted(service));
    line(&mut out, "remotes", list(remotes));
    line(&mut out, "mtu", mtu);
    line(&mut out, "ageing", ageing);
    line(&mut out, "mac_limit", mac_limit);
    line(&mut out, "dscp", dscp);
    line(&mut out, "move_limit", moves.limit);
    line(&mut out, "move_window", moves.window);
    line(&mut out, "freeze", moves.freeze);
    if *suppress {
        line(&mut out, "suppress", true);
    }
    out
}

fn profile(Profile { name, cir, cbs, eir, ebs }: &Profile) -> String {
    format!(
        "\n[[profile]]\nname = \"{name}\"\ncir = \"{cir}\"\ncbs = \"{cbs}\"\neir = \"{eir}\"\nebs \
         = \"{ebs}\"\n"
    )
}

fn attachment(attachment: &Attachment) -> String {
    let Attachment { segment, port, encap, role, ingress, egress, storm, guards, bindings } =
        attachment;
    let mut out = format!(
        "\n[[attachment]]\nsegment = \"{segment}\"\nport = \"{port}\"\nencap = \"{encap}\"\n"
    );
    if *role == LeafRole::Leaf {
        line(&mut out, "role", quoted(role));
    }
    for (key, profile) in [("ingress", ingress), ("egress", egress)] {
        if let Some(profile) = profile {
            line(&mut out, key, quoted(profile));
        }
    }
    let limit =
        |limit: &Option<u32>| limit.map_or_else(|| quoted("off"), |limit| limit.to_string());
    let StormControl { broadcast, multicast, unknown } = storm;
    let [broadcast, multicast, unknown] = [broadcast, multicast, unknown].map(limit);
    let storm =
        format!("{{ broadcast = {broadcast}, multicast = {multicast}, unknown = {unknown} }}");
    line(&mut out, "storm", storm);
    write_guards(&mut out, guards);
    if !bindings.is_empty() {
        line(&mut out, "bindings", list(bindings));
    }
    out
}

/// Only what is not the default, since some keys can't be written together.
fn write_guards(out: &mut String, guards: &Guards) {
    let default = Guards::default();
    let Guards { mac_limit, over_limit, macs, sticky, trusted, control, prefixes, ethertypes } =
        guards;
    if *mac_limit != default.mac_limit {
        line(out, "mac_limit", mac_limit);
    }
    if *over_limit != default.over_limit {
        line(out, "over_limit", quoted(over_limit));
    }
    if *sticky {
        line(out, "sticky", true);
    }
    if *control != default.control {
        line(out, "control", quoted(control));
    }
    line(out, "trusted", list(trusted));
    if !macs.is_empty() {
        line(out, "macs", list(macs));
    }
    if !prefixes.is_empty() {
        line(out, "prefixes", list(prefixes));
    }
    match ethertypes {
        Some(ethertypes) => line(out, "ethertypes", list(ethertypes)),
        None => line(out, "ethertypes", quoted("any")),
    }
}

fn line(out: &mut String, key: &str, value: impl Display) {
    out.push_str(&format!("{key} = {value}\n"));
}

/// None of what is written has a quote or a backslash.
fn quoted(value: impl Display) -> String {
    format!("\"{value}\"")
}

fn list<T: Display>(values: impl IntoIterator<Item = T>) -> String {
    format!("[{}]", values.into_iter().map(quoted).collect::<Vec<_>>().join(", "))
}
