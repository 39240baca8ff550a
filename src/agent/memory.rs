//! What a large file took to read is kept for the next one: half of the time that it takes to read 100 000 attachments is the kernel's, for
//! pages that glibc gave back to it after the last time and asks for again.
#![allow(unsafe_code)]

/// Blocks above this are given back at once, bytes: more than any table of ours has.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 1 << 30;

/// Keeps freed memory for as long as the agent runs. It never holds more than its largest file took.
pub fn keep() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes no pointers. Where glibc refuses, it goes on as before.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
    }
}
