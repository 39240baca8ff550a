//! The `sillon` binary.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    sillon::cli::main()
}
