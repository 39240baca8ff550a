//! What a node's maps hold, whoever wrote it.
#![cfg_attr(fuzzing, no_main)]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sillon::fuzzing::records(bytes));

#[cfg(not(fuzzing))]
fn main() {}
