//! A node's file.
#![cfg_attr(fuzzing, no_main)]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sillon::fuzzing::config(bytes));

#[cfg(not(fuzzing))]
fn main() {}
