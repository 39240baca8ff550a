//! `sillon controller`: keep a fabric, and serve its nodes' agents.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context;
use futures::future::try_join_all;
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    stat::{Mode, umask},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info};

use super::{Output, args::ControllerArgs, exit};
use crate::{
    api::{self, Api, Limits, TlsGate, Tokens},
    audit::Signer,
    controller::{AuditConfig, Config, Controller, Settings},
    pki::{Tls, refuse_if_open_to_all},
    service, southbound,
    store::AnyStore,
};

/// Files that a controller has open at once, at most.
const FILES: u64 = 65_536;

/// Runs a controller until it is told to stop.
pub fn run(args: &ControllerArgs, output: Output) -> anyhow::Result<ExitCode> {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(errors) => {
            output.complain(&errors.render(output.style()));
            return Ok(exit::wrong_input());
        }
    };
    // What it makes is its user's alone, whoever starts it, and however.
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    room_for_connections();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("starting the runtime")?.block_on(serve(&config))?;
    Ok(exit::DONE)
}

/// A process begins with room for 1024 files: that is less than there are connections.
fn room_for_connections() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard.min(FILES), hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "there is room for few connections alone");
    }
}

fn signer(audit: &AuditConfig) -> anyhow::Result<Signer> {
    refuse_if_open_to_all(&audit.key)?;
    let file = || audit.key.display().to_string();
    let pem = std::fs::read_to_string(&audit.key).with_context(file)?;
    Signer::from_pem(&audit.name, &pem).with_context(file)
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    // First of all: a signal that comes before its handler would end the controller as a failure.
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let tls = Tls::load(config.tls())?;
    tokio::spawn(tls.follow(Tls::LOOK));
    let mut settings = Settings::default();
    if let Some(name) = &config.name {
        settings.name = name.to_string();
    }
    if let Some(audit) = &config.audit {
        settings.audit = Some(Arc::new(signer(audit)?));
    }
    let name = settings.name.clone();
    let listeners = try_join_all(config.agents.listen().iter().map(|address| async move {
        TcpListener::bind(address)
            .await
            .with_context(|| format!("listening at {address} for agents"))
    }));
    let listeners = listeners.await?;
    let addresses: Vec<String> = listeners
        .iter()
        .map(|one| one.local_addr().map(|at| at.to_string()))
        .collect::<Result<_, _>>()?;
    let store = AnyStore::open(config.store(), config.etcd_tls().as_ref()).await?;
    let controller = Controller::open(store, settings).await?;
    let stop = CancellationToken::new();
    let (api, api_at) = serve_api(config, &controller, &tls, &stop).await?;
    let mut serving =
        tokio::spawn(southbound::serve(controller.clone(), listeners, tls.clone(), stop.clone()));
    let api_at =
        if api_at.is_empty() { String::new() } else { format!(", API at {}", api_at.join(", ")) };
    service::ready(&format!("controller {name}, agents at {}{api_at}", addresses.join(", ")));
    let mut beat = service::beat();
    let done = loop {
        tokio::select! {
            _ = beat.tick() => service::alive(),
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            _ = hangup.recv() => match tls.reload() {
                Ok(()) => info!("certificates and revocation lists were read again"),
                Err(error) => error!(
                    %error,
                    "certificates or revocation lists are not right; all goes on with the old ones"
                ),
            },
            ended = &mut serving => {
                break ended.context("serving agents")?.map_err(anyhow::Error::from);
            }
        }
    };
    service::stopping();
    stop.cancel();
    if !serving.is_finished() {
        serving.await.context("serving agents")??;
    }
    api.wait().await;
    controller.close().await;
    info!("stopped; the nodes go on as they are");
    done
}

/// Begins to serve the API, where the file says so; gives its tasks and its addresses.
async fn serve_api(
    config: &Config,
    controller: &Controller<AnyStore>,
    tls: &Tls,
    stop: &CancellationToken,
) -> anyhow::Result<(TaskTracker, Vec<String>)> {
    let (tasks, mut addresses) = (TaskTracker::new(), Vec::new());
    tasks.close();
    let Some(api) = &config.api else { return Ok((tasks, addresses)) };
    let tokens = match &api.secret {
        None => Tokens::random()?,
        Some(path) => {
            refuse_if_open_to_all(path)?;
            let bytes =
                std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
            let secret = bytes.try_into().map_err(|bytes: Vec<u8>| {
                anyhow::anyhow!(
                    "{} has {} bytes and should have 32 random ones",
                    path.display(),
                    bytes.len()
                )
            })?;
            Tokens::new(&secret)?
        }
    };
    let served = Api::new(Arc::new(controller.clone()), tokens, Limits::default(), stop.clone());
    for address in api.listen() {
        let tcp = TcpListener::bind(address).await;
        let tcp = tcp.with_context(|| format!("listening at {address} for the API"))?;
        addresses.push(tcp.local_addr()?.to_string());
        tasks.spawn(api::serve(tcp, TlsGate::new(tls.clone())?, served.clone()));
    }
    Ok((tasks, addresses))
}
