//! What must pass before a change lands.

use crate::{
    build, deny, fuzz,
    run::{cargo, cargo_of, root, run},
    setup,
    steps::Steps,
    test::Test,
};

/// Format, dependencies, lints, tests, the bounded fuzz run, docs.
pub fn ci() -> anyhow::Result<()> {
    let mut steps = Steps::default();
    steps.take("setup", setup::setup)?;
    steps.take("format", format)?;
    steps.take("dependencies", deny::check)?;
    steps.take("eBPF objects", objects)?;
    steps.take("eBPF lints", ebpf_lints)?;
    steps.take("lints", || {
        run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    })?;
    steps.take("build tests", || Test::default().build())?;
    steps.take("tests", || Test::default().run())?;
    let fuzz = fuzz::Fuzz::default();
    steps.take("fuzz properties", || fuzz.properties())?;
    steps.take("fuzz frames", || fuzz.programs())?;
    steps.take("docs", || {
        let mut docs = cargo();
        docs.args(["doc", "--quiet", "--workspace", "--no-deps"]);
        run(docs.env("RUSTDOCFLAGS", "-D warnings"))
    })
}

fn format() -> anyhow::Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    for folder in build::EBPF {
        let mut format = cargo_of(setup::nightly()?);
        run(format.current_dir(root().join(folder)).args(["fmt", "--check"]))?;
    }
    Ok(())
}

fn objects() -> anyhow::Result<()> {
    build::object()?;
    build::rig_object().map(drop)
}

fn ebpf_lints() -> anyhow::Result<()> {
    for folder in build::EBPF {
        run(build::ebpf(folder, "clippy")?.args(["--", "-D", "warnings"]))?;
    }
    Ok(())
}
