//! What is said over an agent's socket, in either direction.
#![cfg_attr(fuzzing, no_main)]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sillon::fuzzing::request(bytes));

#[cfg(not(fuzzing))]
fn main() {}
