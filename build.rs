//! x
fn main() {
    println!("cargo:rustc-env=SILLON_EBPF_OBJECT=/work/main/ebpf/target/bpfel-unknown-none/release/sillon");
}
