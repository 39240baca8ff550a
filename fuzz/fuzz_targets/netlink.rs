//! What the kernel says of links, neighbours and routes.
#![cfg_attr(fuzzing, no_main)]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sillon::fuzzing::netlink(bytes));

#[cfg(not(fuzzing))]
fn main() {}
