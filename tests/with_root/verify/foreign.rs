//! Programs and links of another hand, by bpf(2) itself: what they are made of here is what such a
//! hand has.

#![allow(unsafe_code, reason = "bpf(2)")]

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

const PROG_LOAD: i32 = 5;
const OBJ_GET: i32 = 7;
const LINK_CREATE: i32 = 28;
const LINK_UPDATE: i32 = 29;
const LINK_DETACH: i32 = 34;
/// In the flags of a link: before all others.
const BEFORE: u32 = 1 << 3;

/// Where a program may be.
#[derive(Clone, Copy)]
pub enum Hook {
    Xdp,
    TcxIngress,
    TcxEgress,
}

impl Hook {
    const fn program_type(self) -> u32 {
        match self {
            Self::Xdp => 6,
            Self::TcxIngress | Self::TcxEgress => 3,
        }
    }

    const fn attach_type(self) -> u32 {
        match self {
            Self::Xdp => 37,
            Self::TcxIngress => 46,
            Self::TcxEgress => 47,
        }
    }
}

fn bpf(command: i32, attr: &[u64]) -> io::Result<OwnedFd> {
    // SAFETY: the commands here read no more than `attr`, and what it points to lives until the
    // call is over.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_ptr(), size_of_val(attr)) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that the kernel has just made, where the command makes one; the others
    // are not asked for one.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(result).unwrap()) })
}

pub fn call(command: i32, attr: &[u64]) -> io::Result<()> {
    // SAFETY: as above.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_ptr(), size_of_val(attr)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

fn fd(of: &OwnedFd) -> u32 {
    u32::try_from(of.as_raw_fd() as RawFd).unwrap()
}

/// A program that lets everything pass to whoever comes next.
pub fn program(hook: Hook) -> OwnedFd {
    // r0 = XDP_PASS or TCX_NEXT; exit.
    let verdict: u32 = if matches!(hook, Hook::Xdp) { 2 } else { u32::MAX };
    let code = [pair(0xb7, verdict), pair(0x95, 0)];
    let license = c"GPL";
    let attr = [
        pair(hook.program_type(), 2),
        code.as_ptr() as u64,
        license.as_ptr() as u64,
        0, // log level and size
        0, // log
        0, // kernel version and flags
        0, // name
        0,
        pair(0, hook.attach_type()),
    ];
    bpf(PROG_LOAD, &attr).unwrap()
}

/// Puts a program before all others of a hook; it is there as long as the link.
pub fn attach(program: &OwnedFd, hook: Hook, ifindex: u32) -> OwnedFd {
    let flags = if matches!(hook, Hook::Xdp) { 0 } else { BEFORE };
    let attr = [pair(fd(program), ifindex), pair(hook.attach_type(), flags), 0, 0];
    bpf(LINK_CREATE, &attr).unwrap()
}

/// The link that is pinned somewhere.
pub fn pinned(path: &str) -> OwnedFd {
    let name = CString::new(Path::new(path).as_os_str().as_bytes()).unwrap();
    bpf(OBJ_GET, &[name.as_ptr() as u64, 0]).unwrap()
}

/// Puts another program in a link's place.
pub fn replace(link: &OwnedFd, program: &OwnedFd) {
    call(LINK_UPDATE, &[pair(fd(link), fd(program)), 0]).unwrap();
}

/// Takes a link off its hook; its pin stays.
pub fn detach(link: &OwnedFd) {
    call(LINK_DETACH, &[pair(fd(link), 0)]).unwrap();
}

/// The ifindex of an interface.
pub fn ifindex(name: &str) -> u32 {
    let name = CString::new(name).unwrap();
    // SAFETY: the name lives until the call is over.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => panic!("no {name:?}"),
        ifindex => ifindex,
    }
}
