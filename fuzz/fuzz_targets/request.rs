//! What is said over an agent's socket, in either direction.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sillon::fuzzing::request(bytes));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    for file in std::env::args_os().skip(1) {
        sillon::fuzzing::request(&std::fs::read(file)?);
    }
    Ok(())
}
