//! What has to be so when all runs again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sillon::{
    audit,
    dataplane::{
        compile::{Device, compile},
        diff::{Op, diff},
        maps::Maps,
        pins::Pins,
        sizes::Sizes,
    },
    fabric::{Body, ConditionKind, Key, Kind, Revision, State, desired, restore_checked},
    store::{Batch, Etcd, EtcdOptions, Snapshot, Store, Version},
};

use crate::chaos::{
    load::{Asked, FIRST},
    world::{PREFIX, World},
};

/// What is in the store, and how it came about.
pub struct Records {
    pub snapshot: Snapshot,
    pub log: Vec<Batch>,
    pub state: State,
}

/// Reads it; who asks is where etcd is.
pub async fn read(endpoints: Vec<String>) -> Records {
    let options = EtcdOptions { prefix: PREFIX.to_owned(), ..EtcdOptions::new(endpoints) };
    let store = Etcd::open(options).await.unwrap();
    let snapshot = store.snapshot().await.unwrap();
    let (mut log, mut at) = (Vec::new(), Version(0));
    while at < snapshot.version {
        log.extend(store.after(at).await.unwrap());
        at = log.last().unwrap().version;
    }
    log.retain(|batch| batch.version <= snapshot.version);
    let objects = snapshot.entries.iter().filter(|(key, _)| !key.starts_with("meta/"));
    let objects =
        objects.filter(|(key, _)| !key.starts_with(audit::PREFIX) && key != audit::TREE_KEY);
    let objects =
        objects.map(|(key, value)| (key.parse().unwrap(), serde_json::from_str(value).unwrap()));
    let state = restore_checked(Revision(snapshot.version.0), objects).unwrap();
    Records { snapshot, log, state }
}

/// What keeps the fabric from being at rest: what nodes have yet to do.
pub fn unrest(state: &State) -> Vec<String> {
    let mut all: Vec<String> = state.of_kind(Kind::Tombstone).map(ToString::to_string).collect();
    // A segment without attachments waits for nobody.
    let attached: BTreeSet<String> = state
        .objects()
        .filter_map(|(key, object)| match (key, &object.body) {
            (Key::Attachment(owned), Body::Attachment(attachment)) => {
                Some(format!("segment/{}/{}", owned.operator, attachment.spec.segment))
            }
            _ => None,
        })
        .collect();
    for (key, object) in state.objects() {
        let is = |kind| object.conditions.get(&kind).is_some_and(|condition| condition.is);
        let is_at_rest = match object.body {
            Body::Segment(_) => {
                !attached.contains(&key.to_string()) || is(ConditionKind::Programmed)
            }
            Body::Attachment(_) => is(ConditionKind::Programmed),
            Body::Node(_) => is(ConditionKind::Verified),
            _ => true,
        };
        if !is_at_rest {
            all.push(key.to_string());
        }
    }
    all
}

impl Records {
    /// Each commit is there once, and what they wrote, one after the other, is what is there.
    pub fn is_one_history(&self) {
        assert!(self.log.iter().map(|batch| batch.version.0).eq(1..=self.snapshot.version.0));
        let mut entries = BTreeMap::new();
        self.log.iter().for_each(|batch| entries.extend(batch.writes.clone()));
        let entries = entries.into_iter().filter_map(|(key, value)| Some((key, value?)));
        assert!(
            self.snapshot.entries.iter().cloned().eq(entries),
            "the entries are not what the log says"
        );
    }

    /// The audit log is whole, and its checkpoint signed.
    pub fn is_audited(&self, world: &World) -> u64 {
        let export = audit::of_store(&self.snapshot).unwrap();
        assert_eq!(audit::verify(&export, &world.auditor, &[]), []);
        export.items.len() as u64
    }

    /// What was acknowledged was made, once, and what was made was asked for.
    pub fn has_all(&self, asked: &[Asked]) {
        let mut by_key: BTreeMap<&str, Vec<&Asked>> = BTreeMap::new();
        for one in asked {
            by_key.entry(&one.key).or_default().push(one);
        }
        for (key, asked) in by_key {
            let made = self.made(key);
            let numbers: Vec<u64> = made.iter().copied().flatten().collect();
            let once: BTreeSet<u64> = numbers.iter().copied().collect();
            assert_eq!(once.len(), numbers.len(), "{key}: a change was made twice: {made:?}");
            let wanted: BTreeSet<u64> = asked.iter().filter_map(|asked| asked.number).collect();
            let others: Vec<&u64> = once
                .iter()
                .filter(|number| **number >= FIRST && !wanted.contains(number))
                .collect();
            assert!(others.is_empty(), "{key}: nobody asked for {others:?}");
            // What was acknowledged is there in the order in which it was asked for.
            let known: Vec<u64> =
                asked.iter().filter(|asked| asked.is_known).filter_map(|it| it.number).collect();
            let there: Vec<u64> =
                numbers.iter().copied().filter(|number| known.contains(number)).collect();
            assert_eq!(there, known, "{key}: what was acknowledged, and what is there of it");
            let gone =
                asked.iter().filter(|asked| asked.is_known && asked.number.is_none()).count();
            let went = made.iter().filter(|made| made.is_none()).count();
            assert!(went >= gone, "{key}: {gone} removals were acknowledged, and {went} are there");
        }
    }

    /// The numbers that an object had, one after the other; none where it went.
    fn made(&self, key: &str) -> Vec<Option<u64>> {
        let mut made = Vec::new();
        for (_, value) in
            self.log.iter().flat_map(|batch| &batch.writes).filter(|(it, _)| it == key)
        {
            let number = value.as_ref().map(|value| number(&serde_json::from_str(value).unwrap()));
            if made.last() != Some(&number) {
                made.push(number);
            }
        }
        made
    }
}

fn number(object: &Value) -> u64 {
    let spec = &object["spec"];
    let all = [&spec["ageing"], &spec["storm"]["broadcast"], &spec["quota"]["macs"]];
    all.into_iter().find_map(Value::as_u64).unwrap_or(0)
}

/// What an edge's maps have that they should not, or have not, when they shall be what the state
/// says.
pub fn difference(world: &World, edge: usize, state: &State) -> Vec<String> {
    let node = &world.fabric.edges[edge];
    let config = desired(state, &node.name().parse().unwrap()).unwrap();
    let text = node.netns.run("ip", &["-j", "link", "show"]).unwrap();
    let links: Vec<Value> = serde_json::from_str(&text).unwrap();
    let devices = links.iter().filter_map(|link| {
        let name = link["ifname"].as_str()?.to_owned();
        let ifindex = u32::try_from(link["ifindex"].as_u64()?).ok()?;
        let mac = node.netns.mac(&name).ok()?;
        let port = config.ports.iter().find(|port| port.name.as_str() == name);
        let at_tc = port.is_some_and(|port| port.hook.is_tc(port.role, Some("veth")));
        Some((
            name,
            Device {
                ifindex,
                mac,
                at_tc,
                has_far_end: link["link_netnsid"].is_u64(),
                is_veth: true,
            },
        ))
    });
    let devices: BTreeMap<String, Device> = devices.collect();
    let compare = || {
        let maps = Maps::open(&Pins::of_node(node.name()).maps())?;
        let there = maps.read()?;
        let wanted = compile(&config, &devices, &there, &Sizes::from(config.node.limits))?;
        let ops = diff(&there, &wanted);
        // As the agent judges drift: these are of ids that are given out, and of what is learned.
        let is_change = |op: &&Op| {
            !matches!(
                op,
                Op::Barrier | Op::Forget | Op::PurgeFdb(_) | Op::PurgeBindings(_) | Op::SetNode(_)
            )
        };
        Ok(ops.iter().filter(is_change).map(|op| format!("{op:?}")).collect())
    };
    node.netns.enter(compare).unwrap()
}
