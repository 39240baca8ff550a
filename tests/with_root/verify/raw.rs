//! Maps as bytes, whatever is in them.

#![allow(unsafe_code, reason = "bpf(2)")]

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use aya::maps::{MapInfo, MapType};

use super::{foreign, maps};

const LOOKUP: i32 = 1;
const UPDATE: i32 = 2;
const DELETE: i32 = 3;
const NEXT_KEY: i32 = 4;

/// A pinned map of the first edge.
pub struct RawMap {
    fd: OwnedFd,
    pub kind: MapType,
    key: usize,
    value: usize,
    entries: u32,
}

fn size(of: u32) -> usize {
    usize::try_from(of).unwrap()
}

impl RawMap {
    pub fn open(name: &str) -> Self {
        let path = maps::pin(&format!("maps/{name}"));
        let info = MapInfo::from_pin(&path).unwrap();
        let (key, value) = (size(info.key_size()), size(info.value_size()));
        Self {
            fd: foreign::pinned(&path),
            kind: info.map_type().unwrap(),
            key,
            value,
            entries: info.max_entries(),
        }
    }

    pub fn is_array(&self) -> bool {
        self.kind == MapType::Array
    }

    /// Whether each CPU has its own.
    pub fn is_per_cpu(&self) -> bool {
        matches!(self.kind, MapType::PerCpuArray | MapType::PerCpuHash)
    }

    fn call(&self, command: i32, key: *const u8, value: *const u8) -> io::Result<()> {
        let attr = [u64::try_from(self.fd.as_raw_fd()).unwrap(), key as u64, value as u64, 0];
        foreign::call(command, &attr)
    }

    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut value = vec![0; self.value];
        self.call(LOOKUP, key.as_ptr(), value.as_mut_ptr()).ok().map(|()| value)
    }

    pub fn set(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.call(UPDATE, key.as_ptr(), value.as_ptr())
    }

    pub fn remove(&self, key: &[u8]) -> io::Result<()> {
        self.call(DELETE, key.as_ptr(), std::ptr::null())
    }

    /// All entries; of an array, those that are not empty, and the first that is.
    pub fn all(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        if self.is_array() {
            // Ids are given out from the lowest on; of the ports, ifindexes are as small in a
            // namespace of their own.
            let slots = (0..self.entries.min(256)).map(|id| {
                let key = id.to_ne_bytes().to_vec();
                let value = self.get(&key).unwrap();
                (key, value)
            });
            let (used, free): (Vec<_>, Vec<_>) =
                slots.partition(|(_, value)| value.iter().any(|byte| *byte != 0));
            return used.into_iter().chain(free.into_iter().take(2)).collect();
        }
        let mut all = Vec::new();
        let mut last: Option<Vec<u8>> = None;
        loop {
            let mut next = vec![0; self.key];
            let from = last.as_ref().map_or(std::ptr::null(), |key| key.as_ptr());
            if self.call(NEXT_KEY, from, next.as_mut_ptr()).is_err() {
                return all;
            }
            all.extend(self.get(&next).map(|value| (next.clone(), value)));
            last = Some(next);
        }
    }
}
