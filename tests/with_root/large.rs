//! Large tables: an agent that looks through many addresses serves others meanwhile, and one that
//! was killed while it wrote them leaves nothing half done.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use aya::{
    Pod,
    maps::{Array, HashMap, Map, MapData},
};
use sillon::dataplane::clock::monotonic_ns;
use sillon_abi::{Endpoint, FdbEntry, FdbKey, FdbUse, Mac, MacUse, map};
use sillon_rig::{Node, Underlay};

use crate::common::{fabric, mac, soon};

/// A hash that a node has pinned.
fn pinned<K: Pod + Send, V: Pod + Send>(node: &Node, name: &str) -> HashMap<MapData, K, V> {
    map_of(node, name).try_into().unwrap()
}

/// The same, of an array.
fn array<V: Pod + Send>(node: &Node, name: &str) -> Array<MapData, V> {
    map_of(node, name).try_into().unwrap()
}

fn map_of(node: &Node, name: &str) -> Map {
    node.netns
        .enter(|| {
            let root = PathBuf::from("/sys/fs/bpf/sillon").join(node.name());
            let version = std::fs::read_dir(root)?.next().unwrap()?.path();
            Ok(Map::from_map_data(MapData::from_pin(version.join("maps").join(name))?)?)
        })
        .unwrap()
}

fn key(segment: u32, number: u32) -> FdbKey {
    let [_, a, b, c] = number.to_be_bytes();
    FdbKey::new(segment, Mac::new([2, 7, 0, a, b, c]))
}

/// Whether the agent answers what is no request, which it says without a look at anything.
fn is_served(node: &Node) -> bool {
    let socket = format!("/run/sillon/{}.sock", node.name());
    let stream = node.netns.enter(|| Ok(UnixStream::connect(&socket)?)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    writeln!(&stream, "nothing").unwrap();
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).unwrap();
    answer.contains("no request")
}

/// All entries are too old at once, so that the one walk that finds them so takes them all: who is
/// served while some are gone and some are not is served in the midst of it.
#[test]
fn an_agent_that_looks_through_a_large_fdb_serves_others_meanwhile() {
    const MANY: u32 = 100_000;
    const AGEING: u64 = 60;
    const LATER: Duration = Duration::from_secs(15);
    let mut fabric = fabric(Underlay::Direct);
    let _wire = fabric.plug(0, "p0").unwrap();
    let file = fabric.file(0).with_node_keys("max_fdb = 200000\n").port("p0", "access");
    let file =
        file.segment("alder-lan", 100, "lan", &[]).key("ageing", AGEING).key("mac_limit", MANY);
    let file = file.attach("alder-lan", "p0", "untagged").key("mac_limit", MANY);
    fabric.edges[0].start(&file).unwrap();
    // An agent that looked on would put right what no program has written.
    fabric.edges[0].kill().unwrap();
    let node = &fabric.edges[0];
    let uid = pinned::<u32, u32>(node, map::VNIS).get(&100, 0).unwrap();
    let mut fdb = pinned::<FdbKey, FdbEntry>(node, map::FDB);
    let removed = pinned::<u32, u64>(node, map::FDB_REMOVED);

    let until = Instant::now() + LATER;
    let seen = monotonic_ns() + LATER.as_nanos() as u64 - AGEING * 1_000_000_000;
    for number in 0..MANY {
        fdb.insert(key(uid, number), FdbEntry::learned(Endpoint::attachment(1), seen), 0).unwrap();
    }
    let (learned, held) = (u64::from(MANY), u64::from(MANY));
    pinned::<u32, FdbUse>(node, map::FDB_USE)
        .insert(uid, FdbUse { learned, refused: 0 }, 0)
        .unwrap();
    array::<MacUse>(node, map::MAC_USE).set(1, MacUse { held, refused: 0 }, 0).unwrap();
    fabric.edges[0].restart().unwrap();
    let node = &fabric.edges[0];
    assert!(Instant::now() < until, "it took so long to write them that they are too old already");
    assert_eq!(removed.get(&uid, 0).unwrap(), 0);

    let end = until + Duration::from_secs(30);
    let mut midst = 0;
    loop {
        assert!(is_served(node));
        let gone = removed.get(&uid, 0).unwrap();
        midst += u32::from(0 < gone && gone < u64::from(MANY));
        if gone == u64::from(MANY) {
            break;
        }
        assert!(Instant::now() < end, "{gone} are gone");
    }
    assert!(midst > 0, "nobody was served before all were gone");
    assert_eq!(fdb.keys().count(), 0);
}

/// What is configured is in the list of what is configured and in the FDB; an agent can be killed
/// when it is in only one of them.
#[test]
fn configured_addresses_that_were_written_by_half_are_written_whole_by_the_next_agent() {
    let mut fabric = fabric(Underlay::Direct);
    let _wire = fabric.plug(0, "p0").unwrap();
    let file = fabric.file(0).port("p0", "access").segment("alder-lan", 100, "lan", &[]);
    let file = file.attach("alder-lan", "p0", "untagged");
    let file = file.key("macs", "[\"02:00:00:00:00:01\", \"02:00:00:00:00:02\"]");
    fabric.edges[0].start(&file).unwrap();
    let uid = pinned::<u32, u32>(&fabric.edges[0], map::VNIS).get(&100, 0).unwrap();
    let [one, two, other] = [1, 2, 3].map(|number| FdbKey::new(uid, Mac::new(mac(number))));
    let mut fdb = pinned::<FdbKey, FdbEntry>(&fabric.edges[0], map::FDB);
    let entry = fdb.get(&one, 0).unwrap();
    assert!(entry.is_configured());

    fabric.edges[0].kill().unwrap();
    fdb.remove(&one).unwrap();
    fdb.insert(other, entry, 0).unwrap();
    fabric.edges[0].restart().unwrap();
    assert!(soon(|| fdb.get(&one, 0).is_ok_and(|now| now == entry)), "it is in the list alone");
    assert!(fdb.get(&two, 0).is_ok_and(|now| now == entry));
    assert!(fdb.get(&other, 0).is_err(), "it is in the FDB alone");
}
