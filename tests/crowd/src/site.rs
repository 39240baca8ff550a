//! A site: a store with a fabric in it, certificates for all, and a controller as a process.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use sillon::{
    audit::Signer,
    controller::{Controller, Request, Settings, SubmitError},
    fabric::{Actor, Change},
    pki::{Tls, TlsFiles},
    store::{Embedded, Store},
};
use tokio::runtime::Runtime;

use crate::fabric::{self, Size};

/// Changes of one transaction while a fabric is built.
const AT_ONCE: usize = 1000;

/// A runtime as a controller has one.
///
/// # Errors
/// It can't be started.
pub fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")
}

/// All changes that make a fabric.
///
/// # Errors
/// See [`fabric::site`].
pub fn changes(size: Size) -> anyhow::Result<Vec<Vec<Change>>> {
    let attached = fabric::attachments(size)?;
    let mut all = vec![fabric::site(size)?];
    all.extend(attached.chunks(AT_ONCE).map(<[Change]>::to_vec));
    Ok(all)
}

/// A controller in this process, with a fabric of some size.
pub struct Loaded {
    controller: Controller<Embedded>,
}

impl Loaded {
    /// In a new file.
    ///
    /// # Errors
    /// The file can't be written.
    pub async fn new(path: &Path, size: Size) -> anyhow::Result<Self> {
        let settings = Settings {
            tick: Duration::from_secs(3600),
            audit: Some(Arc::new(Signer::generate("crowd")?)),
            ..Settings::default()
        };
        let controller = Controller::open(Embedded::open(path)?, settings).await?;
        let loaded = Self { controller };
        for changes in changes(size)? {
            loaded.submit(changes).await?;
        }
        Ok(loaded)
    }

    /// Makes a transaction.
    ///
    /// # Errors
    /// It is refused.
    pub async fn submit(&self, changes: Vec<Change>) -> anyhow::Result<()> {
        let request = Request { who: Actor::Owner, changes, dry_run: false };
        self.controller.submit(request).await?;
        Ok(())
    }

    /// Makes a transaction in somebody's name.
    ///
    /// # Errors
    /// It is refused, or there were too many.
    pub async fn submit_as(&self, who: Actor, changes: Vec<Change>) -> Result<(), SubmitError> {
        self.controller.submit(Request { who, changes, dry_run: false }).await.map(drop)
    }

    /// How many commits there were.
    ///
    /// # Errors
    /// The store fails.
    pub async fn version(&self) -> anyhow::Result<u64> {
        Ok(self.controller.store().version().await?.0)
    }

    /// Closes the file.
    pub async fn close(self) {
        self.controller.close().await;
    }
}

/// A CA, and where all files are.
pub struct Site {
    dir: tempfile::TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Site {
    /// An empty one.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn new() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("a place for the site")?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let site = Self { dir, ca };
        fs::write(site.path("ca.crt"), site.ca.pem())?;
        Ok(site)
    }

    /// A file's.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A certificate of somebody or, without an identity, of a controller at 127.0.0.1.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn issue(&self, stem: &str, identity: Option<&str>) -> anyhow::Result<()> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.subject_alt_names.push(match identity {
            Some(identity) => SanType::URI(format!("sillon:{identity}").try_into()?),
            None => SanType::IpAddress("127.0.0.1".parse()?),
        });
        let key = KeyPair::generate()?;
        fs::write(self.path(&format!("{stem}.crt")), params.signed_by(&key, &self.ca)?.pem())?;
        let path = self.path(&format!("{stem}.key"));
        fs::write(&path, key.serialize_pem())?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o600))?)
    }

    /// The TLS of whom a certificate was issued to.
    ///
    /// # Errors
    /// There is none.
    pub fn tls(&self, stem: &str) -> anyhow::Result<Tls> {
        Ok(Tls::load(TlsFiles {
            certificate: self.path(&format!("{stem}.crt")),
            key: self.path(&format!("{stem}.key")),
            roots: vec![self.path("ca.crt")],
            revocations: Vec::new(),
        })?)
    }

    /// Writes a controller's file, with ports that are free now.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn configure(&self) -> anyhow::Result<[SocketAddr; 2]> {
        let free = || std::net::TcpListener::bind("127.0.0.1:0");
        let listeners = [free()?, free()?];
        let [agents, api] = [listeners[0].local_addr()?, listeners[1].local_addr()?];
        self.issue("controller", None)?;
        fs::write(self.path("audit.key"), Signer::generate("crowd")?.to_pem()?)?;
        fs::set_permissions(self.path("audit.key"), fs::Permissions::from_mode(0o600))?;
        let file = format!(
            "name = \"one\"\nstore = \"fabric.db\"\n[agents]\nlisten = [\"{agents}\"]\n[api]\n\
             listen = [\"{api}\"]\n[audit]\nname = \"crowd\"\nkey = \"audit.key\"\n[tls]\n\
             certificate = \"controller.crt\"\nkey = \"controller.key\"\nroots = [\"ca.crt\"]\n"
        );
        fs::write(self.path("controller.toml"), file)?;
        Ok([agents, api])
    }
}

/// `sillon controller`; ended when it goes.
pub struct Process(Child);

impl Process {
    /// Starts it, and waits until it says that it is ready.
    ///
    /// # Errors
    /// It ends.
    pub fn start(sillon: &Path, site: &Site) -> anyhow::Result<Self> {
        let mut command = Command::new(sillon);
        command.args(["controller", "--config"]).arg(site.path("controller.toml"));
        let log =
            fs::File::options().create(true).append(true).open(site.path("controller.log"))?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn();
        let mut process = Self(child.with_context(|| sillon.display().to_string())?);
        let mut line = String::new();
        let stdout = process.0.stdout.take().context("no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        if !line.starts_with("ready: ") {
            let log = fs::read_to_string(site.path("controller.log"))?;
            anyhow::bail!("the controller did not start; it said:\n{log}");
        }
        Ok(process)
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    /// It can't be.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    /// The most memory that it ever had, in bytes.
    ///
    /// # Errors
    /// It is gone.
    pub fn memory(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("VmHWM")?;
        Ok(kib * 1024)
    }

    /// CPU time that it has had.
    ///
    /// # Errors
    /// It is gone.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let (_, rest) = stat.rsplit_once(')').context("stat")?;
        let ticks: u64 =
            rest.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
        // USER_HZ is 100 on all that we run on.
        Ok(Duration::from_millis(ticks * 10))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after this.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
