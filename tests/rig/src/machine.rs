//! A virtual machine's network card, made of a tap as QEMU makes one: what the guest's kernel
//! leaves to its card, checksums and super-packets, comes to the host's kernel with a virtio-net
//! header that says so, and the other way round (Linux `Documentation/networking/tuntap.rst`).
//!
//! The guest is a kernel in a namespace whose interface is a tap, too. A thread carries frames from
//! one tap to the other with the headers as they are, which is what the machine would do.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::OpenOptionsExt,
    },
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{
    Netns,
    undone::{HEADER, Undone},
};

/// Of `linux/if_tun.h`: a tap, without a packet information header, and with a virtio-net header.
const TAP: libc::c_short = 0x0002 | 0x1000 | 0x4000;
/// And what whoever holds it can take: unfinished checksums, and TCP's super-packets over IPv4 and
/// IPv6.
const OFFLOADS: libc::c_int = 0x01 | 0x02 | 0x04;
/// A super-packet of 64 KiB and its headers.
const LONGEST: usize = 66 * 1024;
/// How soon a card that is taken out is out, milliseconds.
const LOOK: u8 = 50;

/// `struct ifreq` with flags.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

mod ioctl {
    nix::ioctl_write_ptr_bad!(set_interface, 0x4004_54ca, super::Request);
    nix::ioctl_write_int_bad!(set_offloads, 0x4004_54d0);
}

/// A tap that a virtual machine's driver holds: whatever it likes goes in front of its frames.
#[derive(Debug)]
pub struct Tap(File);

impl Tap {
    /// Makes a new port of a host that is one. Nothing is left to it that is sent there: the kernel
    /// has done all of it.
    ///
    /// # Errors
    /// The port is there already, or the kernel has no taps.
    pub fn plug(host: &Netns, port: &str, mtu: u16) -> anyhow::Result<Self> {
        let tap = host.enter(|| tap(port, 0).with_context(|| format!("the tap {port}")))?;
        host.ip(&format!("link set {port} mtu {mtu} up"))?;
        Ok(Self(tap))
    }

    /// Sends a frame with this left to do.
    ///
    /// # Errors
    /// The port is down, or the kernel does not believe it.
    pub fn send(&self, undone: Undone, frame: &[u8]) -> io::Result<()> {
        (&self.0).write(&[&undone.bytes()[..], frame].concat()).map(drop)
    }

    /// The next frame that has come, if one has.
    ///
    /// # Errors
    /// The port is down or gone.
    pub fn try_receive(&self) -> io::Result<Option<Vec<u8>>> {
        let mut frame = vec![0; LONGEST];
        match (&self.0).read(&mut frame) {
            Ok(length) => {
                frame.truncate(length);
                frame.drain(..HEADER.min(length));
                Ok(Some(frame))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A card between a guest and its host. It is taken out when this is dropped.
#[derive(Debug)]
pub struct Card {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Card {
    /// Puts one between two new taps: `port` of a host, and `interface` of a guest.
    ///
    /// # Errors
    /// One of them is there already, or the kernel has no taps.
    pub fn plug(
        (host, port): (&Netns, &str),
        (guest, interface): (&Netns, &str),
    ) -> anyhow::Result<Self> {
        let taps = [(host, port), (guest, interface)].map(|(netns, name)| {
            netns.enter(|| tap(name, OFFLOADS).with_context(|| format!("the tap {name}")))
        });
        let [host, guest] = taps;
        let (taps, ends) = ([host?, guest?], Arc::new(AtomicBool::new(false)));
        let seen = Arc::clone(&ends);
        let thread =
            thread::Builder::new().name("card".to_owned()).spawn(move || carry(&taps, &seen))?;
        Ok(Self { ends, thread: Some(thread) })
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // It has nothing to say, and does not panic.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A tap of the calling thread's namespace, whose holder takes these offloads.
fn tap(name: &str, offloads: libc::c_int) -> io::Result<File> {
    let tap = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    let mut request = Request { name: [0; libc::IFNAMSIZ], flags: TAP, rest: [0; 22] };
    let room = request.name.len() - 1;
    let place = request.name[..room].get_mut(..name.len()).ok_or(io::ErrorKind::InvalidInput)?;
    place.copy_from_slice(name.as_bytes());
    // SAFETY: `request` is as large as the kernel's, its name ends with a zero, and the kernel
    // keeps no pointer to it.
    unsafe { ioctl::set_interface(tap.as_raw_fd(), &raw const request) }?;
    // SAFETY: it takes a number.
    unsafe { ioctl::set_offloads(tap.as_raw_fd(), offloads) }?;
    Ok(tap)
}

/// Carries frames both ways. What an interface that is down does not take is lost, as at a card.
fn carry(taps: &[File; 2], ends: &AtomicBool) {
    let mut frame = vec![0; LONGEST];
    while !ends.load(Ordering::Relaxed) {
        let mut ready = taps.each_ref().map(|tap| PollFd::new(tap.as_fd(), PollFlags::POLLIN));
        let _ = poll(&mut ready, PollTimeout::from(LOOK));
        for (mut from, mut to) in [(&taps[0], &taps[1]), (&taps[1], &taps[0])] {
            while let Ok(length) = from.read(&mut frame) {
                let _ = to.write(&frame[..length]);
            }
        }
    }
}
