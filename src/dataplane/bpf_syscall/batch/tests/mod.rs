//! What was done of a batch, and what is done next.

#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

mod on_maps;

use std::cell::RefCell;

use super::*;

/// What is said to a call from each place: how many it did, and why it did no more.
fn told(
    count: usize,
    missing: Missing,
    answers: &[(usize, Option<i32>)],
) -> (Vec<usize>, Result<(), Option<i32>>) {
    let asked = RefCell::new(Vec::new());
    let mut answers = answers.iter();
    let result = go_on(count, missing, |from| {
        asked.borrow_mut().push(from);
        let (done, errno) = answers.next().copied().unwrap_or((count - from, None));
        (done, errno.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno))))
    });
    (asked.into_inner(), result.map_err(|error| error.raw_os_error()))
}

#[test]
fn what_the_kernel_did_in_part_is_gone_on_with_and_not_done_again() {
    let interrupted = [(3, Some(libc::EINTR)), (0, Some(libc::EAGAIN)), (2, Some(libc::EBUSY))];
    assert_eq!(told(10, Missing::IsRefused, &interrupted), (vec![0, 3, 3, 5], Ok(())));
}

#[test]
fn the_first_that_is_refused_ends_it() {
    assert_eq!(
        told(10, Missing::IsRefused, &[(4, Some(libc::E2BIG))]),
        (vec![0], Err(Some(libc::E2BIG)))
    );
    assert_eq!(
        told(10, Missing::IsRefused, &[(4, Some(libc::ENOENT))]),
        (vec![0], Err(Some(libc::ENOENT)))
    );
}

#[test]
fn only_what_is_missing_is_skipped_also_as_the_last() {
    let missing = [(4, Some(libc::ENOENT)), (0, Some(libc::ENOENT)), (3, Some(libc::ENOENT))];
    assert_eq!(told(10, Missing::IsSkipped, &missing), (vec![0, 5, 6], Ok(())));
}

#[test]
fn a_call_that_is_refused_before_it_begins_has_done_nothing() {
    // The count is the one that was asked for.
    assert_eq!(told(10, Missing::IsRefused, &[(10, Some(libc::EINTR))]), (vec![0, 0], Ok(())));
    assert_eq!(
        told(10, Missing::IsSkipped, &[(10, Some(libc::EPERM))]),
        (vec![0], Err(Some(libc::EPERM)))
    );
}

#[test]
fn a_kernel_that_asks_to_be_called_again_for_ever_is_not() {
    let always = vec![(0, Some(libc::EINTR)); 1000];
    let (asked, result) = told(10, Missing::IsRefused, &always);
    assert_eq!((asked.len(), result), (PATIENCE as usize + 1, Err(Some(libc::EINTR))));
    // Nor one that does less than it was asked to, and says nothing.
    assert_eq!(told(10, Missing::IsRefused, &[(9, None)]).1, Err(None));
}
