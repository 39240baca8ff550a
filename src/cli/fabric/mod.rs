//! The commands that ask a controller.
//!
//! `plan`, `manifest` and `show` are functions of values: they decide what to ask and to print.
//! `client` talks to the controller.

mod client;
mod commands;
mod context;
mod events;
mod manifest;
mod plan;
mod show;

use std::process::ExitCode;

use anyhow::Context as _;

pub use self::client::Client;
use self::{client::Refusal, manifest::WrongFile};
use super::{
    Output,
    args::{Command, Connect, ContextArgs, ContextCommand, LeaseCommand, NodeArgs, NodeCommand},
    exit,
};

/// Runs a command.
pub fn run(command: &Command, output: Output) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("starting the runtime")?.block_on(dispatch(command, output))
}

async fn dispatch(command: &Command, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Get(args) => commands::get(&client(&args.connect)?, args, output).await,
        Command::Describe(args) => commands::describe(&client(&args.connect)?, args, output).await,
        Command::Delete(args) => commands::delete(&client(&args.connect)?, args, output).await,
        Command::Apply(args) => commands::apply(|| client(&args.connect), args, output).await,
        Command::Diff(args) => commands::diff(|| client(&args.connect), args, output).await,
        Command::Confirm(args) => {
            commands::end(&client(&args.connect)?, args, "confirm", output).await
        }
        Command::Rollback(args) => {
            commands::end(&client(&args.connect)?, args, "rollback", output).await
        }
        Command::Attach(args) => commands::attach(&client(&args.connect)?, args, output).await,
        Command::Detach(args) => commands::detach(&client(&args.connect)?, args, output).await,
        Command::Events(args) => events::events(&client(&args.connect)?, args, output).await,
        Command::Whoami(args) => commands::whoami(&client(&args.connect)?, args, output).await,
        Command::Node(NodeArgs { command: NodeCommand::Forget(args) }) => {
            commands::forget(&client(&args.connect)?, &args.name, output).await
        }
        Command::Lease(args) => {
            let connect = match &args.command {
                LeaseCommand::Offer(args) => &args.connect,
                LeaseCommand::Accept(args) | LeaseCommand::Confirm(args) => &args.connect,
                LeaseCommand::Drain(args) => &args.connect,
                LeaseCommand::Transfer(args) => &args.connect,
            };
            commands::lease(&client(connect)?, &args.command, output).await
        }
        _ => anyhow::bail!("this command does not ask a controller"),
    }
}

/// Makes the client of the chosen context.
pub fn client(connect: &Connect) -> anyhow::Result<Client> {
    let path = context::path(connect.contexts.as_deref())?;
    let contexts = context::Contexts::load(&path)?;
    Client::new(contexts.chosen(connect.context.as_ref(), &path)?)
}

/// `sillon context`
pub fn context(args: &ContextArgs, output: Output) -> anyhow::Result<ExitCode> {
    let path = context::path(args.contexts.as_deref())?;
    let mut contexts = context::Contexts::load(&path)?;
    match &args.command {
        ContextCommand::List => {
            output.say(&contexts.table())?;
            return Ok(exit::DONE);
        }
        ContextCommand::Use { name } => contexts.choose(name)?,
        ContextCommand::Set(args) => contexts.set(args)?,
    }
    contexts.save(&path)?;
    Ok(exit::DONE)
}

/// Turns a failure into an exit code for scripts.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<Refusal>().map(|refusal| refusal.status) {
        Some(403) => exit::refused(),
        Some(400 | 413 | 415 | 422) => exit::wrong_input(),
        _ if error.is::<WrongFile>() => exit::wrong_input(),
        _ => exit::FAILED,
    }
}
