//! What a node's maps may hold, which another version, another program or a mistake wrote: any
//! bytes at all.
#![allow(unsafe_code, reason = "records are bytes, and bytes become records")]

use aya::Pod;
use sillon_abi::{FloodKey, PrefixKey};

use crate::dataplane::{
    diff::diff,
    tables::Tables,
    verify::{Live, verify},
};

/// The records of a node: whatever they are, `verify` has a verdict on them, and `diff` a way from
/// them and to them.
pub fn records(bytes: &[u8]) {
    let live = live(bytes);
    let report = verify(&live);
    assert!(report.violations.iter().all(|violation| !violation.what.is_empty()));
    // Nothing is asked of what comes out: only that a node with such maps can be set right, and
    // flushed.
    let nothing = Tables::default();
    diff(&live.tables, &nothing);
    diff(&nothing, &live.tables);
}

/// A byte that says of which map, and the record; and so on until they end.
fn live(mut bytes: &[u8]) -> Live {
    let mut live = Live::default();
    while record(&mut bytes, &mut live).is_some() {}
    live
}

fn record(bytes: &mut &[u8], live: &mut Live) -> Option<()> {
    let tables = &mut live.tables;
    match take::<u8>(bytes)? {
        0 => tables.node = take(bytes)?,
        1 => drop(tables.ports.insert(take(bytes)?, take(bytes)?)),
        2 => drop(tables.records.insert(take(bytes)?, take(bytes)?)),
        3 => drop(tables.classes.insert(take(bytes)?, take(bytes)?)),
        4 => drop(tables.attachments.insert(take(bytes)?, take(bytes)?)),
        5 => drop(tables.rates.insert(take(bytes)?, take(bytes)?)),
        6 => drop(tables.segments.insert(take(bytes)?, take(bytes)?)),
        7 => drop(tables.labels.insert(take(bytes)?, take(bytes)?)),
        8 => drop(tables.tunnels.insert(take(bytes)?, take(bytes)?)),
        9 => drop(tables.vnis.insert(take(bytes)?, take(bytes)?)),
        10 => drop(tables.remotes.insert(take(bytes)?, take(bytes)?)),
        11 => drop(tables.flood.insert(take::<FloodKey>(bytes)?, take(bytes)?)),
        12 => drop(tables.devices.insert(take(bytes)?)),
        13 => drop(tables.macs.insert(take(bytes)?, take(bytes)?)),
        14 => drop(tables.own_macs.insert(take(bytes)?)),
        15 => drop(tables.prefixes.insert((take(bytes)?, take::<PrefixKey>(bytes)?))),
        16 => drop(tables.ethertypes.insert(take(bytes)?)),
        17 => drop(tables.bindings.insert(take(bytes)?, take(bytes)?)),
        18 => live.fdb.push((take(bytes)?, take(bytes)?)),
        19 => live.bindings.push((take(bytes)?, take(bytes)?)),
        20 => live.remotes.push((take(bytes)?, take(bytes)?)),
        21 => drop(live.paths.insert(take(bytes)?, take(bytes)?)),
        22 => drop(live.attached.insert(take(bytes)?)),
        23 => drop(live.drops.insert(take(bytes)?)),
        _ => {}
    }
    Some(())
}

/// The first of the bytes as a record, as the kernel would copy it out of a map.
fn take<T: Pod>(bytes: &mut &[u8]) -> Option<T> {
    let (record, rest) = bytes.split_at_checked(size_of::<T>())?;
    *bytes = rest;
    // SAFETY: as many bytes as the record has; `Pod` says that any are one.
    Some(unsafe { record.as_ptr().cast::<T>().read_unaligned() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_records_have_a_verdict(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            records(&bytes);
        }

        /// Small numbers meet each other as random ones do not.
        #[test]
        fn records_that_refer_to_each_other_have_one(bytes in proptest::collection::vec(0_u8..4, 0..2048), kinds in proptest::collection::vec(0_u8..24, 1..64)) {
            let mut all = Vec::new();
            for (kind, record) in kinds.iter().zip(bytes.chunks(160)) {
                all.push(*kind);
                all.extend(record);
            }
            records(&all);
        }
    }

    /// So that the target does not pass by understanding nothing.
    #[test]
    fn the_seed_says_something() {
        let seed = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/records/node");
        let live = live(&std::fs::read(seed).unwrap());
        let Tables { ports, attachments, segments, tunnels, .. } = &live.tables;
        let sizes = [ports.len(), attachments.len(), segments.len(), tunnels.len(), live.fdb.len()];
        assert!(sizes.iter().all(|size| *size > 0), "{sizes:?}");
    }
}
