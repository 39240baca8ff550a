//! Finds the eBPF object that `cargo xtask build` makes. Without it the crate still builds (for the
//! IDE, clippy and docs), and the agent says what is missing. And makes code of the agents'
//! protocol, for which it needs `protoc`.

use std::{env, fs, path::PathBuf};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let built = root.join("target/bpf/bpfel-unknown-none/release/sillon");
    println!("cargo:rerun-if-changed={}", built.display());
    println!("cargo:rerun-if-changed=proto/agent.proto");
    let object = if built.exists() {
        built
    } else {
        let empty = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("no-object");
        if let Err(error) = fs::write(&empty, []) {
            println!("cargo:warning={}: {error}", empty.display());
        }
        empty
    };
    println!("cargo:rustc-env=SILLON_EBPF_OBJECT={}", object.display());
    if let Err(error) =
        tonic_prost_build::configure().compile_protos(&["proto/agent.proto"], &["proto"])
    {
        println!("cargo:error=proto/agent.proto: {error}; `cargo xtask setup` installs protoc");
    }
}
