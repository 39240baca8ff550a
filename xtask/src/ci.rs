//! What must pass before a change lands.

use crate::{
    build,
    run::{cargo, cargo_of, root, run, say},
    setup::{self, NIGHTLY},
    test::Test,
};

/// Format, lints, tests, docs.
pub fn ci() -> anyhow::Result<()> {
    setup::setup()?;
    say("format");
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo_of(NIGHTLY).current_dir(root().join("ebpf")).args(["fmt", "--check"]))?;
    say("lints");
    build::object()?;
    run(build::ebpf("clippy").args(["--", "-D", "warnings"]))?;
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    say("tests");
    Test::default().run()?;
    say("docs");
    run(cargo().args(["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}
