//! The agent of one node: a reconciler that follows its file, the links, the routes and the neighbours. It is fail-static: when it ends, however it ends,
//! the node goes on forwarding, and the next agent takes over what is there.

mod budget;
pub mod control;
mod hygiene;
mod memory;
mod preflight;
pub mod reconciler;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use control::{Answer, Request, RunFiles};
use reconciler::{ApplyError, Reconciler};
use tokio::{
    net::UnixListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::{spawn_blocking, yield_now},
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::{error, info, warn};

use crate::{
    dataplane::{DataplaneError, links::Mode, pins::Pins},
    model::{self, ConfigErrors, NodeConfig},
    net::{
        links::{self, Link},
        underlay::{Follower, FollowerHandle, Snapshot, WatchSet},
    },
};

/// As many times as long as looking through the FDB takes passes until the next time: a large one must not keep the agent from the underlay.
const REST: u32 = 20;
/// How long a starting agent waits for neighbours to answer.
const SETTLING: Duration = Duration::from_secs(1);

/// What an agent is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node's file.
    pub config: PathBuf,
    /// The node's directory on a bpffs, if not the default one.
    pub bpffs: Option<PathBuf>,
    /// Where its socket is.
    pub run_dir: PathBuf,
    /// Where XDP runs.
    pub mode: Mode,
}

/// Why the agent ended, or did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The file is wrong.
    #[error("{0}")]
    BadInput(#[from] ConfigErrors),
    /// It could not be applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl AgentError {
    /// Whether the file is to blame, and nothing was changed.
    pub fn is_wrong_input(&self) -> bool {
        match self {
            Self::BadInput(_) => true,
            Self::Apply(error) => error.is_wrong_input(),
            Self::Other(_) => false,
        }
    }
}

/// The signals that an agent knows.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> anyhow::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

struct Agent {
    path: PathBuf,
    reconciler: Reconciler,
    follower: FollowerHandle,
    snapshots: watch::Receiver<Snapshot>,
    /// The links that the tables were last made for.
    links: BTreeMap<String, Link>,
    /// Remotes that were told of as unreachable.
    unreachable: BTreeSet<IpAddr>,
    /// The next time to look through the FDB.
    next_ageing: Instant,
    /// How long that has taken until now.
    ageing_took: Duration,
    /// What was told of the ports' features, and is still so.
    trouble: Option<String>,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// The file is wrong, a port can't be used, or the kernel refuses something at the start. Later, what fails is logged, and what is there stays.
pub async fn run(options: Options) -> Result<(), AgentError> {
    // First of all: a signal that comes before its handler would end the agent as a failure.
    let mut signals = Signals::catch()?;
    memory::keep();
    let (config, warnings) = model::load(&options.config)?;
    for warning in warnings {
        warn!("{warning}");
    }
    let name = config.node.name.to_string();
    let files = RunFiles::new(&options.run_dir, &name);
    let pins = options.bpffs.map_or_else(|| Pins::of_node(&name), Pins::at);
    let links = links::list().await.map_err(anyhow::Error::from)?;
    let reconciler = Reconciler::start(pins, options.mode, config, &links).await?;
    let listener = files.listen()?;
    let (follower, snapshots) =
        Follower::spawn(watch_set(reconciler.config())).await.map_err(anyhow::Error::from)?;
    let mut agent = Agent {
        path: options.config,
        reconciler,
        follower,
        snapshots,
        links,
        unreachable: BTreeSet::new(),
        next_ageing: Instant::now(),
        ageing_took: Duration::ZERO,
        trouble: None,
    };
    agent.settle().await;
    println!("ready: node {name}, {} ports, XDP {}", agent.reconciler.config().ports.len(), options.mode);
    agent.run(&listener, &mut signals).await?;
    info!(node = name, "stopped; the node goes on forwarding");
    Ok(())
}

/// What of the underlay matters for a configuration.
fn watch_set(config: &NodeConfig) -> WatchSet {
    WatchSet {
        vtep4: config.node.vtep4,
        vtep6: config.node.vtep6,
        remotes: config.segments.iter().flat_map(|segment| segment.remotes.iter().copied()).collect(),
        uplinks: config
            .ports
            .iter()
            .filter(|port| port.role == model::PortRole::Uplink)
            .map(|port| port.name.to_string())
            .collect::<BTreeSet<_>>(),
    }
}

impl Agent {
    async fn run(&mut self, listener: &UnixListener, signals: &mut Signals) -> anyhow::Result<()> {
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return Ok(()),
                _ = signals.interrupt.recv() => return Ok(()),
                _ = signals.hangup.recv() => match self.reload(None).await {
                    Answer::Done { changes, .. } => info!(changes, "reloaded"),
                    Answer::BadInput(error) | Answer::Failed(error) => error!("not reloaded: {error}"),
                },
                connection = listener.accept() => match connection {
                    Ok((stream, _)) => self.serve(stream).await,
                    Err(error) => warn!(%error, "a request could not be taken"),
                },
                changed = self.snapshots.changed() => match changed {
                    Ok(()) => self.follow_underlay().await,
                    Err(_) => anyhow::bail!("lost the kernel's link, route and neighbour events; start the agent again"),
                },
                _ = second.tick() => self.each_second().await,
                // In between, whatever has come meanwhile has its turn.
                () = yield_now(), if self.reconciler.is_ageing() => self.age(),
            }
        }
    }

    async fn each_second(&mut self) {
        let now = Instant::now();
        if now >= self.next_ageing && !self.reconciler.is_ageing() {
            let begun = self.reconciler.begin_ageing();
            self.spend_on_ageing(now, begun);
        }
        let trouble = self.reconciler.tend(&self.links).await.err().map(|error| error.to_string());
        if let Some(error) = trouble.as_ref().filter(|_| trouble != self.trouble) {
            error!(error, "a port is not as XDP needs it");
        }
        self.trouble = trouble;
    }

    /// Looks through some more of the FDB.
    fn age(&mut self) {
        let now = Instant::now();
        let aged = self.reconciler.age().map(drop);
        self.spend_on_ageing(now, aged);
    }

    /// A walk that takes long rests long, from when it ends.
    fn spend_on_ageing(&mut self, since: Instant, result: Result<(), DataplaneError>) {
        if let Err(error) = result {
            warn!(%error, "FDB entries could not be aged");
        }
        self.ageing_took += since.elapsed();
        if !self.reconciler.is_ageing() {
            self.next_ageing = since + std::mem::take(&mut self.ageing_took) * REST;
        }
    }

    async fn serve(&mut self, mut stream: tokio::net::UnixStream) {
        let answer = match control::read(&mut stream).await {
            Ok(Request::Reload(path)) => self.reload(path).await,
            Ok(Request::Thaw { segment, mac }) => self.thaw(&segment, mac.as_deref()),
            Err(error) => Answer::BadInput(format!("no request: {error}")),
        };
        if let Err(error) = control::answer(&mut stream, &answer).await {
            warn!(%error, "who asked is gone");
        }
    }

    fn thaw(&mut self, segment: &str, mac: Option<&str>) -> Answer {
        let mac = match mac.map(str::parse).transpose() {
            Ok(mac) => mac,
            Err(invalid) => return Answer::BadInput(format!("{invalid}")),
        };
        match self.reconciler.thaw(segment, mac) {
            Ok(count) => {
                Answer::Done { changes: usize::try_from(count).unwrap_or(usize::MAX), notes: Vec::new() }
            }
            Err(error) => Answer::Failed(format!("{error:#}")),
        }
    }

    async fn reload(&mut self, path: Option<PathBuf>) -> Answer {
        let path = path.unwrap_or_else(|| self.path.clone());
        // The two take about as long as each other.
        let file = path.clone();
        let loading = spawn_blocking(move || model::load(&file));
        let tables = self.reconciler.tables();
        let (config, warnings) = match loading.await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(errors)) => return Answer::BadInput(errors.to_string()),
            Err(error) => return Answer::Failed(format!("{} could not be read: {error}", path.display())),
        };
        let tables = match tables {
            Ok(tables) => tables,
            Err(error) => return Answer::Failed(error.to_string()),
        };
        let links = match links::list().await {
            Ok(links) => links,
            Err(error) => return Answer::Failed(error.to_string()),
        };
        let watched = watch_set(&config);
        match self.reconciler.reload(config, tables, &links).await {
            Ok(changes) => {
                self.path = path;
                self.links = links;
                self.follower.set(watched);
                Answer::Done { changes, notes: warnings.iter().map(ToString::to_string).collect() }
            }
            Err(error) if error.is_wrong_input() => Answer::BadInput(error.to_string()),
            Err(error) => Answer::Failed(error.to_string()),
        }
    }

    /// Brings what the kernel says of links, routes and neighbours into the tables.
    async fn follow_underlay(&mut self) {
        let snapshot = self.snapshots.borrow_and_update().clone();
        if self.links != snapshot.links {
            match self.reconciler.links_changed(&snapshot.links).await {
                Ok(_) => self.links = snapshot.links.clone(),
                Err(error) => error!(%error, "the tables do not follow the links"),
            }
        }
        match self.reconciler.underlay_changed(&snapshot) {
            Ok(0) => {}
            Ok(remotes) => info!(remotes, "ways to remotes changed"),
            Err(error) => error!(%error, "the tables do not follow the underlay"),
        }
        self.tell_unreachable(&snapshot);
    }

    /// Says once that a remote is out of reach, and once that it is back.
    fn tell_unreachable(&mut self, snapshot: &Snapshot) {
        for (remote, resolution) in &snapshot.remotes {
            if !resolution.paths.is_empty() {
                if self.unreachable.remove(remote) {
                    info!(%remote, "reachable again");
                }
            } else if self.unreachable.insert(*remote) {
                warn!(%remote, why = resolution.why_not.join("; "), "unreachable");
            }
        }
        self.unreachable.retain(|remote| snapshot.remotes.contains_key(remote));
    }

    /// Waits a while for the ways to all remotes, so that "ready" is true of those that answer.
    async fn settle(&mut self) {
        let is_settled =
            |snapshot: &Snapshot| snapshot.remotes.values().all(|resolution| !resolution.paths.is_empty());
        // What is not reachable by then is told of as such.
        let _ = timeout(SETTLING, self.snapshots.wait_for(is_settled)).await;
        self.follow_underlay().await;
    }
}
