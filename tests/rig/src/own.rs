//! Programs of a container's own, on its end of the wire: whoever rents a container may have
//! CAP_BPF and CAP_NET_ADMIN in it, and changes its frames after its kernel has looked at them.
//! They are put together of single instructions, so that a test needs no object.

use std::{
    ffi::CString,
    io,
    mem::{size_of, size_of_val, zeroed},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use crate::Tag;

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

/// `BPF_ALU64 | BPF_MOV | BPF_K`: `to = value`.
const fn put(to: u8, value: i32) -> Instruction {
    Instruction { code: 0xb7, registers: to, offset: 0, immediate: value }
}

/// `BPF_ALU64 | BPF_ADD | BPF_K`: `to += value`.
const fn add(to: u8, value: i32) -> Instruction {
    Instruction { code: 0x07, registers: to, offset: 0, immediate: value }
}

/// `BPF_LDX | BPF_MEM | BPF_W`: `to = *(u32 *)(from + offset)`.
const fn read(to: u8, from: u8, offset: i16) -> Instruction {
    Instruction { code: 0x61, registers: to | from << 4, offset, immediate: 0 }
}

/// `BPF_ST | BPF_MEM | BPF_W`: `*(u32 *)(at + offset) = value`.
const fn write(at: u8, offset: i16, value: u32) -> Instruction {
    Instruction { code: 0x62, registers: at, offset, immediate: value as i32 }
}

/// `BPF_JMP | BPF_JGT | BPF_X`: over so many instructions where `left > right`.
const fn skip_if_above(left: u8, right: u8, over: usize) -> Instruction {
    Instruction { code: 0x2d, registers: left | right << 4, offset: over as i16, immediate: 0 }
}

const EXIT: Instruction = Instruction { code: 0x95, registers: 0, offset: 0, immediate: 0 };

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
const BPF_XDP: u32 = 37;
/// `XDP_FLAGS_DRV_MODE`.
const IN_THE_DRIVER: u32 = 1 << 2;
const BPF_FUNC_REDIRECT: i32 = 23;
const BPF_FUNC_XDP_ADJUST_META: i32 = 54;
const XDP_DROP: i32 = 1;
const XDP_PASS: i32 = 2;
const BPF_FUNC_SKB_STORE_BYTES: i32 = 9;
const BPF_FUNC_SKB_CHANGE_HEAD: i32 = 43;
const BPF_FUNC_REDIRECT_PEER: i32 = 155;
const BPF_FUNC_SKB_VLAN_PUSH: i32 = 18;
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
    _links: Vec<OwnedFd>,
}

/// How frames with metadata go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onward {
    /// Redirected by XDP: as they are, to whoever has XDP at the other end.
    AtXdp,
    /// Redirected by TC, as the kernel's skbs.
    AtTc,
}

impl Own {
    /// Takes the `count` outermost tags off whatever leaves by an interface of the calling thread's
    /// namespace.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn popping(interface: &str, count: usize) -> io::Result<Self> {
        let pop = (0..count).flat_map(|_| [copy(1, 6), call(BPF_FUNC_SKB_VLAN_POP)]);
        let program: Vec<_> =
            [copy(6, 1)].into_iter().chain(pop).chain([returns(TCX_PASS), EXIT]).collect();
        let program = load(BPF_PROG_TYPE_SCHED_CLS, &program)?;
        Ok(Self { _links: vec![attach(&program, interface, (BPF_TCX_EGRESS, 0))?] })
    }

    /// Gives whatever leaves by an interface of the calling thread's namespace one more tag. The
    /// kernel keeps it beside the data, as a VLAN device's.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn pushing(interface: &str, tag: Tag) -> io::Result<Self> {
        let (tpid, tci) = (i32::from(tag.tpid.to_be()), i32::from(tag.vid));
        let push = [put(2, tpid), put(3, tci), call(BPF_FUNC_SKB_VLAN_PUSH)];
        let program: Vec<_> = push.into_iter().chain([returns(TCX_PASS), EXIT]).collect();
        let program = load(BPF_PROG_TYPE_SCHED_CLS, &program)?;
        Ok(Self { _links: vec![attach(&program, interface, (BPF_TCX_EGRESS, 0))?] })
    }

    /// Makes whatever comes in at one interface of the calling thread's namespace `longer` by so
    /// many bytes in front, writes over its beginning, and gives it to whoever is at the other end
    /// of another interface, past that one: the kernel does not look there what the frame is.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn past_its_device(from: &str, to: &str, front: &[u32], longer: i32) -> io::Result<Self> {
        let bytes = size_of_val(front) as i16;
        let grow = [copy(6, 1), put(2, longer), put(3, 0), call(BPF_FUNC_SKB_CHANGE_HEAD)];
        let words = (0..).zip(front).map(|(at, word)| write(10, 4 * at - bytes, *word));
        let stores = [
            copy(1, 6),
            put(2, 0),
            copy(3, 10),
            add(3, (-bytes).into()),
            put(4, bytes.into()),
            put(5, 0),
            call(BPF_FUNC_SKB_STORE_BYTES),
        ];
        let leaves = [put(1, number(to)? as i32), put(2, 0), call(BPF_FUNC_REDIRECT_PEER), EXIT];
        let program: Vec<_> = grow.into_iter().chain(words).chain(stores).chain(leaves).collect();
        let program = load(BPF_PROG_TYPE_SCHED_CLS, &program)?;
        Ok(Self { _links: vec![attach(&program, from, (BPF_TCX_INGRESS, 0))?] })
    }

    /// Puts metadata in front of whatever comes in at one interface of the calling thread's
    /// namespace, and sends it out of another one. Frames with more than the kernel lets
    /// anybody have are dropped.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn with_handoff(from: &str, to: &str, handoff: &[u32], onward: Onward) -> io::Result<Self> {
        let bytes = size_of_val(handoff) as i32;
        let leaves = [put(1, number(to)? as i32), put(2, 0), call(BPF_FUNC_REDIRECT), EXIT];
        let goes_on = match onward {
            Onward::AtXdp => leaves.to_vec(),
            Onward::AtTc => vec![returns(XDP_PASS), EXIT],
        };
        let words = (0..).zip(handoff).map(|(at, word)| write(2, 4 * at, *word));
        let over = handoff.len() + goes_on.len();
        // The context has the data's place first, and the metadata's third.
        let looks =
            [read(2, 6, 8), read(3, 6, 0), copy(4, 2), add(4, bytes), skip_if_above(4, 3, over)];
        let program: Vec<_> = [copy(6, 1), put(2, -bytes), call(BPF_FUNC_XDP_ADJUST_META)]
            .into_iter()
            .chain(looks)
            .chain(words)
            .chain(goes_on)
            .chain([returns(XDP_DROP), EXIT])
            .collect();
        let mut links =
            vec![attach(&load(BPF_PROG_TYPE_XDP, &program)?, from, (BPF_XDP, IN_THE_DRIVER))?];
        if onward == Onward::AtTc {
            let program = load(BPF_PROG_TYPE_SCHED_CLS, &leaves)?;
            links.push(attach(&program, from, (BPF_TCX_INGRESS, 0))?);
        }
        Ok(Self { _links: links })
    }
}

/// `bpf(2)`, which answers with a descriptor.
fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads as many bytes of `attributes` as there are.
    let fd =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn load(kind: u32, program: &[Instruction]) -> io::Result<OwnedFd> {
    let license = c"GPL";
    // SAFETY: zero is valid.
    let mut attributes: Load = unsafe { zeroed() };
    attributes.kind = kind;
    attributes.count = program.len() as u32;
    attributes.instructions = program.as_ptr() as u64;
    attributes.license = license.as_ptr() as u64;
    bpf(BPF_PROG_LOAD, &attributes)
}

/// Another test's thread may start a process just now, which has our descriptors until it is
/// another program: so long, a link that was dropped is still there.
fn attach(program: &OwnedFd, interface: &str, (hook, flags): (u32, u32)) -> io::Result<OwnedFd> {
    const AT_MOST: Duration = Duration::from_secs(5);
    let program = program.as_raw_fd() as u32;
    let wanted = Attach { program, ifindex: number(interface)?, hook, flags, rest: [0; 4] };
    let end = Instant::now() + AT_MOST;
    loop {
        match bpf(BPF_LINK_CREATE, &wanted) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < end => {
                thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}

/// The ifindex of an interface.
fn number(interface: &str) -> io::Result<u32> {
    let name = CString::new(interface)?;
    // SAFETY: `name` is a C string that outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        ifindex => Ok(ifindex),
    }
}
