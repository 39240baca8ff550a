//! A node's file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sillon::fuzzing::config(bytes));
