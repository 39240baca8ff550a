//! What it was measured on: no absolute figure means anything without it.

use std::{fmt, fs, process::Command};

use serde_json::{Value, json};

/// A description of the machine.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    cpu: String,
    cores: usize,
    memory: String,
    kernel: String,
    load: String,
    commit: String,
}

fn line(path: &str, key: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value =
        text.lines().find(|line| line.starts_with(key)).and_then(|line| line.split_once(':'));
    value.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

fn first_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let commit =
            Command::new("git").args(["describe", "--always", "--dirty=, changed"]).output();
        let commit = commit.ok().filter(|output| output.status.success());
        Self {
            cpu: line("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory: line("/proc/meminfo", "MemTotal"),
            kernel: first_line("/proc/sys/kernel/osrelease"),
            load: first_line("/proc/loadavg"),
            commit: commit.map_or_else(
                || "unknown".to_owned(),
                |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            ),
        }
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "cpu": self.cpu, "cores": self.cores, "memory": self.memory, "kernel": self.kernel,
            "load": self.load, "commit": self.commit, "network": NETWORK,
        })
    }
}

const NETWORK: &str = "veth pairs between network namespaces, no NIC";

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Sillon {} on {}, {} cores, {}; Linux {}; {NETWORK}; load average at the start {}",
            self.commit, self.cpu, self.cores, self.memory, self.kernel, self.load
        )
    }
}
