//! bpf(2) on many entries of a map at once, for which aya has no calls: one call for some thousand
//! entries, where it makes one or two for each.
//!
//! The kernel may stop anywhere in a batch, and says how far it came; what it had done by then
//! stays done. So each of these goes on from there, skips what is only missing, and gives up at the
//! first entry that is really refused, with those before it done: as if there had been a call for
//! each. A hash is read bucket by bucket, each under its lock: an entry that stays is read once,
//! whoever writes meanwhile; one that comes or goes may be read or not.
#![allow(unsafe_code)]

use std::{
    ffi::c_int,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use aya::{
    Pod,
    maps::{Array, HashMap, IterableMap, LpmTrie, MapData, PerCpuArray, lpm_trie},
    util::nr_cpus,
};

use super::bpf;

const BPF_MAP_LOOKUP_BATCH: c_int = 24;
const BPF_MAP_UPDATE_BATCH: c_int = 26;
const BPF_MAP_DELETE_BATCH: c_int = 27;

/// Entries of one call: enough that the call itself costs nothing, and so few that their bytes stay
/// in the cache.
const BATCH: usize = 4096;
/// So often in a row the kernel may ask to be called again before that is a failure.
const PATIENCE: u32 = 64;
/// No bucket of a hash has as many entries.
const MOST: usize = 1 << 24;

/// `union bpf_attr` as far as the commands on many entries read it.
#[repr(C)]
struct Attr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: c_int,
    elem_flags: u64,
    flags: u64,
}

/// A map that the kernel has commands on many entries for (not so device maps). Aya has held the
/// sizes of its keys and values against the kernel's when it was opened.
pub trait Batched {
    /// Its keys.
    type Key: Pod;
    /// Its values, as large as the kernel takes them for.
    type Value: Pod;
    /// Its descriptor.
    fn fd(&self) -> BorrowedFd<'_>;
}

/// Entries of a map.
pub type Entries<M> = Vec<(<M as Batched>::Key, <M as Batched>::Value)>;

impl<K: Pod, V: Pod> Batched for HashMap<MapData, K, V> {
    type Key = K;
    type Value = V;
    fn fd(&self) -> BorrowedFd<'_> {
        self.map().fd().as_fd()
    }
}

impl<V: Pod> Batched for Array<MapData, V> {
    type Key = u32;
    type Value = V;
    fn fd(&self) -> BorrowedFd<'_> {
        self.map().fd().as_fd()
    }
}

impl<K: Pod, V: Pod> Batched for LpmTrie<MapData, K, V> {
    type Key = lpm_trie::Key<K>;
    type Value = V;
    fn fd(&self) -> BorrowedFd<'_> {
        self.map().fd().as_fd()
    }
}

/// Whether the kernel only asks to be called again.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

/// What a key means that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    IsRefused,
    IsSkipped,
}

/// Lets `call` do `count` things, from the one it is told on; it returns how many it did, and what
/// stopped it.
fn go_on(
    count: usize,
    missing: Missing,
    mut call: impl FnMut(usize) -> (usize, io::Result<()>),
) -> io::Result<()> {
    let (mut done, mut idle) = (0, 0);
    while done < count {
        let (more, result) = call(done);
        let left = count - done;
        match result {
            Ok(()) if more == left => return Ok(()),
            Ok(()) => {
                return Err(io::Error::other(format!(
                    "the kernel did {more} of {left} without a reason"
                )));
            }
            // A call that is refused before it begins leaves the count as it was.
            Err(error) => {
                let more = if more < left { more } else { 0 };
                done += more;
                let is_missing = error.raw_os_error() == Some(libc::ENOENT);
                if is_missing && missing == Missing::IsSkipped {
                    done += 1;
                    continue;
                }
                idle = if more > 0 { 0 } else { idle + 1 };
                if !is_passing(&error) || idle > PATIENCE {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// One command on keys and, if there are some, values, `size` bytes each; returns how many the
/// kernel did.
///
/// # Safety
/// `map`'s keys must be `K`, and `values`, if not null, point to as many values of the map as there
/// are keys.
unsafe fn change<K: Pod>(
    command: c_int,
    map: BorrowedFd<'_>,
    keys: &[K],
    values: *const u8,
) -> (usize, io::Result<()>) {
    let mut attr = Attr {
        in_batch: 0,
        out_batch: 0,
        keys: keys.as_ptr() as u64,
        values: values as u64,
        count: u32::try_from(keys.len()).unwrap_or(u32::MAX),
        map_fd: map.as_raw_fd(),
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads `count` keys and values, which live until the call is over, as the
    // caller promises.
    let result = unsafe { bpf(command, &mut attr) };
    (attr.count as usize, result.map(drop))
}

/// Writes entries, in order, whether they were there or not.
///
/// # Errors
/// The first that the kernel refuses; those before it are written.
pub fn update<M: Batched>(
    map: &mut M,
    entries: impl IntoIterator<Item = (M::Key, M::Value)>,
) -> io::Result<()> {
    let mut entries = entries.into_iter();
    loop {
        let (keys, values): (Vec<M::Key>, Vec<M::Value>) = entries.by_ref().take(BATCH).unzip();
        if keys.is_empty() {
            return Ok(());
        }
        go_on(keys.len(), Missing::IsRefused, |from| {
            // SAFETY: keys and values are the map's, and there are as many of each.
            unsafe {
                change(
                    BPF_MAP_UPDATE_BATCH,
                    map.fd(),
                    &keys[from..],
                    values[from..].as_ptr().cast(),
                )
            }
        })?;
    }
}

/// Removes entries, in order, as far as they are there.
///
/// # Errors
/// The first that the kernel refuses; those before it are removed.
pub fn delete<M: Batched>(map: &mut M, keys: impl IntoIterator<Item = M::Key>) -> io::Result<()> {
    let mut keys = keys.into_iter();
    loop {
        let keys: Vec<M::Key> = keys.by_ref().take(BATCH).collect();
        if keys.is_empty() {
            return Ok(());
        }
        go_on(keys.len(), Missing::IsSkipped, |from| {
            // SAFETY: the keys are the map's, and there are no values.
            unsafe { change(BPF_MAP_DELETE_BATCH, map.fd(), &keys[from..], std::ptr::null()) }
        })?;
    }
}

/// Writes zeros for every CPU.
///
/// # Errors
/// The first that the kernel refuses; those before it are written.
pub fn zero<V: Pod>(map: &mut PerCpuArray<MapData, V>, ids: &[u32]) -> io::Result<()> {
    // The kernel keeps values of CPUs eight bytes apart, and reads one of each possible CPU.
    let size = size_of::<V>().next_multiple_of(8) * nr_cpus().map_err(|(_, error)| error)?;
    let zeros = vec![0_u8; size * ids.len().min(BATCH)];
    for ids in ids.chunks(BATCH) {
        go_on(ids.len(), Missing::IsRefused, |from| {
            let values = zeros[from * size..].as_ptr();
            // SAFETY: there are as many values as ids, and each is as large as the kernel takes it
            // for.
            unsafe { change(BPF_MAP_UPDATE_BATCH, map.map().fd().as_fd(), &ids[from..], values) }
        })?;
    }
    Ok(())
}

/// Where the next batch begins, in the kernel's own terms: a bucket of a hash, or the last key that
/// was read. No key is larger.
type Place = [u64; 4];

/// Reads a map part by part, with pauses in which others may write to it.
#[derive(Debug)]
pub struct Reader {
    place: Option<Place>,
    room: usize,
    is_over: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self::of(BATCH)
    }
}

impl Reader {
    /// One that begins with so many entries in a part.
    pub const fn of(room: usize) -> Self {
        Self { place: None, room, is_over: false }
    }

    /// Reads the next part; none when the map is read to its end. A part may be empty.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn next<M: Batched>(&mut self, map: &M) -> io::Result<Option<Entries<M>>> {
        const { assert!(size_of::<M::Key>() <= size_of::<Place>()) };
        let mut idle = 0;
        while !self.is_over {
            let (entries, result) = self.call(map);
            match result {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => self.is_over = true,
                // A bucket has more entries than there is room for: the same again, with more.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && self.room < MOST => {
                    self.room *= 2;
                    continue;
                }
                Err(error) if is_passing(&error) && idle < PATIENCE => {
                    idle += 1;
                    if entries.is_empty() {
                        continue;
                    }
                }
                Err(error) => return Err(error),
            }
            return Ok(Some(entries));
        }
        Ok(None)
    }

    /// One call from where this is; moves on by what it read.
    fn call<M: Batched>(&mut self, map: &M) -> (Entries<M>, io::Result<()>) {
        let mut keys: Vec<M::Key> = Vec::with_capacity(self.room);
        let mut values: Vec<M::Value> = Vec::with_capacity(self.room);
        let mut next = Place::default();
        let mut attr = Attr {
            in_batch: self.place.as_ref().map_or(0, |place| (&raw const *place) as u64),
            out_batch: (&raw mut next) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: u32::try_from(self.room).unwrap_or(u32::MAX),
            map_fd: map.fd().as_raw_fd(),
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: there is room for `count` keys and values of the map's sizes, and for a key at
        // both places.
        let result = unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut attr) }.map(drop);
        // Only what comes to its end may have filled all there is room for: else the count is the
        // one that was asked for.
        let is_counted = match &result {
            Ok(()) => true,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => is_passing(error) && (attr.count as usize) < self.room,
        };
        let count = if is_counted { (attr.count as usize).min(self.room) } else { 0 };
        // SAFETY: the kernel wrote so many of each, and any bytes are a key and a value.
        unsafe {
            keys.set_len(count);
            values.set_len(count);
        }
        // What is full without having read anything has not moved.
        if result.is_ok() || count > 0 {
            self.place = Some(next);
        }
        (keys.into_iter().zip(values).collect(), result)
    }
}

/// All entries.
///
/// # Errors
/// The kernel refuses.
pub fn entries<M: Batched>(map: &M) -> io::Result<Entries<M>> {
    entries_that(map, |_| true)
}

/// The entries that are `wanted`. Of an array, which has as many as its node may ever use, that may
/// be few: no more are held than a part.
///
/// # Errors
/// The kernel refuses.
pub fn entries_that<M: Batched>(
    map: &M,
    wanted: impl Fn(&(M::Key, M::Value)) -> bool,
) -> io::Result<Entries<M>> {
    let mut reader = Reader::default();
    let mut entries = Vec::new();
    while let Some(part) = reader.next(map)? {
        entries.extend(part.into_iter().filter(&wanted));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;
