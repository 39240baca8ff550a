//! The `sillon` binary.
use sillon::dataplane::{object::Programs, sizes::Sizes};
fn main() {
    let r = Programs::load(std::path::Path::new("/tmp/bpffs/m"), &Sizes{attachments:4096,segments:4096,remotes:1024,fdb:65536});
    if let Err(e) = r { let s = format!("{e}\n{e:?}"); println!("{}", s.replace("\\n", "\n")); } else { println!("loaded"); }
}
