//! The rules of how much there may be: an operator's quotas, and the room of a node.
//!
//! They are asked of what grows. What is there already, of a store that an older Sillon wrote or of
//! an operator whose owner thought again, is let be: it must neither keep a controller from
//! starting nor anybody from removing something. What the owner lowers stays above what is in use.
//!
//! A node's room is shared by all who have a right to something on it, and none of them may leave
//! another without: half of everything is divided among them as what each can count on. What is
//! more than that is taken from the other half, by whoever comes first.

use std::collections::BTreeSet;

use super::super::{
    Refused, Rule,
    refused::{Help, refuse},
};
use crate::{
    fabric::{Key, Kind, Node, NodeUsage, Owned, Quota, Usage, quota::Lists, state::State},
    model::{BitRate, Limits, Name},
};

/// Something that is counted: what it is, how much of it there was and is, and how much there might
/// have been and may be.
struct Counted {
    what: &'static str,
    used: [u64; 2],
    most: [u64; 2],
}

impl Counted {
    /// Whether it is beyond what it may be, and that is this transaction's doing.
    const fn is_too_much(&self) -> bool {
        let ([was, is], [might, may]) = (self.used, self.most);
        is > may && (is > was || may < might)
    }
}

/// An operator has no more than its quota, anywhere and on each of these nodes.
pub(super) fn operator(
    before: &State,
    next: &State,
    name: &Name,
    nodes: &BTreeSet<Name>,
) -> Result<(), Refused> {
    let Some(spec) = next.operator(name) else { return Ok(()) };
    let was = before.operator(name).unwrap_or(spec);
    let most = [&was.quota, &spec.quota];
    let used = [before.usage(name), next.usage(name)].map(usage);
    let all = count(NAMES, used, most.map(whole));
    exceeded(name, all, "")?;
    let changes = was.quota.node != spec.quota.node;
    let every = next.of_kind(Kind::Node).filter(|_| changes).filter_map(|key| match key {
        Key::Node(node) => Some(node),
        _ => None,
    });
    for node in nodes.iter().chain(every) {
        let parts = [before, next].map(|state| counts(state.part(node, name)));
        let all = count(NAMES_ON_NODE, parts, most.map(on_node));
        exceeded(name, all, &format!(" on {node}"))?;
    }
    Ok(())
}

fn exceeded(name: &Name, all: impl Iterator<Item = Counted>, place: &str) -> Result<(), Refused> {
    let Some(Counted { what, used: [_, is], most: [_, may] }) =
        all.into_iter().find(Counted::is_too_much)
    else {
        return Ok(());
    };
    let message = format!("{name} would have {is} {what}{place}, and may have {may}");
    let key = Key::Operator(name.clone());
    let help = Help::by_role(
        "remove something, or ask the owner for more",
        format!("remove something, or raise the quota of {key}"),
    );
    refuse(Rule::Quota, message, help, [&key])
}

const NAMES: [&str; 9] = [
    "segments",
    "attachments",
    "addresses (mac_limit of all segments)",
    "prefixes",
    "listed MACs",
    "ethertypes",
    "bindings",
    "profiles",
    "bit/s of guaranteed bandwidth",
];

/// The first of them, which are counted on each node.
const NAMES_ON_NODE: [&str; 7] = {
    let [segments, attachments, macs, prefixes, listed, ethertypes, bindings, ..] = NAMES;
    [segments, attachments, macs, prefixes, listed, ethertypes, bindings]
};

fn count<const N: usize>(
    names: [&'static str; N],
    used: [[u64; N]; 2],
    most: [[u64; N]; 2],
) -> impl Iterator<Item = Counted> {
    let ([was, is], [might, may]) = (used, most);
    names.into_iter().zip(0..N).map(move |(what, i)| Counted {
        what,
        used: [was[i], is[i]],
        most: [might[i], may[i]],
    })
}

const fn usage(usage: Usage) -> [u64; 9] {
    let Usage { segments, attachments, macs, profiles, lists, ingress, egress, tombstones: _ } =
        usage;
    let [prefixes, listed, ethertypes, bindings] = lists_of(lists);
    let bandwidth = if ingress > egress { ingress } else { egress };
    [segments, attachments, macs, prefixes, listed, ethertypes, bindings, profiles, bandwidth]
}

const fn counts(usage: NodeUsage) -> [u64; 7] {
    let [prefixes, listed, ethertypes, bindings] = lists_of(usage.lists);
    [usage.segments, usage.attachments, usage.macs, prefixes, listed, ethertypes, bindings]
}

const fn lists_of(lists: Lists) -> [u64; 4] {
    [lists.prefixes, lists.macs, lists.ethertypes, lists.bindings]
}

fn whole(quota: &Quota) -> [u64; 9] {
    [
        quota.segments.into(),
        quota.attachments.into(),
        quota.macs,
        quota.prefixes.into(),
        quota.listed_macs.into(),
        quota.ethertypes.into(),
        quota.bindings.into(),
        quota.profiles.into(),
        quota.bandwidth.map_or(u64::MAX, BitRate::get),
    ]
}

fn on_node(quota: &Quota) -> [u64; 7] {
    let node = &quota.node;
    [
        node.segments.map_or(u64::MAX, u64::from),
        node.attachments.map_or(u64::MAX, u64::from),
        node.macs.unwrap_or(u64::MAX),
        node.prefixes.into(),
        node.listed_macs.into(),
        node.ethertypes.into(),
        node.bindings.into(),
    ]
}

/// Whoever churns on a node that does not answer leaves a tombstone each time, and gets nothing new
/// before some of them are confirmed.
pub(super) fn tombstones<'k>(
    before: &State,
    next: &State,
    touched: impl Iterator<Item = &'k Key>,
) -> Result<(), Refused> {
    let takes = |key: &Key| match key {
        Key::Attachment(owned) => {
            next.attachment(owned).is_some_and(|is| is_new(before, owned, is))
        }
        Key::Segment(owned) => {
            next.segment(owned).map(|is| is.vni) != before.segment(owned).map(|was| was.vni)
                && next.segment(owned).is_some()
        }
        _ => false,
    };
    for name in touched.filter(|key| takes(key)).filter_map(Key::operator).collect::<BTreeSet<_>>()
    {
        let Some(spec) = next.operator(name) else { continue };
        let (tombstones, most) = (next.usage(name).tombstones, u64::from(spec.quota.tombstones));
        if tombstones > most {
            let message = format!(
                "{name} gave up {tombstones} VNIs and encapsulations that nodes have yet to \
                 confirm, and may have {most}"
            );
            let help = Help::by_role(
                "wait until the nodes have confirmed, or ask the owner what is wrong with them",
                "wait until the nodes have confirmed; `sillon get nodes` shows which lag behind",
            );
            return refuse(Rule::Quota, message, help, [&Key::Operator(name.clone())]);
        }
    }
    Ok(())
}

fn is_new(before: &State, owned: &Owned, is: &crate::fabric::Attachment) -> bool {
    before.attachment(owned).is_none_or(|was| !is.stays(was))
}

/// A node has room for what it shall hold, and each who has a right to it keeps what it can count
/// on. How much room there is, is not an operator's to know.
pub(super) fn room(before: &State, next: &State, name: &Name) -> Result<(), Refused> {
    let Some(node) = next.node(name) else { return Ok(()) };
    let limits = [before.node(name).unwrap_or(node).limits(), node.limits()].map(rooms);
    let used = [before.node_usage(name), next.node_usage(name)].map(held);
    for (resource, counted) in ROOM.iter().zip(count(ROOM.map(|it| it.what), used, limits)) {
        if counted.is_too_much() {
            let would = format!("it would hold {}", counted.used[1]);
            return full(name, node, resource, &would);
        }
    }
    let parts = next.parts(name);
    let others = u64::try_from(parts.len()).unwrap_or(u64::MAX).max(1);
    let grown =
        parts.iter().map(|(operator, part)| (counts(before.part(name, operator)), counts(*part)));
    for (was, is) in grown {
        for (i, resource) in ROOM.iter().enumerate().take(is.len()) {
            let room = limits[1][i];
            let reserve = room / 2 / others;
            let kept = || {
                parts
                    .iter()
                    .map(|(_, part)| counts(*part)[i].max(reserve))
                    .fold(0, u64::saturating_add)
            };
            if is[i] > was[i] && is[i] > reserve && kept() > room {
                let would = format!(
                    "one operator would have {} of them, and each of {others} can count on \
                     {reserve}",
                    is[i]
                );
                return full(name, node, resource, &would);
            }
        }
    }
    Ok(())
}

/// Something that a node has room for, and where its file says how much.
struct Resource {
    what: &'static str,
    room: fn(&Limits) -> u32,
    /// The key under `[node]` in the node's file, and in its spec; and its value.
    file_key: &'static str,
    spec_key: &'static str,
    limit: fn(&Limits) -> u32,
}

const fn of_attachments(what: &'static str, room: fn(&Limits) -> u32) -> Resource {
    let (file_key, spec_key) = ("max_attachments", "limits.attachments");
    Resource { what, room, file_key, spec_key, limit: |limits| limits.attachments }
}

const fn of_remotes(what: &'static str, room: fn(&Limits) -> u32) -> Resource {
    let (file_key, spec_key) = ("max_remotes", "limits.remotes");
    Resource { what, room, file_key, spec_key, limit: |limits| limits.remotes }
}

/// What of a node's is counted, in the order of [`held`]: first what is counted for each operator,
/// too.
const ROOM: [Resource; 9] = [
    Resource {
        what: "segments",
        room: |limits| limits.segments,
        file_key: "max_segments",
        spec_key: "limits.segments",
        limit: |limits| limits.segments,
    },
    of_attachments("attachments", |limits| limits.attachments),
    Resource {
        what: "addresses",
        room: |limits| limits.fdb,
        file_key: "max_fdb",
        spec_key: "limits.fdb",
        limit: |limits| limits.fdb,
    },
    of_attachments("prefixes", Limits::guard_entries),
    of_attachments("listed MACs", Limits::listed_macs),
    of_attachments("ethertypes", Limits::guard_entries),
    of_attachments("bindings", Limits::guard_entries),
    of_remotes("remotes", |limits| limits.remotes),
    of_remotes("remotes of all segments together", Limits::tunnels),
];

fn rooms(limits: Limits) -> [u64; 9] {
    ROOM.map(|resource| u64::from((resource.room)(&limits)))
}

const fn held(of: NodeUsage) -> [u64; 9] {
    let [segments, attachments, macs, prefixes, listed, ethertypes, bindings] = counts(of);
    let NodeUsage { remotes, tunnels, .. } = of;
    [segments, attachments, macs, prefixes, listed, ethertypes, bindings, remotes, tunnels]
}

/// Refuses, and tells the owner what has to be changed where.
fn full(name: &Name, node: &Node, resource: &Resource, would: &str) -> Result<(), Refused> {
    let Resource { what, room, file_key, spec_key, limit } = resource;
    let (key, limits) = (Key::Node(name.clone()), node.limits());
    let (is, asked) = (limit(&limits), limit(&node.spec.limits));
    let room = format!("{would}, and it has room for {}: {file_key} = {is}", room(&limits));
    let again = "stop the agent there, run `sillon node flush`, and start it again";
    let advice = if is < asked {
        format!("under [node] when its maps were made; {asked} since: {again}")
    } else {
        format!("under [node]; raise {spec_key} of {key}, and {again}; or attach elsewhere")
    };
    let help =
        Help::by_role("attach elsewhere, or ask the owner for room", format!("{room} {advice}"));
    refuse(Rule::Room, format!("{key} has no room for more {what}"), help, [&key])
}
