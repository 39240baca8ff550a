//! What a large file took to read is kept for the next one: half of the time that it takes to read
//! 100 000 attachments is the kernel's, for pages that were given back to it after the last time
//! and are asked for again.
#![allow(unsafe_code)]

use libmimalloc_sys::mi_option_set;

/// `mi_option_purge_delay` of mimalloc 3, which its bindings have no name for: after how many
/// milliseconds freed memory is given back.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
const NEVER: libc::c_long = -1;

/// Keeps freed memory for as long as the agent runs. It never holds more than its largest file
/// took.
pub fn keep() {
    // SAFETY: takes no pointers; a number that is no option's is ignored. It is one write of a word
    // that the allocator reads when it frees.
    unsafe { mi_option_set(PURGE_DELAY, NEVER) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_that_of_the_option_which_is_a_second_by_default() {
        // SAFETY: takes no pointers.
        let is = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(is(), 1000, "mimalloc numbers its options anew: look into its mimalloc.h");
        keep();
        assert_eq!(is(), NEVER);
    }
}
