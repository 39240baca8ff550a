//! Links by their pins: where one is, and taking its program off at once. A link whose last pin is
//! removed goes too, but some time later, when a kernel worker gets to it (`bpf_link_put` in
//! kernel/bpf/syscall.c); until then its program would still run. aya has no call for this.
#![allow(unsafe_code)]

use std::{
    ffi::{CString, c_int},
    io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use super::bpf_syscall;

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

/// `struct bpf_link_info` as far as links of XDP and TCX have it.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    pad: u32,
    ifindex: u32,
    attach_type: u32,
}

/// Where a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// On which device; 0 if it was detached.
    pub ifindex: u32,
    /// The kernel's id of its program.
    pub program: u32,
    /// What kind of link it is, `enum bpf_link_type`.
    pub kind: u32,
    /// For one of tcx, on which side: `enum bpf_attach_type`.
    pub side: u32,
}

impl Attached {
    /// In `kind`: of XDP.
    pub const XDP: u32 = 6;
    /// In `kind`: of tcx.
    pub const TCX: u32 = 11;
    /// In `side`: what comes in.
    pub const INGRESS: u32 = 46;
    /// In `side`: what goes out.
    pub const EGRESS: u32 = 47;
}

/// Where the link is that is pinned at `path`; none if there is none.
///
/// # Errors
/// The kernel refuses.
pub fn attached_at(path: &Path) -> io::Result<Option<Attached>> {
    let Some(link) = open(path)? else { return Ok(None) };
    let mut info = LinkInfo::default();
    // SAFETY: `LinkInfo` is the beginning of a link's, and points to nothing.
    unsafe { bpf_syscall::read_info(link.as_fd(), &mut info) }?;
    let LinkInfo { ifindex, program, kind, attach_type: side, .. } = info;
    Ok(Some(Attached {
        ifindex,
        program,
        kind,
        side: if kind == Attached::TCX { side } else { 0 },
    }))
}

/// Detaches the link that is pinned at `path`; the pin stays. Nothing to do where there is none.
///
/// # Errors
/// The kernel refuses.
pub fn detach_pinned(path: &Path) -> io::Result<()> {
    let Some(link) = open(path)? else { return Ok(()) };
    // SAFETY: `LinkDetach` is what this command reads.
    unsafe { bpf_syscall::bpf(BPF_LINK_DETACH, &mut LinkDetach { fd: link.as_raw_fd() }) }.map(drop)
}

fn open(path: &Path) -> io::Result<Option<OwnedFd>> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut get = ObjGet { path: name.as_ptr() as u64, fd: 0, flags: 0 };
    // SAFETY: `get` is what this command reads, and the name in it lives until the call is over.
    let fd = match unsafe { bpf_syscall::bpf(BPF_OBJ_GET, &mut get) } {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => c_int::try_from(result?).map_err(io::Error::other)?,
    };
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}
