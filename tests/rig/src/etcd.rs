//! Three members of an etcd cluster, each in a network namespace of its own, joined by a router in
//! which the clients are. Each member can be killed, paused or cut off, and comes back with what it
//! had on disk.

use std::{
    fs::File,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{Mounts, Netns};

/// How long the members may take to elect their first leader.
const START: Duration = Duration::from_secs(20);

/// The cluster. Its processes end with it, and with the thread that starts them.
#[derive(Debug)]
pub struct EtcdCluster {
    hub: Netns,
    members: Vec<Member>,
    dir: tempfile::TempDir,
}

#[derive(Debug)]
struct Member {
    netns: Netns,
    process: Option<Child>,
}

impl EtcdCluster {
    /// Starts the members, and waits until they have a leader.
    ///
    /// # Errors
    /// There is no etcd, the kernel refuses, or they elect nobody.
    pub fn start() -> anyhow::Result<Self> {
        let mounts = Mounts::new()?;
        let hub = mounts.netns("hub")?;
        hub.sysctl("net/ipv4/ip_forward", "1")?;
        let mut members = Vec::new();
        for index in 0..3 {
            let netns = mounts.netns(&format!("etcd{index}"))?;
            hub.join(&format!("m{index}"), &netns, "eth0", 1500)?;
            hub.ip(&format!("addr add 10.7.{index}.1/24 dev m{index}"))?;
            netns.ip(&format!(
                "addr add {}/24 dev eth0\nroute add default via 10.7.{index}.1",
                address(index)
            ))?;
            members.push(Member { netns, process: None });
        }
        let mut cluster = Self { hub, members, dir: tempfile::tempdir()? };
        for index in 0..3 {
            cluster.run(index)?;
        }
        cluster.leader().context("the members elect nobody")?;
        Ok(cluster)
    }

    /// Where clients are.
    pub fn hub(&self) -> &Netns {
        &self.hub
    }

    /// `HOST:PORT` of each member.
    pub fn endpoints(&self) -> Vec<String> {
        (0..self.members.len()).map(|index| format!("{}:2379", address(index))).collect()
    }

    /// Starts a member that does not run.
    ///
    /// # Errors
    /// It can't be started.
    pub fn run(&mut self, index: usize) -> anyhow::Result<()> {
        let name = format!("etcd{index}");
        let own = address(index);
        let cluster: Vec<String> = (0..self.members.len())
            .map(|other| format!("etcd{other}=http://{}:2380", address(other)))
            .collect();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join(format!("{name}.log")))?;
        let member = &mut self.members[index];
        let mut command = member.netns.command("etcd");
        command
            .args(["--name", &name, "--logger", "zap", "--log-level", "warn"])
            .arg("--data-dir")
            .arg(self.dir.path().join(&name))
            .args(["--listen-client-urls", &format!("http://{own}:2379")])
            .args(["--advertise-client-urls", &format!("http://{own}:2379")])
            .args(["--listen-peer-urls", &format!("http://{own}:2380")])
            .args(["--initial-advertise-peer-urls", &format!("http://{own}:2380")])
            .args(["--initial-cluster", &cluster.join(",")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        member.process = Some(command.spawn().context("etcd (Debian's etcd-server)")?);
        Ok(())
    }

    /// Kills a member with SIGKILL.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self, index: usize) -> anyhow::Result<()> {
        let mut process = self.members[index].process.take().context("it does not run")?;
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// Stops a member (SIGSTOP), or lets it go on (SIGCONT).
    ///
    /// # Errors
    /// It does not run.
    pub fn signal(&self, index: usize, signal: Signal) -> anyhow::Result<()> {
        let process = self.members[index].process.as_ref().context("it does not run")?;
        Ok(kill(Pid::from_raw(process.id().try_into()?), signal)?)
    }

    /// Cuts the wire of a member, or mends it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn wire(&self, index: usize, up: bool) -> anyhow::Result<()> {
        self.hub.ip(&format!("link set m{index} {}", if up { "up" } else { "down" }))
    }

    /// The member that leads; waits until all that answer agree on one.
    ///
    /// # Errors
    /// They don't for a long time.
    pub fn leader(&self) -> anyhow::Result<usize> {
        let end = Instant::now() + START;
        while Instant::now() < end {
            let all = (0..self.members.len()).map(|index| self.status(index));
            let all: Vec<(u64, u64)> = all.filter_map(Result::ok).collect();
            if all.len() == self.members.len()
                && all.iter().all(|(_, leader)| *leader != 0 && *leader == all[0].1)
                && let Some(index) = all.iter().position(|(own, leader)| own == leader)
            {
                return Ok(index);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("no leader within {START:?}; the members' logs end with:\n{}", self.logs())
    }

    /// The ids of a member, and of whom it takes for the leader.
    fn status(&self, index: usize) -> anyhow::Result<(u64, u64)> {
        let endpoint = format!("{}:2379", address(index));
        let arguments = [
            "--endpoints",
            &endpoint,
            "--command-timeout",
            "1s",
            "-w",
            "json",
            "endpoint",
            "status",
        ];
        let mut command = self.hub.command("etcdctl");
        command.env("ETCDCTL_API", "3");
        let text = crate::command::run(command.args(arguments))?;
        let all: Value = serde_json::from_str(&text)?;
        let status = &all[0]["Status"];
        let id = |value: &Value| value.as_u64().context("no id");
        Ok((id(&status["header"]["member_id"])?, status["leader"].as_u64().unwrap_or(0)))
    }

    /// What the members' logs end with.
    fn logs(&self) -> String {
        let all = (0..self.members.len()).map(|index| {
            let text = std::fs::read_to_string(self.dir.path().join(format!("etcd{index}.log")))
                .unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(5)..].join("\n")
        });
        all.collect::<Vec<_>>().join("\n")
    }
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some(mut process) = member.process.take() {
                let _ = process.kill();
                let _ = process.wait();
            }
        }
    }
}

fn address(index: usize) -> String {
    format!("10.7.{index}.2")
}
