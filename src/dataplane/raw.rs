//! The commands of bpf(2) that aya has no call for: taking an entry out of a hash and looking at it in one step, so that it is known what was
//! taken; reading a large hash by the thousand; and what `detach` needs.
#![allow(unsafe_code)]

use std::{
    ffi::{c_int, c_long},
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd},
};

use aya::Pod;

const BPF_MAP_LOOKUP_AND_DELETE_ELEM: c_int = 21;
const BPF_MAP_LOOKUP_BATCH: c_int = 24;
/// Entries that are read at once. A bucket of the hash must fit.
const BATCH: usize = 4096;

/// `union bpf_attr` as far as the commands on one element read it.
#[repr(C)]
struct Elem {
    map_fd: c_int,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The same for commands on many.
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: c_int,
    elem_flags: u64,
    flags: u64,
}

/// One command; returns what the kernel does, which is a descriptor where the command makes one.
///
/// # Errors
/// The kernel refuses.
///
/// # Safety
/// `attr` must be what the command reads and writes of `union bpf_attr`, and what it points to must live and be as large as the
/// command takes it for.
pub unsafe fn bpf<T>(command: c_int, attr: &mut T) -> io::Result<c_long> {
    // SAFETY: as the caller promises; the kernel takes what is behind `attr`'s size for zero.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Removes `key` and returns what it had; `None` where it is not there.
///
/// # Errors
/// The kernel refuses.
///
/// # Safety
/// `map` must be a hash of `K` and `V`.
pub unsafe fn take<K: Pod, V: Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>> {
    let mut value = MaybeUninit::<V>::uninit();
    let mut elem = Elem {
        map_fd: map.as_raw_fd(),
        pad: 0,
        key: (&raw const *key) as u64,
        value: value.as_mut_ptr() as u64,
        flags: 0,
    };
    // SAFETY: key and value live until the call is over, and are as long as the map's, as the caller promises.
    match unsafe { bpf(BPF_MAP_LOOKUP_AND_DELETE_ELEM, &mut elem) } {
        // SAFETY: the kernel wrote it, and any bytes are a `V`.
        Ok(_) => Ok(Some(unsafe { value.assume_init() })),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All entries of a hash, each once; those that come or go meanwhile may be among them or not. A small part of what a call for each entry
/// takes.
///
/// # Errors
/// The kernel refuses.
///
/// # Safety
/// `map` must be a hash of `K` and `V`.
pub unsafe fn entries<K: Pod, V: Pod>(map: BorrowedFd<'_>) -> io::Result<Vec<(K, V)>> {
    let mut entries = Vec::new();
    // Where the next batch begins, in the kernel's own terms: a bucket.
    let mut place: Option<u64> = None;
    loop {
        let mut keys: Vec<K> = Vec::with_capacity(BATCH);
        let mut values: Vec<V> = Vec::with_capacity(BATCH);
        let mut next = 0_u64;
        let mut batch = Batch {
            in_batch: place.as_ref().map_or(0, |place| (&raw const *place) as u64),
            out_batch: (&raw mut next) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: BATCH as u32,
            map_fd: map.as_raw_fd(),
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: there is room for `count` keys and values of the map's sizes, as the caller promises; a hash writes four bytes to
        // `out_batch`.
        let result = unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut batch) };
        let is_last = match result {
            Ok(_) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => return Err(error),
        };
        let count = (batch.count as usize).min(BATCH);
        // SAFETY: the kernel wrote so many of each, and any bytes are a `K` and a `V`.
        unsafe {
            keys.set_len(count);
            values.set_len(count);
        }
        entries.extend(keys.into_iter().zip(values));
        if is_last {
            return Ok(entries);
        }
        place = Some(next);
    }
}
