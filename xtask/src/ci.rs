//! What must pass before a change lands.

use crate::{
    build, fuzz,
    run::{cargo, cargo_of, root, run, say},
    setup::{self, NIGHTLY},
    test::Test,
};

/// Format, lints, tests, the bounded fuzz run, docs.
pub fn ci() -> anyhow::Result<()> {
    setup::setup()?;
    say("format");
    run(cargo().args(["fmt", "--all", "--check"]))?;
    for folder in build::EBPF {
        run(cargo_of(NIGHTLY).current_dir(root().join(folder)).args(["fmt", "--check"]))?;
    }
    say("lints");
    build::object()?;
    for folder in build::EBPF {
        run(build::ebpf(folder, "clippy").args(["--", "-D", "warnings"]))?;
    }
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    say("tests");
    Test::default().run()?;
    fuzz::Fuzz::default().run()?;
    say("docs");
    run(cargo()
        .args(["doc", "--quiet", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings"))
}
