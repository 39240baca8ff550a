//! Every rule again, over all objects and in the plainest way.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    fabric::{
        pending_index::is_pending,
        state::{Target, targets},
    },
    model::{self, PortRole},
    southbound::Projection,
};

pub fn assert_all(state: &State) {
    let mut vnis = BTreeMap::new();
    let mut usage: BTreeMap<&Name, Usage> = BTreeMap::new();
    let mut held = BTreeSet::new();
    for (key, object) in state.objects() {
        for target in targets(key, &object.body) {
            assert!(
                !matches!(&target, Target::Object(there) if state.get(there).is_none()),
                "{key}: {target:?}"
            );
        }
        match (key, &object.body) {
            (Key::Segment(owned), Body::Segment(segment)) => {
                assert!(vnis.insert(segment.vni, owned).is_none(), "{}", segment.vni);
                assert!(state.operator(&owned.operator).unwrap().vnis.contains(segment.vni.get()));
                let usage = usage.entry(&owned.operator).or_default();
                (usage.segments, usage.macs) =
                    (usage.segments + 1, usage.macs + u64::from(segment.spec.mac_limit));
            }
            (Key::Attachment(owned), Body::Attachment(attachment)) => {
                assert_right(state, owned, attachment);
                let cir = |name: &Option<Name>| {
                    name.as_ref()
                        .map_or(0, |name| state.profile(&owned.beside(name)).unwrap().cir.get())
                };
                let usage = usage.entry(&owned.operator).or_default();
                usage.attachments += 1;
                usage.lists.change(&attachment.spec.lists(), true);
                usage.ingress += cir(&attachment.spec.ingress);
                usage.egress += cir(&attachment.spec.egress);
            }
            (Key::Profile(owned), _) => usage.entry(&owned.operator).or_default().profiles += 1,
            (Key::Tombstone(_, Freed::Vni(_) | Freed::Encap(..)), Body::Tombstone(tombstone)) => {
                usage.entry(&tombstone.operator).or_default().tombstones += 1;
            }
            (_, Body::Lease(lease)) if lease.state.holds_server() => {
                assert!(held.insert(&lease.spec.server), "{key}");
            }
            _ => {}
        }
    }
    for operator in state.of_kind(Kind::Operator) {
        let Key::Operator(name) = operator else { unreachable!() };
        let counted = usage.get(name).copied().unwrap_or_default();
        assert_eq!(counted, state.usage(name), "{name}");
        let quota = &state.operator(name).unwrap().quota;
        assert!(
            counted.segments <= quota.segments.into()
                && counted.attachments <= quota.attachments.into()
        );
        assert!(counted.macs <= quota.macs);
        assert!(
            quota.bandwidth.is_none_or(|most| counted.ingress.max(counted.egress) <= most.get())
        );
    }
}

fn assert_right(state: &State, owned: &Owned, attachment: &Attachment) {
    let port = state.port(&attachment.spec.port).unwrap();
    match port.role {
        PortRole::Uplink => panic!("{owned} is on an uplink"),
        PortRole::Handover => {
            assert!(port.grants[&owned.operator].allows(attachment.encap), "{owned}")
        }
        PortRole::Access => {
            let server = state.server_at(&attachment.spec.port).unwrap();
            let (holder, lease) = state.holder(server).unwrap();
            assert!(holder.operator == owned.operator && lease.state.carries(), "{owned}");
        }
    }
}

/// What a node shall do is what its file can say, and the file says it back. This is also where
/// every rule of the file is asked again.
pub fn assert_files(state: &State) {
    for key in state.of_kind(Kind::Node) {
        let Key::Node(node) = key else { unreachable!() };
        let config = desired(state, node).unwrap();
        model::testing::assert_every_rule(&config);
        let text = model::testing::to_toml(&config);
        let (read, _) =
            model::parse("node.toml", &text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        assert_eq!(read, config);
    }
}

/// What was freed in between is nobody's before its nodes have confirmed.
pub fn assert_graves(before: &State, after: &State) {
    for key in after.of_kind(Kind::Tombstone) {
        let Key::Tombstone(node, Freed::Vni(vni)) = key else { continue };
        let Body::Tombstone(tombstone) = &after.get(key).unwrap().body else { unreachable!() };
        let users = after.at(Target::Vni(*vni)).filter_map(|user| match user {
            Key::Segment(owned) => Some(owned),
            _ => None,
        });
        for owned in users {
            let goes_on = before.segment(owned).is_some_and(|segment| segment.vni == *vni);
            assert!(
                goes_on && owned.name == tombstone.segment,
                "{vni} of {owned} is not free on {node}"
            );
        }
    }
}

/// It is told by what is kept.
pub fn assert_restores(state: &State) {
    let json: Vec<(String, String)> = state
        .objects()
        .map(|(key, object)| (key.to_string(), serde_json::to_string(&**object).unwrap()))
        .collect();
    let objects = json
        .iter()
        .map(|(key, object)| (key.parse().unwrap(), serde_json::from_str(object).unwrap()));
    let again = restore_checked(state.revision(), objects).unwrap();
    assert!(again.objects().eq(state.objects()));
    for operator in state.of_kind(Kind::Operator) {
        let Key::Operator(name) = operator else { unreachable!() };
        assert_eq!(again.usage(name), state.usage(name));
    }
    assert_loads(&again);
}

/// Whoever has something else to do is told, and of what: nothing else of its file is another.
pub fn assert_concerned(before: &State, after: &State, events: &[Event]) {
    let told = affected_nodes(after, events);
    for key in after.of_kind(Kind::Node) {
        let Key::Node(node) = key else { unreachable!() };
        let is = Projection::of(after, node).unwrap();
        match (told.get(node), Projection::of(before, node)) {
            (Some(affected), Ok(was)) => {
                assert_eq!(was.follow(after, node, affected).unwrap(), is, "{events:?}")
            }
            (Some(affected), Err(_)) => assert_eq!(*affected, Affected::All),
            (None, was) => assert!(is.is_done_with(&was.unwrap()), "{node}: {events:?}"),
        }
    }
}

/// The parts of a node are all of it, and are of those who have something there or a right to it.
fn assert_parts(state: &State, node: &Name, whole: NodeUsage) {
    let mut may: BTreeSet<&Name> = BTreeSet::new();
    for (key, object) in state.objects() {
        match (key, &object.body) {
            (Key::Port(port), Body::Port { spec }) if port.node == *node => {
                may.extend(spec.grants.keys())
            }
            (Key::Lease(owned), Body::Lease(lease))
                if lease.state != LeaseState::Released
                    && state.ports_of(&lease.spec.server).any(|port| port.node == *node) =>
            {
                may.insert(&owned.operator);
            }
            (Key::Attachment(owned), Body::Attachment(attachment))
                if attachment.spec.port.node == *node =>
            {
                may.insert(&owned.operator);
            }
            _ => {}
        }
    }
    let (mut sum, parts) = (
        NodeUsage {
            remotes: whole.remotes,
            tunnels: whole.tunnels,
            uplinks: whole.uplinks,
            ..NodeUsage::default()
        },
        state.parts(node),
    );
    for (_, part) in &parts {
        sum.attachments += part.attachments;
        sum.segments += part.segments;
        sum.macs += part.macs;
        sum.lists.change(&part.lists, true);
    }
    assert_eq!(sum, whole, "{node}");
    assert!(parts.into_iter().map(|(name, _)| name).eq(may), "{node}");
}

/// What is counted as objects come and go is what there is.
pub fn assert_loads(state: &State) {
    for key in state.of_kind(Kind::Node) {
        let Key::Node(node) = key else { unreachable!() };
        let (mut slow, mut segments, mut remotes) =
            (NodeUsage::default(), BTreeSet::new(), BTreeSet::new());
        for (key, object) in state.objects() {
            match (key, &object.body) {
                (Key::Port(port), Body::Port { spec }) if port.node == *node => {
                    slow.uplinks += u64::from(spec.role == PortRole::Uplink);
                }
                (Key::Attachment(owned), Body::Attachment(attachment))
                    if attachment.spec.port.node == *node =>
                {
                    slow.attachments += 1;
                    slow.lists.change(&attachment.spec.lists(), true);
                    segments.insert(owned.beside(&attachment.spec.segment));
                }
                _ => {}
            }
        }
        for owned in &segments {
            slow.macs += u64::from(state.segment(owned).unwrap().spec.mac_limit);
            let attached = state.attachments_of(&Key::Segment(owned.clone()));
            let nodes: BTreeSet<Name> =
                attached.map(|(_, one)| one.spec.port.node.clone()).collect();
            assert!(state.nodes_of(owned).eq(&nodes));
            let others: Vec<Name> = nodes.into_iter().filter(|other| other != node).collect();
            slow.tunnels += others.len() as u64;
            remotes.extend(others);
        }
        (slow.segments, slow.remotes) = (segments.len() as u64, remotes.len() as u64);
        assert_eq!(state.node_usage(node), slow, "{node}");
        assert_eq!(state.remotes_of(node), remotes);
        assert_parts(state, node, slow);
        let attached = state.objects().filter_map(|(key, object)| match &object.body {
            Body::Attachment(attachment) if attachment.spec.port.node == *node => Some(key.clone()),
            _ => None,
        });
        let there = attached.chain(segments.iter().cloned().map(Key::Segment));
        let waiting: Vec<Key> = there.filter(|key| is_pending(state.get(key).unwrap())).collect();
        let said: Vec<Key> = state.pending_on(node).cloned().collect();
        assert_eq!(said.iter().collect::<BTreeSet<_>>(), waiting.iter().collect(), "{node}");
        // And it is what the node's file has.
        let config = desired(state, node).unwrap();
        assert_eq!(config.attachments.len() as u64, slow.attachments);
        assert_eq!(config.segments.len() as u64, slow.segments);
        let limits = config.node.limits;
        assert!(slow.attachments <= limits.attachments.into() && slow.macs <= limits.fdb.into());
        assert!(slow.segments <= limits.segments.into() && slow.remotes <= limits.remotes.into());
        assert!(slow.remotes == 0 || slow.uplinks > 0);
    }
}
