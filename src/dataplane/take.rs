//! Taking an entry out of a hash and looking at it in one step, so that it is known what was taken. aya has no call for this.
#![allow(unsafe_code)]

use std::{
    ffi::{c_int, c_long},
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd},
};

use aya::Pod;

const BPF_MAP_LOOKUP_AND_DELETE_ELEM: c_int = 21;

/// `union bpf_attr` as far as this command reads it.
#[repr(C)]
struct Elem {
    map_fd: c_int,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
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
    let elem = Elem {
        map_fd: map.as_raw_fd(),
        pad: 0,
        key: (&raw const *key) as u64,
        value: value.as_mut_ptr() as u64,
        flags: 0,
    };
    let size = size_of::<Elem>();
    // SAFETY: `elem` is what this command reads; key and value live until the call is over, and are as long as the map's, as
    // the caller promises.
    let result: c_long =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_AND_DELETE_ELEM, &raw const elem, size) };
    if result == 0 {
        // SAFETY: the kernel wrote it, and any bytes are a `V`.
        return Ok(Some(unsafe { value.assume_init() }));
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENOENT) { Ok(None) } else { Err(error) }
}
