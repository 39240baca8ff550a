//! The node's epoch, which programs read while the agent counts it up. It stands in one value with
//! the epochs that the programs count up themselves, so it is not written as map values are, all at
//! once, but where it is: the map's memory, mapped into ours.

use std::{
    io,
    num::NonZeroUsize,
    os::fd::AsFd,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use sillon_abi::Epochs;

/// [`Epochs::node`] of a map that was made with `BPF_F_MMAPABLE`.
pub struct NodeEpoch(NonNull<AtomicU64>);

/// The kernel maps whole pages, and rounds up.
const LEN: NonZeroUsize = NonZeroUsize::new(size_of::<u64>()).unwrap();

impl NodeEpoch {
    /// Of this map.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn of(map: impl AsFd) -> io::Result<Self> {
        const { assert!(core::mem::offset_of!(Epochs, node) == 0) };
        // SAFETY: wherever the kernel finds room, and of what it maps there nothing is used but the
        // first word.
        let at = unsafe {
            mmap(
                None,
                LEN,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                map,
                0,
            )?
        };
        Ok(Self(at.cast()))
    }

    /// Voids all decisions that programs made until now.
    pub fn count_up(&self) {
        // SAFETY: an aligned word of the mapping, which is there as long as we are; whoever else
        // writes it does so atomically. After all that was written to maps before, and
        // before all that is written after: both are system calls.
        unsafe { self.0.as_ref() }.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for NodeEpoch {
    fn drop(&mut self) {
        // SAFETY: our own mapping, of which no reference is left.
        let unmapped = unsafe { munmap(self.0.cast(), LEN.get()) };
        debug_assert!(unmapped.is_ok(), "a mapping of ours can be unmapped");
    }
}

// SAFETY: an atomic word, of all threads alike.
unsafe impl Send for NodeEpoch {}
// SAFETY: as above.
unsafe impl Sync for NodeEpoch {}
