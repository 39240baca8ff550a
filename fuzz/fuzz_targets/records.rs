//! What a node's maps hold, whoever wrote it.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sillon::fuzzing::records(bytes));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    for file in std::env::args_os().skip(1) {
        sillon::fuzzing::records(&std::fs::read(file)?);
    }
    Ok(())
}
