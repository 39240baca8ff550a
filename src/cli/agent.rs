//! `sillon agent`: run a node, and tell a running one to read its file again.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;

use super::{
    Output,
    args::{ReloadArgs, RunArgs, ThawArgs, XdpMode},
    exit,
};
use crate::{
    agent::{
        self, AgentError, Options, Source,
        control::{Answer, Request, RunFiles},
        remote,
    },
    dataplane::links::Mode,
    model,
    pki::TlsFiles,
};

/// Runs the agent until it is told to stop.
pub fn run(args: &RunArgs, output: Output) -> anyhow::Result<ExitCode> {
    let options = Options {
        source: source(args)?,
        bpffs: args.bpffs.clone(),
        run_dir: args.run_dir.clone(),
        mode: match args.xdp_mode {
            XdpMode::Native => Mode::Native,
            XdpMode::Generic => Mode::Generic,
        },
    };
    match runtime()?.block_on(agent::run(options)) {
        Ok(()) => Ok(exit::DONE),
        Err(AgentError::BadInput(errors)) => {
            output.complain(&errors.render(output.style()));
            Ok(exit::wrong_input())
        }
        Err(error) if error.is_wrong_input() => {
            output.complain(&format!("error: {error}\n"));
            Ok(exit::wrong_input())
        }
        Err(error) => Err(error.into()),
    }
}

fn source(args: &RunArgs) -> anyhow::Result<Source> {
    if let Some(config) = &args.config {
        return Ok(Source::File(config.clone()));
    }
    // clap asks for all of them.
    let (Some(node), Some(certificate), Some(key)) = (&args.node, &args.cert, &args.key) else {
        anyhow::bail!("with --controller, give --node, --cert, --key and --ca");
    };
    Ok(Source::Controller(remote::Options {
        urls: args.controller.clone(),
        node: node.clone(),
        state_dir: args.state_dir.clone(),
        grace: jiff::SignedDuration::from_secs(args.revoked_grace.into()),
        files: TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
            roots: args.ca.clone(),
            revocations: args.crl.clone(),
        },
    }))
}

/// Makes a running agent read its file again.
pub fn reload(args: &ReloadArgs, output: Output) -> anyhow::Result<ExitCode> {
    let (node, path) = match (&args.node, &args.config) {
        (Some(node), _) => (node.to_string(), None),
        (None, Some(path)) => match model::load(path) {
            Ok((config, _)) => (config.node.name.to_string(), Some(absolute(path)?)),
            Err(errors) => {
                output.complain(&errors.render(output.style()));
                return Ok(exit::wrong_input());
            }
        },
        // clap asks for one of them.
        (None, None) => anyhow::bail!("name the node with --node or --config"),
    };
    match RunFiles::new(&args.run_dir, node).ask(&Request::Reload(path))? {
        Answer::Done { changes, notes } => {
            notes.iter().for_each(|note| output.complain(&format!("{note}\n")));
            let steps = if changes == 1 { "step" } else { "steps" };
            output.say(&format!("reloaded: {changes} {steps}\n"))?;
            Ok(exit::DONE)
        }
        Answer::BadInput(error) => {
            output.complain(&format!("error: not reloaded: {error}\n"));
            Ok(exit::wrong_input())
        }
        Answer::Failed(error) => anyhow::bail!("not reloaded: {error}"),
        Answer::Partly { changes, notes, left_out } => {
            notes.iter().for_each(|note| output.complain(&format!("{note}\n")));
            left_out.iter().for_each(|left_out| output.complain(&format!("warning: {left_out}\n")));
            anyhow::bail!(
                "reloaded ({changes} steps), but for what is left out, which is tried again"
            )
        }
    }
}

/// Makes a running agent forget where frozen addresses are.
pub fn thaw(args: &ThawArgs, output: Output) -> anyhow::Result<ExitCode> {
    let request = Request::Thaw {
        segment: args.segment.to_string(),
        mac: args.mac.map(|mac| mac.to_string()),
    };
    match RunFiles::new(&args.run_dir, args.node.as_str()).ask(&request)? {
        Answer::Done { changes, .. } | Answer::Partly { changes, .. } => {
            let addresses = if changes == 1 { "address" } else { "addresses" };
            output.say(&format!("thawed: {changes} {addresses}\n"))?;
            Ok(exit::DONE)
        }
        Answer::BadInput(error) => {
            output.complain(&format!("error: {error}\n"));
            Ok(exit::wrong_input())
        }
        Answer::Failed(error) => anyhow::bail!("not thawed: {error}"),
    }
}

/// The agent may have another working directory than we.
fn absolute(path: &std::path::Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| path.display().to_string())
}

/// One thread: an agent waits more than it works.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")
}
