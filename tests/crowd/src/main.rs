//! A controller with a crowd of agents. `cargo xtask bench controller` runs this, and reads what it
//! prints: one JSON value.
#![forbid(unsafe_code)]

mod agents;
mod fabric;
mod fair;
mod follow;
mod site;
mod transactions;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

// What is measured in this process is measured as in `sillon`.
#[global_allocator]
static ALLOCATOR: sillon::Allocator = sillon::Allocator;

/// Measures a controller with many agents and attachments; prints JSON
#[derive(Debug, Parser)]
#[command(name = "sillon-crowd")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Transactions a second, in the process and with the embedded store
    Transactions(transactions::Options),
    /// One who changes little, beside another who changes much
    Fair(fair::Options),
    /// A controller as a process, and agents that follow it
    Follow(follow::Options),
}

fn main() -> ExitCode {
    let done = match &Cli::parse().what {
        What::Transactions(options) => transactions::run(options),
        What::Fair(options) => fair::run(options),
        What::Follow(options) => follow::run(options),
    };
    match done {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
