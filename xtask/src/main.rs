//! What a developer of Sillon can do: `cargo xtask --help`.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod chaos;
mod ci;
mod demo;
mod deny;
mod docs;
mod fuzz;
mod package;
mod run;
mod setup;
mod steps;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Set up, build, show and test Sillon
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what cargo does not: the nightly toolchain, bpf-linker, Debian packages
    Setup(setup::Setup),
    /// Build the eBPF object and the `sillon` binary
    Build,
    /// Build, make a rig of two edges and three operators, and show who reaches whom
    Demo(demo::Demo),
    /// Build, and run all tests (needs root), or with `--unit` those that need nothing
    Test(test::Test),
    Bench(bench::Bench),
    /// Feed random input to the parser, `compile` and `diff`, and frames to the loaded programs
    /// (needs root)
    Fuzz(fuzz::Fuzz),
    /// Break controllers, agents, etcd and the wires between them at random, and look what is left
    /// (needs root)
    Chaos(chaos::Chaos),
    /// Build, and make the Debian package
    Package(package::Package),
    /// Check the documentation: links, named files, the generated reference; or build the book
    Docs(docs::Docs),
    /// Ask cargo-deny of what we depend on: licences, sources, double versions, known faults
    Deny,
    /// Everything that must pass before a change lands
    Ci,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask demo                 set up, build, show it working
  cargo xtask demo --hold          and keep the rig, to try things in it
  cargo xtask test                 set up, build, run all tests
  cargo xtask test --unit          those of the libraries: no root, nothing to set up
  cargo xtask test -- vlan         only the tests with `vlan` in their names
  cargo xtask bench                how fast it is, as ratios to references of the same run
  cargo xtask bench forward tcp    only two suites; --quick for fewer cases, --help for more
  cargo xtask setup --bench        install what is only compared with: Open vSwitch
  cargo xtask fuzz --time 3600     an hour of random frames; --seed N for those of an earlier run
  cargo xtask chaos --time 10m     ten minutes of parts that die, hang, are cut off and have a wrong time
  cargo xtask docs                 are links, names and the reference right?
  cargo xtask docs --write         write docs/reference/ anew
  cargo xtask package              the Debian package, in target/package
  cargo xtask ci                   format, lint, test, fuzz, docs";

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Setup(setup) => setup.run(),
        Task::Build => build::build().map(drop),
        Task::Demo(demo) => demo.run(),
        Task::Test(test) => test.run(),
        Task::Bench(bench) => bench.run(),
        Task::Fuzz(fuzz) => fuzz.run(),
        Task::Chaos(chaos) => chaos.run(),
        Task::Package(package) => package.run(),
        Task::Docs(docs) => docs.run(),
        Task::Deny => deny::deny(),
        Task::Ci => ci::ci(),
    };
    if let Err(error) = done {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
