//! Programs of a container's own, on its end of the wire: whoever rents a container may have CAP_BPF and CAP_NET_ADMIN in it, and changes its frames after its
//! kernel has looked at them. They are put together of single instructions, so that a test needs no object.

use std::{
    ffi::CString,
    io,
    mem::{size_of, zeroed},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// `BPF_ALU64 | BPF_MOV | BPF_X`: `to = from`.
const fn copy(to: u8, from: u8) -> Instruction {
    Instruction { code: 0xbf, registers: to | from << 4, offset: 0, immediate: 0 }
}

/// `BPF_JMP | BPF_CALL`: a helper.
const fn call(helper: i32) -> Instruction {
    Instruction { code: 0x85, registers: 0, offset: 0, immediate: helper }
}

/// `BPF_ALU64 | BPF_MOV | BPF_K`: what it returns.
const fn returns(value: i32) -> Instruction {
    Instruction { code: 0xb7, registers: 0, offset: 0, immediate: value }
}

const EXIT: Instruction = Instruction { code: 0x95, registers: 0, offset: 0, immediate: 0 };

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const BPF_TCX_EGRESS: u32 = 47;
const BPF_FUNC_SKB_VLAN_POP: i32 = 19;
const TCX_PASS: i32 = 0;

/// The beginning of `union bpf_attr` for BPF_PROG_LOAD.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    rest: [u64; 8],
}

/// The same for BPF_LINK_CREATE.
#[repr(C)]
struct Attach {
    program: u32,
    ifindex: u32,
    hook: u32,
    flags: u32,
    rest: [u64; 4],
}

/// A program of a container's own; it is gone when this is dropped.
#[derive(Debug)]
pub struct Own {
    _link: OwnedFd,
}

impl Own {
    /// Takes the `count` outermost tags off whatever leaves by an interface of the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn popping(interface: &str, count: usize) -> io::Result<Self> {
        let pop = (0..count).flat_map(|_| [copy(1, 6), call(BPF_FUNC_SKB_VLAN_POP)]);
        let program: Vec<_> = [copy(6, 1)].into_iter().chain(pop).chain([returns(TCX_PASS), EXIT]).collect();
        Ok(Self { _link: attach(&load(&program)?, interface)? })
    }
}

/// `bpf(2)`, which answers with a descriptor.
fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads as many bytes of `attributes` as there are.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let license = c"GPL";
    // SAFETY: zero is valid.
    let mut attributes: Load = unsafe { zeroed() };
    attributes.kind = BPF_PROG_TYPE_SCHED_CLS;
    attributes.count = program.len() as u32;
    attributes.instructions = program.as_ptr() as u64;
    attributes.license = license.as_ptr() as u64;
    bpf(BPF_PROG_LOAD, &attributes)
}

fn attach(program: &OwnedFd, interface: &str) -> io::Result<OwnedFd> {
    let name = CString::new(interface)?;
    // SAFETY: `name` is a C string that outlives the call.
    let ifindex = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if ifindex == 0 {
        return Err(io::Error::last_os_error());
    }
    let program = program.as_raw_fd() as u32;
    bpf(BPF_LINK_CREATE, &Attach { program, ifindex, hook: BPF_TCX_EGRESS, flags: 0, rest: [0; 4] })
}
