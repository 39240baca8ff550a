//! The rules of tunnel addresses: which one a node may have, and which remotes can be reached from
//! it.
//!
//! A node has at most one tunnel address of a family, and reaches only remotes of a family that it
//! has. Neither end may be an address that no other node can send to.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Range,
};

use toml::Spanned;

use super::super::{
    super::{PortRole, cross_checks},
    draft::{Draft, NodeDraft, SegmentDraft},
    sink::Sink,
};

pub(super) fn check(draft: &Draft, sink: &mut Sink) {
    if let Some(node) = &draft.node {
        check_vteps(node, sink);
        draft.segments.iter().for_each(|segment| check_remotes(segment, node, sink));
    }
    check_way_out(draft, sink);
}

/// The addresses of a node of which [`check_vteps`] found nothing wrong.
pub(super) fn vteps(node: &NodeDraft) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    node.vteps.iter().fold((None, None), |(v4, v6), vtep| match *vtep.get_ref() {
        IpAddr::V4(address) => (Some(address), v6),
        IpAddr::V6(address) => (v4, Some(address)),
    })
}

fn check_vteps(node: &NodeDraft, sink: &mut Sink) {
    if let Some(at) = node.vtep_at.clone()
        && node.vteps.is_empty()
        && node.vteps_readable
    {
        sink.error(at, "vtep: the list is empty".to_owned(), "").help(
            "write one address, or one of each family; leave the key out if there are no tunnels",
        );
    }
    let mut first: HashMap<bool, Range<usize>> = HashMap::new();
    for vtep in &node.vteps {
        let address = *vtep.get_ref();
        if let Some(what) = cross_checks::not_for_tunnels(address) {
            sink.error(vtep.span(), format!("vtep: {address} is {what}"), "")
                .help("a tunnel address is a unicast address that other nodes can send to");
        }
        if let Some(before) = first.get(&address.is_ipv4()) {
            let message = format!("vtep: two addresses of one family ({})", family(address));
            sink.error(vtep.span(), message, "second")
                .at(before.clone(), "first")
                .help("write at most one IPv4 and one IPv6 address");
        } else {
            first.insert(address.is_ipv4(), vtep.span());
        }
    }
}

fn check_remotes(segment: &SegmentDraft, node: &NodeDraft, sink: &mut Sink) {
    let mut seen: HashMap<IpAddr, Range<usize>> = HashMap::new();
    for remote in &segment.remotes {
        let (address, at) = (*remote.get_ref(), remote.span());
        if let Some(what) = cross_checks::not_for_tunnels(address) {
            sink.error(at, format!("remotes: {address} is {what}"), "")
                .help("a remote is the unicast tunnel address of another node");
        } else if let Some(own) = node.vteps.iter().find(|vtep| *vtep.get_ref() == address) {
            sink.error(
                at,
                format!("remotes: {address} is this node's own tunnel address"),
                "listed here",
            )
            .at(own.span(), "is this node")
            .help("list only the other nodes of the segment");
        } else if let Some(first) = seen.get(&address) {
            sink.error(at, format!("remotes: {address} is listed twice"), "again here")
                .at(first.clone(), "first here")
                .help("remove one of them");
        } else {
            check_family(remote, node, sink);
            seen.insert(address, at);
        }
    }
}

fn check_family(remote: &Spanned<IpAddr>, node: &NodeDraft, sink: &mut Sink) {
    let address = *remote.get_ref();
    let Some(vtep_at) =
        node.vtep_at.clone().filter(|_| node.vteps_readable && !node.vteps.is_empty())
    else {
        return;
    };
    if !node.vteps.iter().any(|vtep| vtep.get_ref().is_ipv4() == address.is_ipv4()) {
        let family = family(address);
        sink.error(remote.span(), format!("remotes: {address} needs an {family} vtep"), "")
            .at(vtep_at, format!("no {family} address here"))
            .help(format!(
                "add an {family} address to vtep, or use the remote's address of the other family"
            ));
    }
}

/// Remotes need an uplink and a tunnel address. It is said once, not for each segment.
fn check_way_out(draft: &Draft, sink: &mut Sink) {
    let Some(remote) = draft.segments.iter().find_map(|segment| segment.remotes.first()) else {
        return;
    };
    if draft.node.as_ref().is_some_and(|node| node.vtep_at.is_none()) {
        sink.error(remote.span(), "remotes: this node has no vtep".to_owned(), "can't be reached")
            .help("add the node's own tunnel address under [node]: vtep = [\"10.99.0.1\"]");
    }
    let may_be_uplink =
        |role: Option<&Spanned<PortRole>>| role.is_none_or(|r| *r.get_ref() == PortRole::Uplink);
    if !draft.ports.iter().any(|port| may_be_uplink(port.role.as_ref())) {
        sink.error(
            remote.span(),
            "remotes: this node has no uplink port".to_owned(),
            "can't be reached",
        )
        .help("add the port that faces the underlay: [[port]], name = \"up0\", role = \"uplink\"");
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}
