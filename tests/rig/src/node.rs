//! A node: the real `sillon` binary in a namespace.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Output, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{Netns, NodeFile};

/// How long an agent may take to be ready, or to end.
const PATIENCE: Duration = Duration::from_secs(120);

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
    agent: Option<Child>,
    log: Log,
}

impl Node {
    /// A node whose agent does not run yet.
    pub fn new(name: &str, netns: Netns, binary: &Path) -> Self {
        let binary = binary.to_owned();
        let (follows, arguments, log) = (None, Vec::new(), Log::default());
        Self { name: name.to_owned(), netns, binary, follows, arguments, agent: None, log }
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
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| self.binary.display().to_string())?;
        let (said, ready) = mpsc::channel();
        if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
            // Both have it, so that it is disconnected only when all that was said is in the log.
            self.log.follow(out, said.clone());
            self.log.follow(err, said);
        }
        self.agent = Some(child);
        let end = Instant::now() + PATIENCE;
        loop {
            match ready.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with("ready:") => return Ok(()),
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("{} ended: {}", self.name, self.log()),
                Err(RecvTimeoutError::Timeout) => bail!("{} is not ready: {}", self.name, self.log()),
            }
        }
    }

    /// What its agents have said.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// The process of its agent, if one runs.
    pub fn agent(&self) -> Option<u32> {
        self.agent.as_ref().map(Child::id)
    }

    /// Sends its agent a signal.
    ///
    /// # Errors
    /// None runs.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let agent = self.agent.as_ref().context("no agent runs")?;
        Ok(kill(Pid::from_raw(i32::try_from(agent.id())?), signal)?)
    }

    /// Ends its agent without a chance to tidy up.
    ///
    /// # Errors
    /// None runs.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.agent.take().context("no agent runs")?.wait()?;
        Ok(())
    }

    /// Asks its agent to end.
    ///
    /// # Errors
    /// None runs, or it does not end with success.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGTERM)?;
        let status = self.agent.take().context("no agent runs")?.wait()?;
        if status.success() { Ok(()) } else { bail!("{} ended with {status}: {}", self.name, self.log()) }
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
            bail!("sillon {arguments:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
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

    /// How many frames were dropped for `reason` at whatever is called `name` (`p0`, `p0 dot1q 100`, `alder-lan`).
    ///
    /// # Errors
    /// There is no node.
    pub fn dropped(&self, name: &str, reason: &str) -> anyhow::Result<u64> {
        let drops = self.show("drops")?;
        let these = drops.iter().filter(|drop| drop["name"] == name && drop["reason"] == reason);
        Ok(these.filter_map(|drop| drop["frames"].as_u64()).sum())
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
        if let Some(mut agent) = self.agent.take() {
            // It may have ended by itself; either way it is gone after this.
            let _ = agent.kill();
            let _ = agent.wait();
        }
        if thread::panicking() {
            eprintln!("--- log of {}\n{}", self.name, self.log());
        }
    }
}

/// Lines that an agent wrote.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads until the other end is closed; `also` hears each line, too.
    fn follow(&self, from: impl Read + Send + 'static, also: Sender<String>) {
        let log = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let mut text = log.0.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&line);
                text.push('\n');
                drop(text);
                // Nobody listens once the agent is ready.
                let _ = also.send(line);
            }
        });
    }
}
