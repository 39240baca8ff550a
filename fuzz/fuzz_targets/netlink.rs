//! What the kernel says of links, neighbours and routes.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sillon::fuzzing::netlink(bytes));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    for file in std::env::args_os().skip(1) {
        sillon::fuzzing::netlink(&std::fs::read(file)?);
    }
    Ok(())
}
