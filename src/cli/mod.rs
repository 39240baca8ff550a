//! The command line. `args` defines it; each command is in the file of its name.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or wrong input (also clap's own), 3 there is a
//! difference, 4 refused for lack of rights.
#![forbid(unsafe_code)]

pub mod agent;
pub mod args;
pub mod audit;
pub mod check;
pub mod controller;
pub mod fabric;
mod guards;
pub mod help;
pub mod node;
mod output;
pub mod pki;
pub mod store;
mod tables;
pub mod verify;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use self::args::{AgentCommand, Cli, Command, NodeCommand};
pub use self::output::{Output, exit};

/// Runs the `sillon` binary.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.color);
    log_to_stderr(cli.verbose, output);
    let done = run(&cli.command, output);
    done.unwrap_or_else(|error| {
        output.complain(&format!("error: {}\n", crate::causes::said(error.as_ref())));
        fabric::exit_code(&error)
    })
}

fn run(command: &Command, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Agent(agent) => match (&agent.command, &agent.run) {
            (Some(AgentCommand::Reload(reload)), _) => agent::reload(reload, output),
            (Some(AgentCommand::Thaw(thaw)), _) => agent::thaw(thaw, output),
            (None, Some(run)) => agent::run(run, output),
            // clap asks for `--config` or `--controller` where there is no subcommand.
            (None, None) => {
                Err(anyhow::anyhow!("sillon agent needs --config FILE or --controller URL"))
            }
        },
        Command::Controller(args) => controller::run(args, output),
        Command::Check(check) => check::check(check, output),
        Command::Verify(args) => verify::verify(args, output),
        Command::Store(args) => store::run(args, output),
        Command::Node(node) => match &node.command {
            NodeCommand::Show(show) => node::show(show, output),
            NodeCommand::Flush(flush) => node::flush(flush, output),
            NodeCommand::Forget(_) => fabric::run(command, output),
        },
        Command::Pki(args) => pki::pki(&args.command, output),
        Command::Audit(args) => audit::audit(&args.command, output),
        Command::Completion(args) => help::completion(args, output).map(|()| exit::DONE),
        Command::Man(args) => help::man(args).map(|()| exit::DONE),
        Command::Context(args) => fabric::context(args, output),
        _ => fabric::run(command, output),
    }
}

/// Sets up logging: `-v` is debug, `-vv` is trace, and `RUST_LOG` overrides both.
fn log_to_stderr(verbose: u8, output: Output) {
    let level = match verbose {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    // Fails only if a subscriber is set already, as in a test that calls this twice.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(output.is_fancy())
        .try_init();
}
