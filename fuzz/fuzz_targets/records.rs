//! What a node's maps hold, whoever wrote it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sillon::fuzzing::records(bytes));
