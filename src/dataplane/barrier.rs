//! Waiting for programs that are running now.
#![allow(unsafe_code)]

use std::io;

use super::DataplaneError;

/// Returns when every XDP and TC program that ran at the time of the call has ended. They run in
/// RCU read-side sections, and `MEMBARRIER_CMD_GLOBAL` is a system call that waits for a grace
/// period (kernel/sched/membarrier.c).
///
/// # Errors
/// The kernel has no `membarrier`, or some CPU runs without ticks (`nohz_full`), for which it is
/// not offered.
pub fn wait_for_programs() -> Result<(), DataplaneError> {
    // SAFETY: takes no pointers.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result == 0 {
        return Ok(());
    }
    Err(DataplaneError::Io { path: "membarrier".into(), source: io::Error::last_os_error() })
}
