//! What can go wrong between us and the kernel, with what to do about it.

use std::{io, path::PathBuf};

use aya::{EbpfError, maps::MapError, programs::ProgramError};

use super::links::LinkFailure;
use crate::causes::said;

/// A failure of the dataplane's userspace half.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataplaneError {
    /// The build had no eBPF object.
    #[error("this binary was built without its eBPF object; build it with `cargo xtask build`")]
    NoObject,
    /// The eBPF loader.
    #[error("the kernel did not take the eBPF object: {}{}", said(.0), hint(.0))]
    Load(#[from] EbpfError),
    /// A program.
    #[error("eBPF program: {}{}", said(.0), hint(.0))]
    Program(#[from] ProgramError),
    /// A map.
    #[error("map {map}: {}{}", said(.source), hint(.source))]
    Map {
        /// Its name.
        map: &'static str,
        /// What the kernel said.
        source: MapError,
    },
    /// A map's memory.
    #[error("map {map} can't be had in this process's memory: {source}")]
    Shared {
        /// Its name.
        map: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A pinned map that this version would make otherwise.
    #[error(
        "{path} is not the map that this version makes ({source}); nothing was changed. Take the \
         node down with the binary \
         that made it, or with `sillon node flush`, and start it again",
        path = .path.display()
    )]
    OtherMap {
        /// Where it is pinned.
        path: PathBuf,
        /// What is different.
        source: MapError,
    },
    /// The running kernel's structs.
    #[error(transparent)]
    Btf(#[from] super::btf::BtfError),
    /// The kernel gives nothing random.
    #[error("the kernel gives no random numbers (getrandom)")]
    NoRandom,
    /// There is no bpffs.
    #[error("{} is not on a bpffs; mount one with `mount -t bpf bpf /sys/fs/bpf`, or name one \
             with --bpffs", .path.display())]
    NoBpffs {
        /// Where it should be.
        path: PathBuf,
    },
    /// Somebody has the lock.
    #[error(
        "{}: an agent of this node runs; stop it first, or give it a changed file with `sillon \
         agent reload`", .path.display()
    )]
    Busy {
        /// The node's directory.
        path: PathBuf,
    },
    /// Another version left its state.
    #[error(
        "{path} holds state of another version ({found}, this is {ours}); take it down with the \
         binary of that version, or \
         with `sillon node flush --bpffs {path}`",
        path = .path.display()
    )]
    OtherVersion {
        /// The node's directory.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What we would make.
        ours: String,
    },
    /// A program on an interface.
    #[error("interface {interface}: {}{}", said(.source), hint(.source))]
    Attach {
        /// The interface.
        interface: String,
        /// What the kernel said.
        source: LinkFailure,
    },
    /// A file or directory.
    #[error("{}: {source}{}", .path.display(), hint(.source))]
    Io {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The likely cause of an errno that stands anywhere in a chain of errors, as an addition to its
/// message.
fn hint(error: &(dyn std::error::Error + 'static)) -> String {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(errno) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return match errno {
                libc::EPERM | libc::EACCES => {
                    "\n  likely cause: missing capabilities; the agent needs CAP_BPF, CAP_PERFMON \
                     and CAP_NET_ADMIN \
                     (run it as root), or the verifier refused a program (see the log with -v)"
                }
                libc::E2BIG | libc::ENOSPC => {
                    "\n  likely cause: a limit under [node] is reached; \
                     raise it and flush the node"
                }
                libc::ENOMEM => "\n  likely cause: not enough memory for the limits under [node]",
                libc::EBUSY => {
                    "\n  likely cause: another XDP program holds the interface; see \
                     `ip link show`"
                }
                _ => return String::new(),
            }
            .to_owned();
        }
        next = error.source();
    }
    String::new()
}
