//! Which programs stand on a hook of tcx, in their order, and what a program is, by its id. Aya
//! asks for the first by the interface's name, which may be another device's by then, and for the
//! second goes through all programs of the machine.

use std::{
    ffi::c_int,
    io,
    os::fd::{AsFd, FromRawFd, OwnedFd},
};

use super::{bpf, read_info};

const BPF_PROG_GET_FD_BY_ID: c_int = 13;
const BPF_PROG_QUERY: c_int = 16;
/// More than our programs use.
const MAPS: usize = 256;
/// No hook of tcx has more (`BPF_MPROG_MAX` in include/linux/bpf_mprog.h).
const MOST: usize = 64;

/// `union bpf_attr` as far as this command has it for hooks of devices.
#[repr(C)]
struct Query {
    ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    programs: u64,
    count: u32,
    pad: u32,
    program_flags: u64,
    links: u64,
    link_flags: u64,
    revision: u64,
}

/// `union bpf_attr` as far as `BPF_PROG_GET_FD_BY_ID` reads it.
#[repr(C)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
}

/// The beginning of `struct bpf_prog_info`.
#[repr(C)]
#[derive(Default)]
struct Info {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_len: u32,
    xlated_len: u32,
    jited: u64,
    xlated: u64,
    loaded_at: u64,
    created_by: u32,
    maps: u32,
    map_ids: u64,
    name: [u8; 16],
}

/// What the kernel says of a program.
pub struct Program {
    /// A hash of its instructions, as aya gives it.
    pub tag: u64,
    /// Its name, as far as the kernel keeps it.
    pub name: String,
    /// Ids of its maps.
    pub maps: Vec<u32>,
}

/// The program of this id; none where it is gone.
///
/// # Errors
/// The kernel refuses.
pub fn program(id: u32) -> io::Result<Option<Program>> {
    // SAFETY: `ById` is what this command reads.
    let fd = match unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut ById { id, next: 0, flags: 0 }) } {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        fd => c_int::try_from(fd?).map_err(io::Error::other)?,
    };
    // SAFETY: the kernel has just made this descriptor for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut ids = vec![0_u32; MAPS];
    let mut info = Info { maps: MAPS as u32, map_ids: ids.as_mut_ptr() as u64, ..Info::default() };
    // SAFETY: `Info` is the beginning of a program's, and there is room for as many ids as it says
    // until the call is over.
    unsafe { read_info(fd.as_fd(), &mut info) }?;
    ids.truncate(info.maps as usize);
    let end = info.name.iter().position(|byte| *byte == 0).unwrap_or(info.name.len());
    let name = String::from_utf8_lossy(&info.name[..end]).into_owned();
    Ok(Some(Program { tag: u64::from_be_bytes(info.tag), name, maps: ids }))
}

/// The ids of the programs on a hook of a device; none where the device is gone.
///
/// # Errors
/// The kernel refuses.
pub fn programs(ifindex: u32, attach_type: u32) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; MOST];
    let mut query = Query {
        ifindex,
        attach_type,
        query_flags: 0,
        attach_flags: 0,
        programs: ids.as_mut_ptr() as u64,
        count: MOST as u32,
        pad: 0,
        program_flags: 0,
        links: 0,
        link_flags: 0,
        revision: 0,
    };
    // SAFETY: `query` is what this command reads and writes, and there is room for as many ids as
    // it says until the call is over.
    match unsafe { bpf(BPF_PROG_QUERY, &mut query) } {
        Ok(_) => Ok(ids.into_iter().take(query.count as usize).collect()),
        // Nothing was ever there; or the device is gone.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}
