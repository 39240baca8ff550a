//! A packet socket that sees frames as they were on the wire: the kernel takes the outer VLAN tag
//! off before it hands a frame to a packet socket, and says so beside it (packet(7),
//! PACKET_AUXDATA); here it is put back.

use std::{
    ffi::CString,
    io,
    mem::{size_of, zeroed},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::undone::{HEADER, Undone};

const ETH_P_ALL: u16 = libc::ETH_P_ALL as u16;
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
const PACKET_VNET_HDR: libc::c_int = 15;
/// Longest frame that is received: a super-packet, its headers, and what is in front of it.
const LONGEST: usize = 66 * 1024;
/// What the kernel has no words for in front of a frame: a super-packet of a kind that is not a
/// card's business. Its bytes are not told.
pub const UNSPEAKABLE: Undone =
    Undone { flags: 0, gso_type: u8::MAX, header: 0, gso_size: 0, start: 0, offset: 0 };
/// Bytes that may wait to be read: a burst must not be lost here, or a test would blame the
/// dataplane.
const RECEIVE_BUFFER: libc::c_int = 32 << 20;

/// A raw socket on one interface; it does not see what goes out there.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
    /// Whether each frame, in and out, has an [`Undone`] in front.
    is_headed: bool,
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

impl PacketSocket {
    /// Opens one on an interface of the calling thread's namespace.
    ///
    /// # Errors
    /// There is no such interface, or we are not root.
    pub fn open(interface: &str) -> io::Result<Self> {
        Self::open_as(interface, false)
    }

    /// The same for one that leaves work to the device, and takes what others left to theirs
    /// (PACKET_VNET_HDR).
    ///
    /// # Errors
    /// As above.
    pub fn open_headed(interface: &str) -> io::Result<Self> {
        Self::open_as(interface, true)
    }

    fn open_as(interface: &str, is_headed: bool) -> io::Result<Self> {
        let name = CString::new(interface)?;
        // SAFETY: `name` is a C string that outlives the call.
        let ifindex = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if ifindex == 0 {
            return Err(io::Error::last_os_error());
        }
        // Protocol 0 receives nothing: not a frame of another interface gets in before the bind.
        // SAFETY: plain system call.
        let fd = checked(unsafe {
            libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0)
        })?;
        // SAFETY: the descriptor is new, and nobody else's.
        let socket = Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, is_headed };
        socket.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER)?;
        socket.set(libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
        socket.set(libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)?;
        if is_headed {
            socket.set(libc::SOL_PACKET, PACKET_VNET_HDR, 1)?;
        }
        // SAFETY: zero is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = ETH_P_ALL.to_be();
        address.sll_ifindex = ifindex as libc::c_int;
        let len = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: `address` is a sockaddr_ll of `len` bytes.
        checked(unsafe { libc::bind(socket.fd.as_raw_fd(), (&raw const address).cast(), len) })?;
        Ok(socket)
    }

    fn set(&self, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
        let len = size_of::<libc::c_int>() as u32;
        // SAFETY: `value` is an int of `len` bytes.
        checked(unsafe {
            libc::setsockopt(self.fd.as_raw_fd(), level, option, (&raw const value).cast(), len)
        })?;
        Ok(())
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The interface is down, or the frame too long for it.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: `frame` is as long as it says.
        let sent =
            unsafe { libc::send(self.fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Sends a frame with this left to do, over a socket that says so.
    ///
    /// # Errors
    /// As above, or the kernel does not believe it.
    pub fn send_undone(&self, undone: Undone, frame: &[u8]) -> io::Result<()> {
        self.send(&[&undone.bytes()[..], frame].concat())
    }

    /// The next frame that has come, with what is left to do of it, tags in their place.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn try_receive_undone(&self) -> io::Result<Option<(Undone, Vec<u8>)>> {
        let Some((undone, frame, tag)) = self.receive_parts()? else { return Ok(None) };
        Ok(Some((undone.moved(if tag { 4 } else { 0 }), frame)))
    }

    /// The next frame that has come, if one has; on a socket that is told what is left to do, with
    /// that done if it is a checksum.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn try_receive(&self) -> io::Result<Option<Vec<u8>>> {
        let Some((undone, mut frame)) = self.try_receive_undone()? else { return Ok(None) };
        undone.finish(&mut frame);
        Ok(Some(frame))
    }

    /// A frame, what is left to do of it as the kernel says, and whether a tag was put back.
    fn receive_parts(&self) -> io::Result<Option<(Undone, Vec<u8>, bool)>> {
        let mut buffer = vec![0_u8; LONGEST];
        let mut control = [0_u64; 16];
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: zero is a valid msghdr.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: all that `message` points to lives, and is as long as it says.
        let received =
            unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
        if received < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock => Ok(None),
                // It has come all the same, and is gone.
                io::ErrorKind::InvalidInput if self.is_headed => {
                    Ok(Some((UNSPEAKABLE, Vec::new(), false)))
                }
                _ => Err(error),
            };
        }
        buffer.truncate(received as usize);
        let mut undone = Undone::default();
        if self.is_headed {
            undone = Undone::read(&buffer).ok_or(io::ErrorKind::InvalidData)?;
            buffer.drain(..HEADER);
        }
        let tag = stripped_tag(&message);
        if let Some(tag) = tag {
            buffer.splice(12..12, tag);
        }
        Ok(Some((undone, buffer, tag.is_some())))
    }

    /// Waits for a frame; none within `patience` is `None`.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn receive(&self, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        poll(&mut [PollFd::new(self.as_fd(), PollFlags::POLLIN)], timeout)?;
        self.try_receive()
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The tag that the kernel took off, as bytes.
fn stripped_tag(message: &libc::msghdr) -> Option<[u8; 4]> {
    // SAFETY: `message` was filled by recvmsg, and its control buffer lives.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message).as_ref() }?;
    while (header.cmsg_level, header.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
        // SAFETY: as above; `header` is one of its headers.
        header = unsafe { libc::CMSG_NXTHDR(message, header).as_ref() }?;
    }
    // SAFETY: the kernel put a tpacket_auxdata behind a header of this type; it need not be
    // aligned.
    let beside: libc::tpacket_auxdata =
        unsafe { libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned() };
    let is_set = |flag: u32| beside.tp_status & flag != 0;
    if !is_set(libc::TP_STATUS_VLAN_VALID) {
        return None;
    }
    let tpid = if is_set(libc::TP_STATUS_VLAN_TPID_VALID) { beside.tp_vlan_tpid } else { 0x8100 };
    let [[a, b], [c, d]] = [tpid.to_be_bytes(), beside.tp_vlan_tci.to_be_bytes()];
    Some([a, b, c, d])
}
