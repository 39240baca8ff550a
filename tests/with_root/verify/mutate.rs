//! Every byte of every map of a node at work is changed, by itself, and `verify` is asked. It
//! notices, or the byte is in the list of those that decide nothing, each with its reason. What is
//! changed is found by the maps themselves: a new map or a new field is changed, too, and has to be
//! noticed.

use std::{collections::BTreeSet, mem::offset_of};

use aya::maps::MapType;
use sillon::{
    agent::survey::survey,
    dataplane::{
        maps::Maps,
        pins::Pins,
        verify::{Live, Reference, judge},
    },
};
use sillon_abi::{Binding, Claim, FdbEntry, FdbUse, MacUse, PortRecord, Segment, map};

use sillon_rig::{
    Fabric, Frame, Underlay, Wire,
    frame::{BROADCAST, Macs},
};

use super::{at_work_with, raw::RawMap};
use crate::common::{comes, fabric, mac};

/// Bytes that decide nothing.
struct Harmless {
    map: &'static str,
    /// Where in a key, or else a value.
    in_key: bool,
    /// Of which values; of all, where there is nothing.
    only: Option<fn(&[u8]) -> bool>,
    bytes: std::ops::Range<usize>,
    why: &'static str,
}

const fn value(map: &'static str, from: usize, length: usize, why: &'static str) -> Harmless {
    Harmless { map, in_key: false, only: None, bytes: from..from + length, why }
}

const ALL: usize = 1 << 20;
const PRESENCE: &str = "only whether the key is there is asked";
const ACCOUNT: &str = "an account that nobody has is opened at nothing by whoever gets it";
const COUNT: &str = "a count for people, which nothing decides by";

fn harmless() -> Vec<Harmless> {
    vec![
        value(map::DROPS, 0, ALL, COUNT),
        value(map::ATTACHMENT_COUNTERS, 0, ALL, COUNT),
        value(map::REMOTE_COUNTERS, 0, ALL, COUNT),
        value(map::COLOURS, 0, ALL, COUNT),
        value(map::ANSWERS, 0, ALL, COUNT),
        value(
            map::HANDOFFS,
            0,
            ALL,
            "written by the pipeline right before the flood reads it, on the same CPU, and read \
                once",
        ),
        value(
            map::EPOCHS,
            0,
            ALL,
            "only whether it is another number counts: what was decided under the old one is \
                decided anew",
        ),
        value(map::FDB_USE, offset_of!(FdbUse, refused), 8, COUNT),
        value(map::BINDING_USE, offset_of!(FdbUse, refused), 8, COUNT),
        value(map::MAC_USE, offset_of!(MacUse, refused), 8, COUNT),
        value(
            map::PORT_RECORDS,
            offset_of!(PortRecord, features),
            4,
            "what is turned on again when the node is flushed; frames are kept from it by the \
                agent, which looks at the device",
        ),
        value(
            map::FDB,
            offset_of!(FdbEntry, flags),
            1,
            "frozen for a while where it was: what its moves may have earned it",
        ),
        value(
            map::FDB,
            offset_of!(FdbEntry, moves),
            2,
            "how often it may still move before it stays for a while",
        ),
        value(
            map::FDB,
            offset_of!(FdbEntry, seen),
            8,
            "an earlier moment: it ages sooner, and is learned again",
        ),
        value(map::FDB, offset_of!(FdbEntry, since), 8, "an earlier moment: its moves count anew"),
        Harmless {
            map: map::FDB,
            in_key: true,
            only: None,
            bytes: 4..10,
            why: "another station of the same segment was heard there",
        },
        value(
            map::BINDINGS,
            offset_of!(Binding, seen),
            8,
            "an earlier moment: it ages sooner, and is heard again",
        ),
        value(
            map::BINDINGS,
            offset_of!(Binding, claim) + offset_of!(Claim, mac),
            6,
            "another MAC of the same segment may have claimed it: answers are given only while \
                that is there",
        ),
        value(
            map::BINDINGS,
            offset_of!(Binding, claim) + offset_of!(Claim, flags),
            1,
            "what the last claim said of itself",
        ),
        value(
            map::BINDINGS,
            offset_of!(Binding, endpoint) + 3,
            1,
            "another place of the same segment, by its number, may have said it: where an answer \
                goes the FDB says",
        ),
        Harmless {
            map: map::BINDINGS,
            in_key: true,
            only: None,
            bytes: 0..16,
            why: "another address of the same segment was heard there",
        },
        value(
            map::METERS,
            0,
            56,
            "a moment that a bucket can have; at worst what it holds passes once more, or none \
                for as long as it takes to fill",
        ),
        value(map::OWN_MACS, 0, 4, PRESENCE),
        value(map::PREFIXES, 0, 4, PRESENCE),
        value(
            map::COOKIES,
            0,
            ALL,
            "what the next load's programs know each other by; those that run have theirs as \
                constants",
        ),
        value(map::TC_DEVICES, 7, 1, "the sign of a descriptor: a negative one is no program"),
        value(map::ETHERTYPES, 0, 4, PRESENCE),
        value(map::DEVICES, 7, 1, "the sign of a descriptor: a negative one is no program"),
        Harmless {
            only: Some(has_no_list),
            ..value(
                map::SEGMENTS,
                offset_of!(Segment, list),
                4,
                "the list of a line, in which nothing is looked up",
            )
        },
        Harmless { only: Some(is_free), ..value(map::MAC_USE, 0, ALL, ACCOUNT) },
        Harmless { only: Some(is_free), ..value(map::MAC_REMOVED, 0, ALL, ACCOUNT) },
    ]
}

/// A slot that nobody has.
fn is_free(value: &[u8]) -> bool {
    value.iter().all(|byte| *byte == 0)
}

/// A segment without a flood list: a line.
fn has_no_list(value: &[u8]) -> bool {
    value[offset_of!(Segment, members)..][..4] == [0; 4]
}

/// What became of a change.
#[derive(PartialEq)]
enum Fate {
    Noticed,
    Refused,
    Missed,
}

struct Trial<'a> {
    maps: &'a Maps,
    pins: &'a Pins,
    reference: &'a Reference,
}

impl Trial<'_> {
    fn violations(&self) -> Vec<String> {
        let live = Live::read(self.maps, self.pins).unwrap();
        let report = judge(&live, self.reference);
        report.violations.iter().map(|one| format!("{}: {}", one.of, one.what)).collect()
    }

    /// Changes an entry, asks, and puts it back.
    fn of(&self, map: &RawMap, before: (&[u8], &[u8]), after: (&[u8], &[u8])) -> Fate {
        let moves = before.0 != after.0;
        // It may become another one's, which is written over and put back, too. Of prefixes, a
        // longer one would be found.
        let other = map.get(after.0).filter(|_| moves && map.kind != MapType::LpmTrie);
        if map.set(after.0, after.1).is_err() {
            return Fate::Refused;
        }
        if moves {
            map.remove(before.0).unwrap();
        }
        let found = self.violations();
        if moves {
            // Another bit of a prefix's tail is the same key; that it is as before is asked of each
            // map in the end.
            let gone = map.remove(after.0);
            assert!(gone.is_ok() || map.kind == MapType::LpmTrie, "{gone:?}");
        }
        map.set(before.0, before.1).unwrap();
        if let Some(other) = other {
            map.set(after.0, &other).unwrap();
        }
        if found.is_empty() { Fate::Missed } else { Fate::Noticed }
    }
}

/// What is longer is made of like fields.
const SHORT: usize = 48;
/// Of values as short as this, each bit is changed.
const FEW: usize = 24;

/// One bit of each byte, and another one of what is short; others in the next entry, so that each
/// field has had all of them.
fn flips(bytes: &[u8], entry: usize, is_whole: bool) -> Vec<(usize, Vec<u8>)> {
    let mut flips = Vec::new();
    for index in 0..bytes.len() {
        let first = (index * 3 + 2 * entry) % 8;
        let second = (bytes.len() <= SHORT).then_some((first + 1) % 8);
        let third = (bytes.len() <= SHORT).then_some((first + 4) % 8);
        let few = [first].into_iter().chain(second).chain(third).collect();
        let bits: Vec<usize> = if is_whole { (0..8).collect() } else { few };
        for bit in bits {
            let mut other = bytes.to_vec();
            other[index] ^= 1 << bit;
            flips.push((index, other));
        }
    }
    flips
}

/// What the other node has not: suppression with what was heard and what is configured, profiles, a
/// port of one attachment, and one at TC.
fn rich() -> (Fabric, Vec<Wire>) {
    let mut fabric = fabric(Underlay::Direct);
    let wires: Vec<Wire> = ["p0", "p1", "p2"].map(|port| fabric.plug(0, port).unwrap()).into();
    let file =
        fabric.file(0).with_node_keys(SMALL).port_at("p0", "access", "tc").port("p1", "access");
    let file = file
        .port("p2", "handover")
        .profile("100m")
        .key("cir", "\"100 Mbit/s\"")
        .key("eir", "\"1 Mbit/s\"");
    let file = file.segment("alder-lan", 100, "lan", &["10.99.0.2"]).key("suppress", "true");
    let file = file
        .attach("alder-lan", "p0", "untagged")
        .key("ingress", "\"100m\"")
        .key("egress", "\"100m\"");
    let file = file
        .attach("alder-lan", "p1", "untagged")
        .key("bindings", "[\"10.0.0.9 02:00:00:00:00:09\"]");
    let file =
        file.segment("birch-line", 200, "line", &["fd99::2"]).attach("birch-line", "p2", "port");
    fabric.edges[0].start(&file).unwrap();
    let claim = Frame::arp(
        Macs { from: mac(1), to: BROADCAST },
        1,
        (mac(1), [10, 0, 0, 1].into()),
        ([0; 6], [10, 0, 0, 1].into()),
        b"heard",
    );
    wires[0].send(&claim).unwrap();
    assert!(comes(&wires[1], "heard"));
    fabric.edges[0].stop().unwrap();
    (fabric, wires)
}

/// Small maps are read in no time.
const SMALL: &str = "max_attachments = 64\nmax_segments = 16\nmax_remotes = 16\nmax_fdb = 8192\n";

#[test]
fn no_byte_of_a_map_is_changed_unnoticed() {
    let harmless = harmless();
    let mut outcome = Outcome::default();
    for (fabric, _wires) in [at_work_with(SMALL), rich()] {
        fabric.edges[0]
            .netns
            .enter(|| {
                change_all(&harmless, &mut outcome);
                Ok(())
            })
            .unwrap();
    }
    let Outcome { missed, used, seen, tried } = outcome;
    assert!(missed.is_empty(), "{} of {tried} unnoticed:\n{}", missed.len(), missed.join("\n"));
    let unused = harmless.iter().enumerate().filter(|(at, _)| !used.contains(at));
    let unused: Vec<String> =
        unused.map(|(_, one)| format!("{} {:?}: {}", one.map, one.bytes, one.why)).collect();
    assert_eq!(unused, Vec::<String>::new(), "all of these are noticed, and need no excuse");
    let unseen: Vec<_> = map::ALL.iter().filter(|name| !seen.contains(*name)).collect();
    assert!(unseen.is_empty(), "nothing was in {unseen:?}");
    println!("{tried} changes");
}

/// What became of all changes.
#[derive(Default)]
struct Outcome {
    missed: Vec<String>,
    /// Which of the list were needed.
    used: BTreeSet<usize>,
    /// Maps in which there was something.
    seen: BTreeSet<&'static str>,
    tried: usize,
}

fn change_all(harmless: &[Harmless], outcome: &mut Outcome) {
    let pins = Pins::of_node("edge1");
    let maps = Maps::open(&pins.maps()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let live = Live::read(&maps, &pins).unwrap();
    let reference = runtime.block_on(survey(&pins, &live, None)).unwrap();
    let trial = Trial { maps: &maps, pins: &pins, reference: &reference };
    assert_eq!(trial.violations(), Vec::<String>::new());
    for name in map::ALL {
        let map = RawMap::open(name);
        // Reason enough is in the list: they are counts and notes, one of each CPU.
        if map.is_per_cpu() || *name == map::EPOCHS {
            let at = harmless.iter().position(|one| one.map == *name && one.bytes.end >= ALL);
            outcome.used.insert(at.unwrap_or_else(|| panic!("{name} is not in the list")));
            outcome.seen.insert(name);
            continue;
        }
        for (number, (key, bytes)) in map.all().iter().enumerate() {
            if number >= (if bytes.len() > SHORT { 2 } else { 4 }) {
                break;
            }
            outcome.seen.insert(name);
            change_entry(&trial, (name, &map, number), (key, bytes), harmless, outcome);
        }
        assert_eq!(trial.violations(), Vec::<String>::new(), "{name} is as it was");
    }
}

fn change_entry(
    trial: &Trial<'_>,
    (name, map, number): (&'static str, &RawMap, usize),
    (key, bytes): (&[u8], &[u8]),
    harmless: &[Harmless],
    outcome: &mut Outcome,
) {
    let values = flips(bytes, number, bytes.len() <= FEW)
        .into_iter()
        .map(|(at, other)| (false, at, key.to_vec(), other));
    let keys =
        flips(key, number, false).into_iter().map(|(at, other)| (true, at, other, bytes.to_vec()));
    let keys = keys.filter(|_| !map.is_array());
    for (in_key, at, other_key, other) in values.chain(keys) {
        // Behind the length of a prefix the kernel looks at nothing: it is the same key.
        let length = u32::from_ne_bytes(*key.first_chunk().unwrap());
        if map.kind == MapType::LpmTrie && in_key && at >= 4 && (at - 4) * 8 >= length as usize {
            continue;
        }
        let listed = harmless.iter().position(|one| {
            one.map == name
                && one.in_key == in_key
                && one.only.is_none_or(|only| only(bytes))
                && one.bytes.contains(&at)
        });
        // A count that is whole in the list is not asked again and again.
        if listed.is_some_and(|at| harmless[at].why == COUNT && harmless[at].bytes.end >= ALL) {
            outcome.used.extend(listed);
            continue;
        }
        outcome.tried += 1;
        match (trial.of(map, (key, bytes), (&other_key, &other)), listed) {
            (Fate::Missed, Some(listed)) => drop(outcome.used.insert(listed)),
            (Fate::Missed, None) => outcome.missed.push(format!(
                "{name} entry {number} {} byte {at}: {key:02x?} = {bytes:02x?}",
                if in_key { "key" } else { "value" }
            )),
            _ => {}
        }
    }
}
