//! Maps and drop reasons, from `abi`.

use sillon_abi::{ABI_VERSION, DropReason, map};

use super::{bullet, page as whole, wrapped};

/// `` [`crate::Handoff`] `` of rustdoc is `` `Handoff` `` here.
fn without_links(help: &str) -> String {
    help.replace("[`crate::", "`").replace("`]", "`")
}

pub fn page() -> String {
    let about = format!(
        "Maps are pinned in `/sys/fs/bpf/sillon/NODE/v{ABI_VERSION}/maps` (or under `--bpffs`); \
         {ABI_VERSION} is the version of their layout. \
         [FDB and address sync](../explanation/fdb-and-address-sync.md) and the \
         [pipeline](../explanation/pipeline.md) say what they are for. The records are structs of \
         the crate `abi`."
    );
    let bullets: String = map::ALL
        .iter()
        .zip(map::HELP)
        .map(|(name, help)| bullet(&format!("`{name}`: {}", without_links(help))))
        .collect();
    whole("Maps", "`abi/src/lib.rs`", &format!("{}\n\n{bullets}", wrapped(&about, "")))
}

pub fn drop_reasons() -> String {
    let about = "Every dropped frame is counted once, with one of these names, for the attachment \
                 it came in at, or for its port or segment where there is none. `sillon node show \
                 drops` prints the counters. The numbers are those in the map `DROPS`.";
    let bullets: String = DropReason::ALL
        .iter()
        .map(|reason| {
            bullet(&format!("`{}` ({}): {}", reason.name(), *reason as u32, reason.help()))
        })
        .collect();
    whole("Drop reasons", "`abi/src/reason.rs`", &format!("{}\n\n{bullets}", wrapped(about, "")))
}
