//! The `sillon` binary.
fn main() {}
