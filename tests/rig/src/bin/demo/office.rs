//! Who decides: a controller on an embedded store, its CA, and those who ask it, each with a
//! certificate and a context of its own.
//!
//! All is done by the commands that people use, and each of them is told.

use std::{path::PathBuf, process::Stdio, time::Instant};

use anyhow::{Context, bail};
use serde_json::Value;
use sillon_rig::{Daemon, Fabric, Log, Netns, management::CONTROLLER};
use tempfile::TempDir;

use crate::cast::OPERATORS;

/// Where the controller serves agents, and where the API.
const PORTS: (u16, u16) = (7471, 7470);
/// How long nodes may take to apply something, on a machine that has other things to do.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// A command that was run, and what it said.
pub struct Said {
    /// As whom.
    pub who: String,
    /// Without what says where contexts are.
    pub command: String,
    /// Its exit code.
    pub code: i32,
    /// What it printed last, or complained of.
    pub answer: String,
}

/// The controller, and those who ask it.
pub struct Office {
    /// Where the controller is, with a cable to each edge.
    pub netns: Netns,
    /// What was asked, in this order.
    pub said: Vec<Said>,
    binary: PathBuf,
    examples: PathBuf,
    dir: TempDir,
    _controller: Daemon,
}

impl Office {
    /// Makes certificates, starts the controller, and has the edges' agents go by it.
    pub fn open(fabric: &mut Fabric, examples: PathBuf) -> anyhow::Result<Self> {
        let (netns, dir) = (fabric.management()?, tempfile::tempdir()?);
        let binary = fabric.binary().to_owned();
        let pki = |arguments: &[&str]| {
            let mut command = netns.command(&binary.to_string_lossy());
            command.env("SILLON_PKI", dir.path().join("pki")).arg("pki").args(arguments);
            let output = command.stdin(Stdio::null()).output()?;
            if !output.status.success() {
                bail!("sillon pki {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            }
            Ok(())
        };
        pki(&["init", "--fabric", "demo"])?;
        let ([one, two], out) = (CONTROLLER, dir.path().display().to_string());
        pki(&["issue", "controller/c1", "--ip", one, "--ip", two, "--out", &out])?;
        let nodes = fabric.edges.each_ref().map(|edge| format!("node/{}", edge.name()));
        let operators = OPERATORS.iter().map(|operator| format!("operator/{}", operator.name));
        for subject in operators.chain(nodes).chain(["owner".to_owned(), "auditor".to_owned()]) {
            pki(&["issue", &subject, "--out", &out])?;
        }
        let file = dir.path().join("controller.toml");
        std::fs::write(&file, configuration())?;
        let mut command = netns.command(&binary.to_string_lossy());
        command.arg("controller").arg("--config").arg(&file);
        let controller = Daemon::start("the controller", &mut command, &Log::default())?;
        fabric.follow(PORTS.0, dir.path(), &dir.path().join("pki/ca.crt"));
        let office =
            Self { netns, said: Vec::new(), binary, examples, dir, _controller: controller };
        office.contexts()?;
        Ok(office)
    }

    /// One for each who asks, called as he is.
    fn contexts(&self) -> anyhow::Result<()> {
        let operators =
            OPERATORS.iter().map(|operator| (operator.name, format!("operator-{}", operator.name)));
        let others = ["owner", "auditor"].map(|who| (who, who.to_owned()));
        for (who, stem) in others.into_iter().chain(operators) {
            let url = format!("https://{}:{}", CONTROLLER[0], PORTS.1);
            let path = |name: &str| self.dir.path().join(name).display().to_string();
            let (cert, key, ca) =
                (path(&format!("{stem}.crt")), path(&format!("{stem}.key")), path("pki/ca.crt"));
            self.run(&[
                "context", "set", who, "--server", &url, "--cert", &cert, "--key", &key, "--ca",
                &ca,
            ])?;
        }
        Ok(())
    }

    /// Where contexts are.
    pub fn contexts_file(&self) -> String {
        self.dir.path().join("contexts.toml").display().to_string()
    }

    /// A file of the examples.
    pub fn example(&self, name: &str) -> String {
        self.examples.join(name).display().to_string()
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<std::process::Output> {
        let mut command = self.netns.command(&self.binary.to_string_lossy());
        command.env("SILLON_CONTEXTS", self.contexts_file()).args(arguments).stdin(Stdio::null());
        Ok(command.output()?)
    }

    /// Runs `sillon` as somebody, and remembers what it said; whether it was done or not.
    pub fn tries(&mut self, who: &str, arguments: &[&str]) -> anyhow::Result<&Said> {
        let output = self.run(&[arguments, &["--context", who]].concat())?;
        let text = if output.status.success() { output.stdout } else { output.stderr };
        let text = String::from_utf8_lossy(&text);
        let quoted =
            |word: &&str| if word.contains(' ') { format!("{word:?}") } else { (*word).to_owned() };
        let words: Vec<String> = arguments.iter().map(quoted).collect();
        let examples = format!("{}/", self.examples.display());
        let last =
            |text: &str| text.lines().rfind(|line| *line != "done").unwrap_or_default().to_owned();
        self.said.push(Said {
            who: who.to_owned(),
            command: format!("sillon {}", words.join(" ")).replace(&examples, "examples/"),
            code: output.status.code().unwrap_or(-1),
            answer: last(&text),
        });
        self.said.last().context("nothing was said")
    }

    /// Runs `sillon` as somebody.
    pub fn does(&mut self, who: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let said = self.tries(who, arguments)?;
        if said.code != 0 {
            bail!("{who}: {}: {}", said.command, said.answer);
        }
        Ok(())
    }

    /// What `sillon get KIND -o json` gives somebody.
    pub fn get(&self, who: &str, kind: &str) -> anyhow::Result<Vec<Value>> {
        let output = self.run(&["get", kind, "-o", "json", "--context", who])?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!("sillon get {kind}: {}", String::from_utf8_lossy(&output.stderr))
        })
    }

    /// Waits until it is so of all objects of a kind that somebody sees, of which there is at least
    /// one.
    pub fn until(
        &self,
        who: &str,
        kind: &str,
        is_so: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let objects = self.get(who, kind)?;
            if !objects.is_empty() && objects.iter().all(&is_so) {
                return Ok(());
            }
            if Instant::now() > end {
                bail!(
                    "after {PATIENCE:?}, not all {kind} of {who} are as they should be: {objects:?}"
                );
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// The operators' VNIs, as the controller drew them.
    pub fn vnis(&self) -> anyhow::Result<[u32; 3]> {
        let mut vnis = [0; 3];
        for (vni, operator) in vnis.iter_mut().zip(&OPERATORS) {
            let segments = self.get(operator.name, "segments")?;
            let drawn =
                segments.first().and_then(|segment| segment.pointer("/status/vni")?.as_u64());
            *vni =
                u32::try_from(drawn.with_context(|| format!("{} has no segment", operator.name))?)?;
        }
        Ok(vnis)
    }

    /// Waits until every node concerned has what is attached.
    pub fn programmed(&self, who: &str) -> anyhow::Result<()> {
        let is_so = |object: &Value| {
            object.pointer("/status/conditions/Programmed/is") == Some(&Value::Bool(true))
        };
        self.until(who, "attachments", is_so)?;
        self.until(who, "segments", is_so)
    }
}

fn configuration() -> String {
    let (agents, api) = PORTS;
    format!(
        "name = \"c1\"\nstore = \"fabric.db\"\n\n[agents]\nlisten = [\"0.0.0.0:{agents}\"]\n\n[api]\nlisten = [\"0.0.0.0:{api}\"]\n\n\
         [tls]\ncertificate = \"controller-c1.crt\"\nkey = \"controller-c1.key\"\nroots = [\"pki/ca.crt\"]\n\
         revocations = [\"pki/crl.pem\"]\n"
    )
}
