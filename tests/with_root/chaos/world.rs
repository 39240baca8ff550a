//! Three controllers on three members of etcd, and two edges with real dataplanes and three hosts
//! each; all in namespaces of their own.
//!
//! ```text
//!           etcd0  etcd1  etcd2
//!               \    |    /
//!                 ─ hub ─ ─ ─ who asks
//!               /  / | \  \
//!  controller 0  1   2   edge1 ─── edge2      (the underlay is not of this)
//!                      p0 p1 p2   p0 p1 p2
//! ```
//! Port p0 of each edge faces a server of alder's, p1 one of birch's, p2 of edge1 one that goes
//! from one to the other, and p2 of edge2 none.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sillon::{
    audit::{Signer, VerifierKey},
    pki::{Directory, Lifetime, Wanted},
};
use sillon_rig::{EtcdCluster, Fabric, Netns, Underlay, Wire};

use crate::{chaos::clock::Clock, common};

/// Longer than anything here takes on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Of all controllers, where agents and where others come.
const PORTS: (u16, u16) = (7471, 7470);
/// Where the fabric is in etcd.
pub const PREFIX: &str = "chaos";
/// As the audit log is called.
const LOG: &str = "chaos";
/// Nobody's clock is wrong by more than this, or certificates would be none.
const ISSUED_AGO: SignedDuration = SignedDuration::from_hours(48);

/// A place with files in it.
pub struct World {
    pub cluster: EtcdCluster,
    pub fabric: Fabric,
    pub controllers: Vec<Controller>,
    pub agents: Vec<Clock>,
    /// By number, from 0: p0, p1 and p2 of edge1, and then of edge2.
    pub hosts: Vec<Wire>,
    /// What the audit log is signed by.
    pub auditor: VerifierKey,
    dir: tempfile::TempDir,
}

/// `sillon controller` in a namespace of its own, if it runs.
pub struct Controller {
    index: usize,
    netns: Netns,
    hub: Netns,
    process: Option<Child>,
    pub clock: Clock,
    environment: Vec<(String, String)>,
    file: PathBuf,
    log: PathBuf,
}

impl World {
    /// All of it runs, and the fabric is empty.
    pub fn new() -> Self {
        let cluster = EtcdCluster::start().unwrap();
        let fabric = common::fabric(Underlay::Direct);
        let dir = tempfile::tempdir().unwrap();
        let signer = Signer::generate(LOG).unwrap();
        fs::write(dir.path().join("audit.key"), signer.to_pem().unwrap()).unwrap();
        fs::write(dir.path().join("api.secret"), [7; 32]).unwrap();
        for secret in ["audit.key", "api.secret"] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(dir.path().join(secret), mode).unwrap();
        }
        let mut world = Self {
            cluster,
            fabric,
            controllers: Vec::new(),
            agents: Vec::new(),
            hosts: Vec::new(),
            auditor: signer.verifier(),
            dir,
        };
        world.certificates();
        for index in 0..3 {
            let clock = Clock::new(world.path(&format!("controller{index}.time")));
            let controller = world.place(index, clock);
            world.controllers.push(controller);
        }
        world.controllers.iter_mut().for_each(Controller::start);
        world.join_edges();
        for (edge, port) in [(0, "p0"), (0, "p1"), (0, "p2"), (1, "p0"), (1, "p1"), (1, "p2")] {
            world.hosts.push(world.fabric.plug(edge, port).unwrap());
        }
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn certificates(&self) {
        let issued = Timestamp::now() - ISSUED_AGO;
        let fabric = "chaos".parse().unwrap();
        let mut ca = Directory::init(&self.path("pki"), &fabric, issued, Lifetime::CA).unwrap();
        let subjects =
            ["node/edge1", "node/edge2", "owner", "operator/alder", "operator/birch", "auditor"];
        let controllers =
            (0..3).map(|index| (format!("controller/c{index}"), vec![address(index)]));
        let others = subjects.map(|subject| (subject.to_owned(), Vec::new()));
        for (subject, names) in controllers.chain(others) {
            let subject: sillon::pki::Subject = subject.parse().unwrap();
            let stem = subject.file_stem();
            let made = ca
                .issue(&Wanted { subject, names, lifetime: None, request: None }, issued)
                .unwrap();
            fs::write(self.path(&format!("{stem}.crt")), made.certificate).unwrap();
            let key = self.path(&format!("{stem}.key"));
            fs::write(&key, made.key.unwrap()).unwrap();
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    fn place(&self, index: usize, clock: Clock) -> Controller {
        let hub = self.cluster.hub().clone();
        let netns = self.fabric.mounts.netns(&format!("controller{index}")).unwrap();
        hub.join(&format!("c{index}"), &netns, "eth0", 1500).unwrap();
        hub.ip(&format!("addr add 10.8.{index}.1/24 dev c{index}")).unwrap();
        netns
            .ip(&format!(
                "addr add {}/24 dev eth0\nroute add default via 10.8.{index}.1",
                address(index)
            ))
            .unwrap();
        let endpoints = self.cluster.endpoints().join(",");
        let (agents, api) = PORTS;
        let text = format!(
            "name = \"c{index}\"\nstore = \"etcd://{endpoints}/{PREFIX}\"\n[agents]\nlisten = \
                [\"0.0.0.0:{agents}\"]\n[api]\nlisten = [\"0.0.0.0:{api}\"]\nsecret = \
                    \"api.secret\"\n[audit]\nname = \"{LOG}\"\nkey = \
                        \"audit.key\"\n[tls]\ncertificate = \"controller-c{index}.crt\"\nkey = \
                            \"controller-c{index}.key\"\nroots = [\"pki/ca.crt\"]\n"
        );
        let file = self.path(&format!("controller{index}.toml"));
        fs::write(&file, text).unwrap();
        let (environment, log) =
            (clock.environment(), self.path(&format!("controller{index}.log")));
        Controller { index, netns, hub, process: None, clock, environment, file, log }
    }

    fn join_edges(&mut self) {
        let hub = self.cluster.hub().clone();
        for edge in 0..2 {
            let clock = Clock::new(self.path(&format!("edge{edge}.time")));
            let name = self.fabric.edges[edge].name().to_owned();
            let file = |name: String| self.path(&name).display().to_string();
            let follows = [
                ("--controller", self.urls()),
                ("--node", name.clone()),
                ("--cert", file(format!("node-{name}.crt"))),
                ("--key", file(format!("node-{name}.key"))),
                ("--ca", file("pki/ca.crt".to_owned())),
                ("--state-dir", file("state".to_owned())),
            ];
            let follows = follows.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
            let node = &mut self.fabric.edges[edge];
            node.follows = Some(follows.collect());
            node.environment = clock.environment();
            hub.join(&name, &node.netns, "mgmt0", 1500).unwrap();
            hub.ip(&format!("addr add 10.9.{edge}.1/24 dev {name}")).unwrap();
            let lines = format!(
                "addr add 10.9.{edge}.2/24 dev mgmt0\nroute add 10.8.0.0/16 via 10.9.{edge}.1"
            );
            node.netns.ip(&lines).unwrap();
            self.agents.push(clock);
        }
    }

    /// Where agents find the controllers.
    fn urls(&self) -> String {
        let all = (0..self.controllers.len())
            .map(|index| format!("https://{}:{}", address(index), PORTS.0));
        all.collect::<Vec<_>>().join(",")
    }

    /// Cuts the wire between an edge's agent and all controllers, or mends it.
    pub fn wire(&self, edge: usize, up: bool) {
        let name = self.fabric.edges[edge].name();
        set(self.cluster.hub(), name, up);
    }
}

impl Controller {
    /// Starts it. It need not be ready when this returns.
    pub fn start(&mut self) {
        let mut command = self.netns.command(env!("CARGO_BIN_EXE_sillon"));
        command.args(["controller", "--config"]).arg(&self.file);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("RUST_LOG", "info");
        let log = fs::File::options().create(true).append(true).open(&self.log).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
    }

    /// Its base, for who asks.
    pub fn url(&self) -> String {
        format!("https://{}:{}/v1", address(self.index), PORTS.1)
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Whether it was started, and has not ended.
    pub fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.try_wait().unwrap().is_none())
    }

    pub fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().unwrap();
        kill(Pid::from_raw(process.id().try_into().unwrap()), signal).unwrap();
    }

    /// Cuts its wire, or mends it.
    pub fn wire(&self, up: bool) {
        set(&self.hub, &format!("c{}", self.index), up);
    }

    /// What it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The terms for which it said that it leads.
    pub fn terms(&self) -> Vec<u64> {
        let Ok(log) = fs::File::open(&self.log) else { return Vec::new() };
        let lines = BufReader::new(log).lines().map_while(Result::ok);
        let lines = lines.filter(|line| line.contains("this controller leads"));
        lines.filter_map(|line| line.rsplit_once("term=")?.1.trim().parse().ok()).collect()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may be paused, or have ended by itself; either way it is gone after this.
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(60)..];
            eprintln!("--- log of controller {}\n{}", self.index, last.join("\n"));
        }
    }
}

fn address(index: usize) -> String {
    format!("10.8.{index}.2")
}

fn set(hub: &Netns, interface: &str, up: bool) {
    hub.ip(&format!("link set {interface} {}", if up { "up" } else { "down" })).unwrap();
}

/// Whether it becomes so in time; for what has no event that a test could wait for.
pub fn soon(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
