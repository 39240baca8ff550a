//! Taking a program off at once. A link whose last pin is removed goes too, but some time later, when a kernel worker gets to it
//! (`bpf_link_put` in kernel/bpf/syscall.c); until then its program would still run. aya has no call for this.
#![allow(unsafe_code)]

use std::{
    ffi::{CString, c_int},
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use super::raw;

const BPF_OBJ_GET: c_int = 7;
const BPF_LINK_DETACH: c_int = 34;

/// `union bpf_attr` as far as `BPF_OBJ_GET` reads it.
#[repr(C)]
struct ObjGet {
    path: u64,
    fd: u32,
    flags: u32,
}

/// `union bpf_attr` as far as `BPF_LINK_DETACH` reads it.
#[repr(C)]
struct LinkDetach {
    fd: c_int,
}

/// Detaches the link that is pinned at `path`; the pin stays. Nothing to do where there is none.
///
/// # Errors
/// The kernel refuses.
pub fn detach_pinned(path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut get = ObjGet { path: name.as_ptr() as u64, fd: 0, flags: 0 };
    // SAFETY: `get` is what this command reads, and the name in it lives until the call is over.
    let fd = match unsafe { raw::bpf(BPF_OBJ_GET, &mut get) } {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => c_int::try_from(result?).map_err(io::Error::other)?,
    };
    // SAFETY: the kernel has just made this descriptor for us.
    let link = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: `LinkDetach` is what this command reads.
    unsafe { raw::bpf(BPF_LINK_DETACH, &mut LinkDetach { fd: link.as_raw_fd() }) }.map(drop)
}
