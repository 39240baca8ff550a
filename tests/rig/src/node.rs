//! A node: the real `sillon` binary in a namespace.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    thread,
};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    Netns, NodeFile,
    daemon::{Daemon, Log},
};

/// A node and its agent, if one runs.
#[derive(Debug)]
pub struct Node {
    name: String,
    /// Where it is.
    pub netns: Netns,
    binary: PathBuf,
    /// What its agent goes by instead of its file, as `--controller URL` and what belongs to it.
    pub follows: Option<Vec<String>>,
    /// More arguments of its agent, as `--xdp-mode generic`.
    pub arguments: Vec<String>,
    /// What its agent finds in its environment besides, as a library that is loaded first.
    pub environment: Vec<(String, String)>,
    agent: Option<Daemon>,
    log: Log,
}

impl Node {
    /// A node whose agent does not run yet.
    pub fn new(name: &str, netns: Netns, binary: &Path) -> Self {
        let binary = binary.to_owned();
        let (follows, arguments, environment) = (None, Vec::new(), Vec::new());
        let (agent, log) = (None, Log::default());
        Self { name: name.to_owned(), netns, binary, follows, arguments, environment, agent, log }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its file is, for processes in its namespace.
    pub fn file(&self) -> String {
        format!("/run/{}.toml", self.name)
    }

    /// Writes its file.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(&self, file: &NodeFile) -> anyhow::Result<()> {
        self.netns.enter(|| Ok(std::fs::write(self.file(), file.text())?))
    }

    /// Writes its file and starts its agent, and waits until that is ready.
    ///
    /// # Errors
    /// The agent ends instead; the message has its log.
    pub fn start(&mut self, file: &NodeFile) -> anyhow::Result<()> {
        self.write(file)?;
        self.restart()
    }

    /// Starts its agent on the file that is there, and waits until that is ready.
    ///
    /// # Errors
    /// The agent ends instead; the message has its log.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let mut command = self.netns.command(&self.binary.to_string_lossy());
        let file = ["--config".to_owned(), self.file()];
        let source = self.follows.as_deref().unwrap_or(&file);
        command.arg("agent").args(source).args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.agent = Some(Daemon::start(&self.name, &mut command, &self.log)?);
        Ok(())
    }

    /// What its agents have said.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// The process of its agent, if one runs.
    pub fn agent(&self) -> Option<u32> {
        self.agent.as_ref().map(Daemon::id)
    }

    /// Sends its agent a signal.
    ///
    /// # Errors
    /// None runs.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.agent.as_ref().context("no agent runs")?.signal(signal)
    }

    /// Ends its agent without a chance to tidy up.
    ///
    /// # Errors
    /// None runs.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.agent.take().context("no agent runs")?.kill()
    }

    /// Asks its agent to end.
    ///
    /// # Errors
    /// None runs, or it does not end with success.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.agent.take().context("no agent runs")?.stop()
    }

    /// Runs `sillon` in its namespace to its end.
    ///
    /// # Errors
    /// It can't be run.
    pub fn sillon(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = self.netns.command(&self.binary.to_string_lossy());
        Ok(command.args(arguments).stdin(Stdio::null()).output()?)
    }

    fn sillon_says(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.sillon(arguments)?;
        if !output.status.success() {
            bail!(
                "sillon {arguments:?}: {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Writes a changed file and has the running agent apply it.
    ///
    /// # Errors
    /// The agent refuses it.
    pub fn reload(&self, file: &NodeFile) -> anyhow::Result<String> {
        self.write(file)?;
        self.sillon_says(&["agent", "reload", "--config", &self.file()])
    }

    /// What `sillon node show WHAT --json` prints.
    ///
    /// # Errors
    /// There is no node.
    pub fn show(&self, what: &str) -> anyhow::Result<Vec<Value>> {
        let text = self.sillon_says(&["node", "show", what, "--json", "--node", &self.name])?;
        Ok(serde_json::from_str(&text)?)
    }

    /// What `sillon node show WHAT` prints.
    ///
    /// # Errors
    /// There is no node.
    pub fn table(&self, what: &str) -> anyhow::Result<String> {
        self.sillon_says(&["node", "show", what, "--node", &self.name])
    }

    /// Takes the node down.
    ///
    /// # Errors
    /// It does not go down.
    pub fn flush(&self) -> anyhow::Result<String> {
        self.sillon_says(&["node", "flush", "--node", &self.name])
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Its last words are in the log then.
        drop(self.agent.take());
        if thread::panicking() {
            eprintln!("--- log of {}\n{}", self.name, self.log());
        }
    }
}
