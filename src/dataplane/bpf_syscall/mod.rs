//! The commands of bpf(2) that aya has no call for: taking an entry out of a hash and looking at it
//! in one step, so that it is known what was taken; those on many entries ([`batch`]); and what
//! `detach` needs.
#![allow(unsafe_code)]

pub mod batch;
pub mod epoch;
pub mod query;
pub mod sealed;

use std::{
    ffi::{c_int, c_long},
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd},
};

use aya::{
    Pod,
    maps::{HashMap, MapData},
};

use batch::Batched;

const BPF_OBJ_GET_INFO_BY_FD: c_int = 15;
const BPF_MAP_LOOKUP_AND_DELETE_ELEM: c_int = 21;

/// `union bpf_attr` as far as the commands on one element read it.
#[repr(C)]
struct Elem {
    map_fd: c_int,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `union bpf_attr` as far as `BPF_OBJ_GET_INFO_BY_FD` reads it.
#[repr(C)]
struct InfoByFd {
    fd: c_int,
    len: u32,
    info: u64,
}

/// One command; returns what the kernel does, which is a descriptor where the command makes one.
///
/// # Errors
/// The kernel refuses.
///
/// # Safety
/// `attr` must be what the command reads and writes of `union bpf_attr`, and what it points to must
/// live and be as large as the command takes it for.
pub unsafe fn bpf<T>(command: c_int, attr: &mut T) -> io::Result<c_long> {
    // SAFETY: as the caller promises; the kernel takes what is behind `attr`'s size for zero.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Has the kernel write into `info` what it says of a program, map or link.
///
/// # Errors
/// The kernel refuses.
///
/// # Safety
/// `T` must be the beginning of the info struct of what `fd` is, and what `info` points to must live
/// and be as large as it says.
pub unsafe fn read_info<T>(fd: BorrowedFd<'_>, info: &mut T) -> io::Result<()> {
    let len = u32::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let mut attr = InfoByFd { fd: fd.as_raw_fd(), len, info: (&raw mut *info) as u64 };
    // SAFETY: `attr` is what this command reads, and the kernel writes no more than `len` bytes of
    // `info`; the rest is as the caller promises.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr) }.map(drop)
}

/// Removes `key` and returns what it had; `None` where it is not there.
///
/// # Errors
/// The kernel refuses.
pub fn take<K: Pod, V: Pod>(map: &mut HashMap<MapData, K, V>, key: &K) -> io::Result<Option<V>> {
    let mut value = MaybeUninit::<V>::uninit();
    let mut elem = Elem {
        map_fd: map.fd().as_raw_fd(),
        pad: 0,
        key: (&raw const *key) as u64,
        value: value.as_mut_ptr() as u64,
        flags: 0,
    };
    // SAFETY: key and value live until the call is over, and are as long as the map's, which aya
    // asked for when it was opened.
    match unsafe { bpf(BPF_MAP_LOOKUP_AND_DELETE_ELEM, &mut elem) } {
        // SAFETY: the kernel wrote it, and any bytes are a `V`.
        Ok(_) => Ok(Some(unsafe { value.assume_init() })),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
