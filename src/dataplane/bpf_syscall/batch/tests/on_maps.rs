//! On maps of the kernel. They need root, as everything does that makes maps: `cargo xtask test
//! --unit` leaves them out by the name of this module.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use super::*;

/// Also the last part of a batch, and more than one.
const MANY: u32 = BATCH as u32 * 3 + 17;
const NO_PREALLOC: u32 = 1;

type Hash = HashMap<MapData, u64, [u64; 3]>;

fn entry(key: u32) -> (u64, [u64; 3]) {
    (u64::from(key) * 0x1_0001, [key.into(), 1, 2])
}

fn hash(room: u32) -> Hash {
    Hash::create(room, NO_PREALLOC).unwrap()
}

#[test]
fn a_hash_is_written_read_and_emptied() {
    let mut map = hash(MANY);
    update(&mut map, (0..MANY).map(entry)).unwrap();
    let read = entries(&map).unwrap();
    assert_eq!(read.len(), MANY as usize, "each once");
    assert_eq!(read.into_iter().collect::<BTreeMap<_, _>>(), (0..MANY).map(entry).collect());
    // What is there is written again.
    update(&mut map, [(entry(5).0, [7; 3])]).unwrap();
    assert_eq!(map.get(&entry(5).0, 0).unwrap(), [7; 3]);
    // Every other is not there.
    delete(&mut map, (0..MANY * 2).step_by(2).map(|key| entry(key).0)).unwrap();
    let left: BTreeSet<u64> = entries(&map).unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, (1..MANY).step_by(2).map(|key| entry(key).0).collect());
    delete(&mut map, left).unwrap();
    assert_eq!(entries(&map).unwrap(), []);
}

#[test]
fn a_full_hash_has_what_was_written_before_it_was_full() {
    const ROOM: u32 = BATCH as u32 + 5;
    let mut map = hash(ROOM);
    let error = update(&mut map, (0..MANY).map(entry)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::E2BIG));
    let read: BTreeMap<_, _> = entries(&map).unwrap().into_iter().collect();
    assert_eq!(read, (0..ROOM).map(entry).collect());
}

#[test]
fn a_bucket_with_more_entries_than_a_part_has_room_for_is_read() {
    // As many buckets as entries, at random: some have several.
    let mut map = hash(1024);
    update(&mut map, (0..1024).map(entry)).unwrap();
    let mut reader = Reader::of(1);
    let mut read = Vec::new();
    while let Some(part) = reader.next(&map).unwrap() {
        read.extend(part.into_iter().map(|(key, _)| key));
    }
    assert!(reader.room > 1, "no bucket had two");
    assert_eq!(read.len(), 1024);
    assert_eq!(
        read.into_iter().collect::<BTreeSet<_>>(),
        (0..1024).map(|key| entry(key).0).collect()
    );
}

#[test]
fn an_array_is_read_whole_however_long_it_is() {
    for len in [1, BATCH as u32 - 1, BATCH as u32, BATCH as u32 + 1, MANY] {
        let mut map = Array::<MapData, [u32; 3]>::create(len, 0).unwrap();
        // Values of 12 bytes are 16 apart in the kernel, and 12 here.
        update(&mut map, (0..len).map(|id| (id, [id, !id, 3]))).unwrap();
        let wanted: Vec<_> = (0..len).map(|id| (id, [id, !id, 3])).collect();
        assert_eq!(entries(&map).unwrap(), wanted, "{len}");
    }
}

#[test]
fn a_trie_is_written_read_and_emptied() {
    let mut map = LpmTrie::<MapData, [u8; 20], u32>::create(MANY, NO_PREALLOC).unwrap();
    let key = |number: u32| {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        lpm_trie::Key::new(32 + number % 3, bytes)
    };
    let of = |key: lpm_trie::Key<[u8; 20]>| (key.prefix_len(), key.data());
    update(&mut map, (0..MANY).map(|number| (key(number), number))).unwrap();
    let read: BTreeMap<_, _> =
        entries(&map).unwrap().into_iter().map(|(key, value)| (of(key), value)).collect();
    assert_eq!(read, (0..MANY).map(|number| (of(key(number)), number)).collect());
    delete(&mut map, (1..MANY * 2).map(key)).unwrap();
    assert_eq!(
        entries(&map).unwrap().into_iter().map(|(key, _)| of(key)).collect::<Vec<_>>(),
        [of(key(0))]
    );
}

#[test]
fn zeros_are_written_for_every_cpu_and_nothing_beside_them() {
    let mut map = PerCpuArray::<MapData, [u32; 3]>::create(MANY, 0).unwrap();
    let cpus = nr_cpus().unwrap();
    for id in 0..MANY {
        map.set(id, aya::maps::PerCpuValues::try_from(vec![[id, 1, 2]; cpus]).unwrap(), 0).unwrap();
    }
    let ids: Vec<u32> = (1..MANY).step_by(2).collect();
    assert!(ids.len() > BATCH);
    zero(&mut map, &ids).unwrap();
    for id in 0..MANY {
        let wanted = if id % 2 == 1 { [0; 3] } else { [id, 1, 2] };
        assert_eq!(map.get(&id, 0).unwrap()[..], vec![wanted; cpus], "{id}");
    }
    zero(&mut map, &[]).unwrap();
    assert!(zero(&mut map, &[MANY]).is_err(), "there is no such id");
}

/// What stays is read once, whatever else comes and goes meanwhile: the programs learn while the
/// agent reads.
#[test]
fn who_writes_meanwhile_hides_and_doubles_nothing() {
    let mut map = hash(MANY * 2);
    update(&mut map, (0..MANY).map(entry)).unwrap();
    let stays: BTreeSet<u64> = (0..MANY).map(|key| entry(key).0).collect();
    let (stop, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut other = Hash::try_from(
        aya::maps::Map::from_map_data(MapData::from_id(map.map().info().unwrap().id()).unwrap())
            .unwrap(),
    )
    .unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                update(&mut other, (MANY..MANY + 3000).map(entry)).unwrap();
                delete(&mut other, (MANY..MANY + 3000).map(|key| entry(key).0)).unwrap();
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut reads = 0;
        while reads < 20 || rounds.load(Ordering::Relaxed) < 20 {
            let mut seen = BTreeSet::new();
            let mut reader = Reader::of(64);
            while let Some(part) = reader.next(&map).unwrap() {
                for (key, value) in part {
                    assert!(seen.insert(key) || !stays.contains(&key), "{key:x} was read twice");
                    assert_eq!(key, value[0] * 0x1_0001, "a value of another key");
                }
            }
            let missed = stays.difference(&seen).count();
            // Told outside of the assertion, so that the other thread ends.
            if missed > 0 {
                stop.store(true, Ordering::Relaxed);
            }
            assert_eq!(missed, 0);
            reads += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
}
