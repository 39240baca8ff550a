//! The agent of one node: a reconciler that follows its file, the links, the routes and the
//! neighbours. It is fail-static: when it ends, however it ends, the node goes on forwarding, and
//! the next agent takes over what is there.

mod address_sync;
mod addresses;
pub mod control;
mod log_limit;
mod memory;
mod node_index;
mod offloads;
mod preflight;
pub mod reconciler;
pub mod remote;
mod report;
mod requests;
mod subject;
pub mod survey;
mod upstream;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use addresses::Addresses;
use control::{Answer, RunFiles};
use reconciler::{ApplyError, Reconciler};
use remote::{Remote, Task, Word};
use tokio::{
    net::UnixListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::yield_now,
    time::timeout,
};
use tracing::{debug, error, info, instrument, warn};
use upstream::{Arrival, Followed, Upstream};

use crate::{
    dataplane::{
        DataplaneError, left_out::LeftOut, links::Mode, pins::Pins, tables::Tables, verify,
    },
    model::{self, ConfigErrors, NodeConfig},
    net::{
        links::{self, Link},
        underlay::{Follower, FollowerHandle, Snapshot, WatchSet},
    },
    service,
};

/// How long the agent rests after it has looked through the FDB, in multiples of what that took: a
/// large FDB must not keep it from the underlay.
const REST: u32 = 20;
/// How often an agent looks at what is really there; less often where that takes long.
const LOOK: Duration = Duration::from_secs(5);
/// How long a starting agent waits for neighbours to answer.
const SETTLING: Duration = Duration::from_secs(1);
/// How often the agent tries again to say what it could not say at once.
const PACE: Duration = Duration::from_millis(20);

/// What an agent is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// What it goes by.
    pub source: Source,
    /// The node's directory on a bpffs, if not the default one.
    pub bpffs: Option<PathBuf>,
    /// Where its socket is.
    pub run_dir: PathBuf,
    /// Where XDP runs.
    pub mode: Mode,
}

/// What an agent goes by.
#[derive(Clone, Debug)]
pub enum Source {
    /// The node's file.
    File(PathBuf),
    /// A controller.
    Controller(remote::Options),
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
    upstream: Upstream,
    /// The next time to look at what is really there.
    next_look: Instant,
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
    /// What was told of as changed by another hand.
    drift: Option<String>,
    /// Which addresses are where.
    addresses: Addresses,
    /// What was told of as left out.
    left_out: Option<Vec<LeftOut>>,
    files: RunFiles,
}

/// A node that is brought up: an agent without its upstream.
struct Node {
    reconciler: Reconciler,
    follower: FollowerHandle,
    snapshots: watch::Receiver<Snapshot>,
    links: BTreeMap<String, Link>,
    files: RunFiles,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// The file is wrong, a port can't be used, or the kernel refuses something at the start. Later,
/// what fails is logged, and what is there stays.
pub async fn run(options: Options) -> Result<(), AgentError> {
    // First of all: a signal that comes before its handler would end the agent as a failure.
    let mut signals = Signals::catch()?;
    memory::keep();
    let Some((mut agent, listener)) = begin(&options, &mut signals).await? else { return Ok(()) };
    agent.settle().await;
    let config = agent.reconciler.config();
    let name = config.node.name.to_string();
    service::ready(&format!("node {name}, {} ports, XDP {}", config.ports.len(), options.mode));
    agent.run(&listener, &mut signals).await?;
    service::stopping();
    info!(node = name, "stopped; the node goes on forwarding");
    Ok(())
}

/// Starts by the file, or by what a controller sends or has sent before. Nothing, if a signal ends
/// it before that.
async fn begin(
    options: &Options,
    signals: &mut Signals,
) -> Result<Option<(Agent, UnixListener)>, AgentError> {
    let remote = match &options.source {
        Source::File(path) => {
            let (config, warnings) = model::load(path)?;
            for warning in warnings {
                warn!("{warning}");
            }
            let (node, listener) = Node::start(options, config).await?;
            let agent = Agent::new(node, Upstream::File(path.clone()));
            return Ok(Some((agent, listener)));
        }
        Source::Controller(remote) => remote,
    };
    let (mut remote, mut config) = Remote::start(remote.clone())?;
    let is_shut = remote.is_over();
    if is_shut {
        config = config.map(|config| shut(&config));
    }
    let mut retry = service::every(LOOK);
    loop {
        if let Some(wanted) = &config {
            match Node::start(options, wanted.clone()).await {
                Ok((mut node, listener)) => {
                    // What is to be purged, if that was sent with it.
                    let task = remote.again();
                    node.reconciler.build_index().map_err(ApplyError::from)?;
                    let events = node.reconciler.learn_events().map_err(ApplyError::from)?;
                    let is_shut = is_shut && task.is_none();
                    let followed =
                        Followed { remote, is_shut, events: Some(events), publish_to: None };
                    let mut agent = Agent::new(node, Upstream::Controller(Box::new(followed)));
                    agent.follow_index();
                    agent.carry_out(task).await;
                    return Ok(Some((agent, listener)));
                }
                Err(error) if error.is_wrong_input() => {
                    error!(%error, "the node can't start with what it has; it is tried again");
                    remote.refuse(error.to_string(), false);
                    remote.has_nothing();
                }
                Err(error) => return Err(error),
            }
        }
        tokio::select! {
            _ = signals.terminate.recv() => return Ok(None),
            _ = signals.interrupt.recv() => return Ok(None),
            _ = retry.tick() => {}
            update = remote.next_update() => {
                config = remote.take(update).and_then(|task| task.config).or(config);
            }
        }
    }
}

/// A configuration with nothing attached: what comes in by its ports is dropped.
fn shut(config: &NodeConfig) -> NodeConfig {
    let (profiles, segments, attachments) = (Vec::new(), Vec::new(), Vec::new());
    NodeConfig { profiles, segments, attachments, ..config.clone() }
}

/// What of the underlay matters for a configuration.
fn watch_set(config: &NodeConfig) -> WatchSet {
    WatchSet {
        vtep4: config.node.vtep4,
        vtep6: config.node.vtep6,
        remotes: config
            .segments
            .iter()
            .flat_map(|segment| segment.remotes.iter().copied())
            .collect(),
        uplinks: config
            .ports
            .iter()
            .filter(|port| port.role == model::PortRole::Uplink)
            .map(|port| port.name.to_string())
            .collect::<BTreeSet<_>>(),
        ports: config.ports.iter().map(|port| port.name.to_string()).collect(),
    }
}

impl Node {
    /// Brings the kernel to a configuration, and listens at the node's socket.
    async fn start(
        options: &Options,
        config: NodeConfig,
    ) -> Result<(Self, UnixListener), AgentError> {
        let name = config.node.name.to_string();
        let files = RunFiles::new(&options.run_dir, &name);
        let pins = options.bpffs.clone().map_or_else(|| Pins::of_node(&name), Pins::at);
        let links = links::list().await.map_err(anyhow::Error::from)?;
        let reconciler = Reconciler::start(pins, options.mode, config, &links).await?;
        let listener = files.listen()?;
        let (follower, snapshots) =
            Follower::spawn(watch_set(reconciler.config())).await.map_err(anyhow::Error::from)?;
        Ok((Self { reconciler, follower, snapshots, links, files }, listener))
    }
}

impl Agent {
    fn new(node: Node, upstream: Upstream) -> Self {
        let Node { reconciler, follower, snapshots, links, files } = node;
        let mut agent = Self {
            upstream,
            next_look: Instant::now() + LOOK,
            reconciler,
            follower,
            snapshots,
            links,
            unreachable: BTreeSet::new(),
            next_ageing: Instant::now(),
            ageing_took: Duration::ZERO,
            trouble: None,
            drift: None,
            addresses: Addresses::default(),
            left_out: None,
            files,
        };
        agent.tell_left_out();
        agent
    }

    async fn run(&mut self, listener: &UnixListener, signals: &mut Signals) -> anyhow::Result<()> {
        let mut second = service::every(Duration::from_secs(1));
        let mut beat = service::beat();
        let mut pace = service::every(PACE);
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return Ok(()),
                _ = signals.interrupt.recv() => return Ok(()),
                _ = signals.hangup.recv() => match self.reload(None).await {
                    Answer::Done { changes, .. } => info!(changes, "reloaded"),
                    // What is left out was logged before.
                    Answer::Partly { changes, .. } => {
                        warn!(changes, "reloaded, but for what is left out");
                    }
                    Answer::BadInput(error) | Answer::Failed(error) => {
                        error!("not reloaded: {error}");
                    }
                },
                connection = listener.accept() => match connection {
                    Ok((stream, _)) => self.serve(stream).await,
                    Err(error) => warn!(%error, "a request could not be taken"),
                },
                changed = self.snapshots.changed() => match changed {
                    Ok(()) => self.follow_underlay().await,
                    Err(_) => anyhow::bail!("lost the kernel's link, route and neighbour events; \
                        start the agent again"),
                },
                arrival = self.upstream.next() => match arrival {
                    Arrival::Word(Word::Update(update)) => {
                        let remote = self.upstream.remote_mut();
                        let task = remote.and_then(|remote| remote.take(update));
                        self.carry_out(task).await;
                    }
                    Arrival::Word(Word::AddressSync(event)) => self.sync_addresses(event),
                    Arrival::Learned(events) => self.record(events),
                },
                _ = pace.tick(), if self.has_unpublished() => self.publish(),
                _ = second.tick() => self.each_second().await,
                _ = beat.tick() => service::alive(),
                // In between, whatever has come meanwhile has its turn.
                () = yield_now(), if self.reconciler.is_ageing() => self.age(),
            }
        }
    }

    /// What the controller asks for.
    #[instrument(name = "update", skip_all, fields(
        node = %self.reconciler.config().node.name,
        revision = task.as_ref().map(|task| task.revision),
    ))]
    async fn carry_out(&mut self, task: Option<Task>) {
        let Some(Task { revision, config, purges }) = task else { return };
        let before = watch_set(self.reconciler.config()).remotes;
        // A node that is sent an update is trusted again.
        let shut = self.upstream.followed_mut().filter(|followed| followed.is_shut);
        let kept = shut.and_then(|followed| {
            followed.is_shut = false;
            followed.remote.config()
        });
        let mut applied = match config.or(kept) {
            Some(config) => self.apply(config).await,
            None => Ok(0),
        };
        // A new remote has no way until its neighbour has answered.
        if !watch_set(self.reconciler.config()).remotes.is_subset(&before) {
            self.settle().await;
        }
        for (segment, place) in &purges {
            // One that fails does not keep the others.
            if let Err(error) = self.reconciler.purge(segment, place) {
                applied = Err(error.into());
            }
        }
        self.purged(&purges, revision);
        self.tell_left_out();
        let seen = self.seen();
        let Some(remote) = self.upstream.remote_mut() else { return };
        remote.judge(None);
        remote.observe(seen);
        match applied {
            Ok(changes) => {
                info!(changes, purged = purges.len(), "applied");
                remote.done();
            }
            Err(error) => remote.refuse(error.to_string(), error.is_wrong_input()),
        }
    }

    /// Looks at what is really there, puts it right, and tries again what could not be done.
    async fn look_back(&mut self) {
        self.shut_if_over().await;
        let drift = self.put_right().await;
        if self.upstream.followed().is_none() {
            return;
        }
        let counters = self.reconciler.counters();
        let seen = self.seen();
        let Some(remote) = self.upstream.remote_mut() else { return };
        remote.judge(drift);
        remote.observe(seen);
        match counters {
            Ok(counters) => remote.count(counters),
            Err(error) => warn!(%error, "the counters can't be read"),
        }
        let task = remote.again();
        self.carry_out(task).await;
    }

    /// What is not as it should be, if anything; it is put right. An agent that follows a file does
    /// this as one that follows a controller.
    async fn put_right(&mut self) -> Option<String> {
        let report = match self.reconciler.judge(&self.links) {
            Ok(report) => report,
            Err(error) => return Some(format!("the node can't be judged: {error}")),
        };
        let Some(first) = report.violations.first() else {
            self.drift = None;
            return None;
        };
        let more = match report.violations.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let drift = format!(
            "the node was changed by another hand; what has to be put right in {}: {}{more}",
            first.of, first.what
        );
        // What only the owner can set is told of once, and applying anything again is no help.
        if report.violations.iter().all(|violation| violation.of == verify::STACK) {
            if self.drift.as_ref() != Some(&drift) {
                error!(drift, "drift");
            }
            self.drift = Some(drift.clone());
            return Some(drift);
        }
        self.drift = Some(drift.clone());
        error!(drift, "drift; what should be there is applied again");
        if let Err(error) = self.reconciler.mend(&report) {
            error!(%error, "not all of the drift can be put right");
        }
        if let Err(error) = self.apply(self.reconciler.config().clone()).await {
            error!(%error, "the drift stays");
        }
        Some(drift)
    }

    /// Detaches everything once the grace of a revoked certificate is over.
    async fn shut_if_over(&mut self) {
        let Some(followed) = self.upstream.followed_mut() else { return };
        if !followed.remote.is_over() || followed.is_shut {
            return;
        }
        match self.apply(shut(self.reconciler.config())).await {
            Ok(_) => {
                error!(
                    "the node's certificate was revoked, and the grace is over: its ports carry \
                     nothing"
                );
                if let Some(followed) = self.upstream.followed_mut() {
                    followed.is_shut = true;
                }
            }
            Err(error) => error!(%error, "the ports of a revoked node can't be shut"),
        }
    }

    async fn each_second(&mut self) {
        if let Some(remote) = self.upstream.remote_mut() {
            remote.say_unsaid();
        }
        if Instant::now() >= self.next_look {
            let begun = Instant::now();
            self.look_back().await;
            self.try_again().await;
            self.next_look = begun + LOOK.max(begun.elapsed() * REST);
        }
        let now = Instant::now();
        if now >= self.next_ageing && !self.reconciler.is_ageing() {
            let begun = self.reconciler.begin_ageing(&mut self.addresses);
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
        let aged = self.reconciler.age(&mut self.addresses).map(drop);
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

    /// Applies another configuration; returns the number of changes.
    async fn apply(&mut self, config: NodeConfig) -> Result<usize, ApplyError> {
        let tables = self.reconciler.tables()?;
        self.apply_over(tables, config).await
    }

    /// The same, over the tables that were just read.
    async fn apply_over(
        &mut self,
        tables: Tables,
        config: NodeConfig,
    ) -> Result<usize, ApplyError> {
        let links = links::list().await?;
        let watched = watch_set(&config);
        let applied = self.reconciler.reload(config, tables, &links).await;
        if applied.as_ref().is_err_and(ApplyError::is_wrong_input) {
            return applied;
        }
        // What could be done was done.
        self.links = links;
        self.follow_index();
        self.follower.set(watched);
        self.tell_left_out();
        applied
    }

    /// Tries again what was left out: what was against it need not be a link that changes.
    async fn try_again(&mut self) {
        if self.reconciler.is_partial()
            && let Err(error) = self.apply(self.reconciler.config().clone()).await
        {
            error!(%error, "not all can be done that is asked for");
        }
        self.say_what_is_there();
    }

    /// Brings what the kernel says of links, routes and neighbours into the tables.
    async fn follow_underlay(&mut self) {
        let snapshot = self.snapshots.borrow_and_update().clone();
        if self.links != snapshot.links {
            if self.has_other_devices(&snapshot.links) {
                debug!("a port's device came, went or became another");
                if let Err(error) = self.reconciler.links_changed(&snapshot.links).await {
                    error!(%error, "the tables do not follow the links wholly");
                }
                self.follow_index();
                self.tell_left_out();
            }
            self.links = snapshot.links.clone();
            self.say_what_is_there();
        }
        match self.reconciler.underlay_changed(&snapshot) {
            Ok(0) => {}
            Ok(remotes) => info!(remotes, "ways to remotes changed"),
            Err(error) => error!(%error, "the tables do not follow the underlay"),
        }
        self.tell_unreachable(&snapshot);
    }

    /// Whether these links can make other tables than those that they were last made for.
    fn has_other_devices(&self, links: &BTreeMap<String, Link>) -> bool {
        let ports = &self.reconciler.config().ports;
        ports.iter().map(|port| port.name.as_str()).any(|name| {
            match (self.links.get(name), links.get(name)) {
                (None, None) => false,
                (Some(before), Some(now)) => !before.is_as_fit_as(now),
                _ => true,
            }
        })
    }

    /// Waits a while for the ways to all remotes, so that "ready" and "applied" are true of those
    /// that answer.
    async fn settle(&mut self) {
        let remotes = watch_set(self.reconciler.config()).remotes;
        let is_settled = |snapshot: &Snapshot| {
            let has_way =
                |remote| snapshot.remotes.get(remote).is_some_and(|found| !found.paths.is_empty());
            remotes.iter().all(has_way)
        };
        // What is not reachable by then is told of as such.
        let _ = timeout(SETTLING, self.snapshots.wait_for(is_settled)).await;
        self.follow_underlay().await;
    }
}
