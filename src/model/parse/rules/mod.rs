//! The values of a file against each other: every rule that needs two of them.

mod attachments;
mod bindings;
mod guards;
mod profiles;
mod tunnels;
mod warnings;

use std::{collections::HashMap, hash::Hash, ops::Range};

use toml::Spanned;

use super::{
    super::{Attachment, LeafRole, Node, NodeConfig, Port, Segment},
    draft::{Draft, SegmentDraft},
    sink::Sink,
};

/// Reports every broken rule, and makes the configuration if there is none.
pub(super) fn check(draft: &Draft, sink: &mut Sink) -> Option<NodeConfig> {
    let ports = draft.ports.iter().filter_map(|port| port.written.as_ref());
    once(
        ports,
        sink,
        |name| format!("port {name:?} is defined twice"),
        "give each port one [[port]]",
    );
    let names = draft.segments.iter().filter_map(|segment| segment.written.as_ref());
    once(
        names,
        sink,
        |name| format!("segment {name:?} is defined twice"),
        "give each segment its own name",
    );
    let vnis = draft.segments.iter().filter_map(|segment| segment.vni.as_ref());
    once(
        vnis,
        sink,
        |vni| format!("VNI {vni} is used twice"),
        "give each segment a VNI of its own",
    );

    let profiles = draft.profiles.iter().filter_map(|profile| profile.written.as_ref());
    once(
        profiles,
        sink,
        |name| format!("profile {name:?} is defined twice"),
        "give each profile its own name",
    );

    tunnels::check(draft, sink);
    attachments::check(draft, sink);
    profiles::check(draft, sink);
    let claims = guards::check(draft, sink);
    bindings::check(draft, claims, sink);
    limits(draft, sink);

    let config = if sink.has_errors() { None } else { build(draft) }?;
    warnings::check(draft, &config, sink);
    Some(config)
}

/// Reports each value that was there before.
fn once<'d, T: Hash + Eq + 'd>(
    values: impl Iterator<Item = &'d Spanned<T>>,
    sink: &mut Sink,
    message: impl Fn(&T) -> String,
    help: &str,
) {
    let mut seen: HashMap<&T, Range<usize>> = HashMap::new();
    for value in values {
        if let Some(first) = seen.get(value.get_ref()) {
            sink.error(value.span(), message(value.get_ref()), "again here")
                .at(first.clone(), "first here")
                .help(help);
        } else {
            seen.insert(value.get_ref(), value.span());
        }
    }
}

/// What the node is told to have room for.
fn limits(draft: &Draft, sink: &mut Sink) {
    let Some(node) = &draft.node else { return };
    let limits = node.limits;
    let mut within =
        |what: &str, key: &str, limit: u32, places: &mut dyn Iterator<Item = Range<usize>>| {
            if let Some(place) = places.nth(limit as usize) {
                let many = limit as usize + 1 + places.count();
                let message = format!("{many} {what} are more than {key}, which is {limit}");
                sink.error(place, message, "the first beyond it")
                    .help(format!("raise it under [node]: {key} = {many}"));
            }
        };
    let mut attachments = draft.attachments.iter().map(|attachment| attachment.at.clone());
    within("attachments", "max_attachments", limits.attachments, &mut attachments);
    let mut segments =
        draft.segments.iter().filter_map(|segment| Some(segment.written.as_ref()?.span()));
    within("segments", "max_segments", limits.segments, &mut segments);
    let mut seen = std::collections::HashSet::new();
    let remotes = draft.segments.iter().flat_map(|segment| &segment.remotes);
    let mut remotes = remotes.filter(|remote| seen.insert(*remote.get_ref())).map(Spanned::span);
    within("distinct remotes", "max_remotes", limits.remotes, &mut remotes);

    fdb(draft, limits.fdb, sink);
}

/// What the segments may learn must fit the FDB together: none may fill it for the others.
fn fdb(draft: &Draft, fdb: u32, sink: &mut Sink) {
    let mut together = 0_u64;
    let mut beyond = None;
    for segment in &draft.segments {
        let share = mac_limit(segment, fdb);
        together += u64::from(share);
        if let Some(written) = segment.mac_limit.as_ref().filter(|_| share > fdb) {
            let message = format!("mac_limit: {share} is more than max_fdb, which is {fdb}");
            sink.error(written.span(), message, "").help(
                "lower it, or raise max_fdb under [node]: a segment can't learn more than its node",
            );
            return;
        }
        if together > u64::from(fdb) && beyond.is_none() {
            beyond = segment
                .mac_limit
                .as_ref()
                .map(Spanned::span)
                .or(segment.written.as_ref().map(Spanned::span));
        }
    }
    if let Some(place) = beyond {
        let message =
            format!("the segments may learn {together} MACs together, but max_fdb is {fdb}");
        sink.error(place, message, "the first that finds no room").help(format!(
            "lower their mac_limit (it is {} where it is not given), or raise it under [node]: \
             max_fdb = {together}",
            Segment::DEFAULT_MAC_LIMIT
        ));
    }
}

/// MACs that a segment may have.
fn mac_limit(segment: &SegmentDraft, fdb: u32) -> u32 {
    segment.mac_limit.as_ref().map_or(Segment::DEFAULT_MAC_LIMIT.min(fdb), |limit| *limit.get_ref())
}

/// `None` only if something is missing, which was reported where it was read.
fn build(draft: &Draft) -> Option<NodeConfig> {
    let node = draft.node.as_ref()?;
    let (vtep4, vtep6) = tunnels::vteps(node);
    let ports = draft.ports.iter().map(|port| {
        Some(Port {
            name: port.name.clone()?,
            role: *port.role.as_ref()?.get_ref(),
            hook: port.hook,
        })
    });
    let segments = draft.segments.iter().map(|segment| build_segment(segment, node.limits.fdb));
    let attachments = draft.attachments.iter().map(|attachment| {
        Some(Attachment {
            segment: attachment.segment.as_ref()?.get_ref().parse().ok()?,
            port: attachment.port.as_ref()?.get_ref().parse().ok()?,
            encap: *attachment.encap.as_ref()?.get_ref(),
            role: attachment.role.as_ref().map_or(LeafRole::Root, |role| *role.get_ref()),
            ingress: profiles::named(attachment.ingress.as_ref())?,
            egress: profiles::named(attachment.egress.as_ref())?,
            storm: attachment.storm,
            guards: attachment.guards.build(),
            bindings: attachment.bindings.iter().map(|binding| *binding.get_ref()).collect(),
        })
    });
    Some(NodeConfig {
        node: Node {
            name: node.name.as_ref()?.get_ref().clone(),
            vtep4,
            vtep6,
            limits: node.limits,
        },
        ports: ports.collect::<Option<_>>()?,
        profiles: draft.profiles.iter().map(profiles::build).collect::<Option<_>>()?,
        segments: segments.collect::<Option<_>>()?,
        attachments: attachments.collect::<Option<_>>()?,
    })
}

fn build_segment(segment: &SegmentDraft, fdb: u32) -> Option<Segment> {
    Some(Segment {
        name: segment.name.clone()?,
        operator: segment.operator.as_ref()?.get_ref().clone(),
        vni: *segment.vni.as_ref()?.get_ref(),
        service: *segment.service.as_ref()?.get_ref(),
        remotes: segment.remotes.iter().map(|remote| *remote.get_ref()).collect(),
        mtu: segment.mtu.try_into().ok()?,
        ageing: segment.ageing,
        mac_limit: mac_limit(segment, fdb),
        dscp: segment.dscp.try_into().ok()?,
        moves: segment.moves,
        suppress: segment.suppress.as_ref().is_some_and(|suppress| *suppress.get_ref()),
    })
}
