//! A ring of a packet socket (packet(7), PACKET_TX_RING): what is sent is not copied, but the
//! ring's own memory, which the sender goes on to write to while others read the frame.

use std::{
    ffi::CString,
    io,
    mem::{size_of, zeroed},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr::{self, NonNull},
};

const PACKET_VERSION: libc::c_int = 10;
const PACKET_TX_RING: libc::c_int = 13;
const TPACKET_V2: libc::c_int = 1;
const TP_STATUS_SEND_REQUEST: u32 = 1;
/// The ring is one page, of one frame.
const PAGE: usize = 4096;
/// Bytes of a `struct tpacket2_hdr`, behind which the frame stands.
const HEADER: usize = 32;

/// `struct tpacket_req`.
#[repr(C)]
struct Request {
    block_size: u32,
    blocks: u32,
    frame_size: u32,
    frames: u32,
}

/// A socket with a ring, on one interface.
#[derive(Debug)]
pub struct Ring {
    fd: OwnedFd,
    memory: NonNull<u8>,
}

// SAFETY: the memory is the ring's own, and is only written to by who has it.
unsafe impl Send for Ring {}

impl Ring {
    /// Opens one on an interface of the calling thread's namespace.
    ///
    /// # Errors
    /// There is no such interface, or we are not root.
    pub fn open(interface: &str) -> io::Result<Self> {
        let name = CString::new(interface)?;
        // SAFETY: `name` is a C string that outlives the call.
        let ifindex = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if ifindex == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: plain system call.
        let fd = checked(unsafe {
            libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0)
        })?;
        // SAFETY: the descriptor is new, and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        set(&fd, PACKET_VERSION, &TPACKET_V2)?;
        let page = PAGE as u32;
        set(
            &fd,
            PACKET_TX_RING,
            &Request { block_size: page, blocks: 1, frame_size: page, frames: 1 },
        )?;
        // SAFETY: zero is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = ifindex as i32;
        let length = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: `address` is as long as we say.
        checked(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) })?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, wherever the kernel likes.
        let memory = unsafe {
            libc::mmap(ptr::null_mut(), PAGE, access, libc::MAP_SHARED, fd.as_raw_fd(), 0)
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { fd, memory })
    }

    /// Sends a frame that stays in the ring; once this returns, it is on its way.
    ///
    /// # Errors
    /// The frame is too long, or the interface is down.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.write(0, frame)?;
        let header = self.memory.cast::<u32>();
        // SAFETY: the first two words of the page are the frame's status and length.
        unsafe {
            header.add(1).write_volatile(frame.len() as u32);
            header.write_volatile(TP_STATUS_SEND_REQUEST);
        }
        // SAFETY: no bytes are read.
        let sent = unsafe { libc::send(self.fd.as_raw_fd(), ptr::null(), 0, 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Writes over the frame that is in the ring, wherever that is by now.
    ///
    /// # Errors
    /// There is no room there.
    pub fn write(&self, at: usize, bytes: &[u8]) -> io::Result<()> {
        if HEADER + at + bytes.len() > PAGE {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (offset, byte) in bytes.iter().enumerate() {
            // SAFETY: the bounds were just compared.
            unsafe { self.memory.add(HEADER + at + offset).write_volatile(*byte) };
        }
        Ok(())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody has a pointer into it any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), PAGE) };
    }
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn set<T>(fd: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as u32;
    let value = ptr::from_ref(value).cast();
    // SAFETY: `value` is as long as we say.
    checked(unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_PACKET, option, value, length) })
        .map(drop)
}
