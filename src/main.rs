//! The `sillon` binary.
#![forbid(unsafe_code)]

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: sillon::Allocator = sillon::Allocator;

fn main() -> ExitCode {
    sillon::cli::main()
}
