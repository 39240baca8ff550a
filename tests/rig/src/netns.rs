//! Anonymous namespaces: they live as long as a descriptor or a process of ours does.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd, unix::process::CommandExt},
    path::PathBuf,
    process::Command,
    sync::Arc,
    thread,
};

use anyhow::{Context, bail};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    sys::{prctl, signal::Signal},
    unistd::geteuid,
};

use crate::command;

/// A mount namespace with a bpffs at `/sys/fs/bpf` and a `/run` of its own.
#[derive(Clone, Debug)]
pub struct Mounts(Arc<File>);

impl Mounts {
    /// Makes one.
    ///
    /// # Errors
    /// We are not root, or the kernel refuses.
    pub fn new() -> anyhow::Result<Self> {
        if !geteuid().is_root() {
            bail!("the rig makes network namespaces and loads eBPF: run this as root");
        }
        apart(|| {
            unshare(CloneFlags::CLONE_NEWNS).context("a mount namespace")?;
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
                .context("private mounts")?;
            mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), none)
                .context("a bpffs")?;
            mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none)
                .context("a tmpfs")?;
            Ok(Self(Arc::new(File::open("/proc/thread-self/ns/mnt")?)))
        })
    }

    /// A new network namespace that sees these mounts, its loopback up.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn netns(&self, name: &str) -> anyhow::Result<Netns> {
        let file = apart(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("a network namespace")?;
            Ok(File::open("/proc/thread-self/ns/net")?)
        })?;
        let netns = Netns { name: name.to_owned(), file: Arc::new(file), mounts: self.clone() };
        // Addresses are usable at once: nobody else can have them.
        netns.sysctl("net/ipv6/conf/all/accept_dad", "0")?;
        netns.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        netns.ip("link set lo up")?;
        Ok(netns)
    }
}

/// A network namespace.
#[derive(Clone, Debug)]
pub struct Netns {
    name: String,
    file: Arc<File>,
    mounts: Mounts,
}

impl Netns {
    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path that leads other processes into it, for as long as it lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// A command line that runs what is appended to it in here.
    pub fn nsenter(&self) -> String {
        let mounts = format!("/proc/{}/fd/{}", std::process::id(), self.mounts.0.as_raw_fd());
        format!("nsenter --net={} --mount={mounts}", self.path().display())
    }

    /// Does something in here, on a thread of its own: sockets that it opens stay in here, and the
    /// calling thread stays where it is.
    ///
    /// # Errors
    /// Those of `work`, or the namespace can't be entered.
    pub fn enter<T: Send>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        apart(|| {
            unshare(CloneFlags::CLONE_FS)?;
            setns(&self.mounts.0, CloneFlags::CLONE_NEWNS)
                .context("entering the mount namespace")?;
            setns(&self.file, CloneFlags::CLONE_NEWNET).with_context(|| self.name.clone())?;
            work()
        })
    }

    /// A command that runs in here and dies with the thread that starts it.
    pub fn command(&self, program: &str) -> Command {
        let (net, mounts) = (Arc::clone(&self.file), self.mounts.clone());
        let mut command = Command::new(program);
        let join = move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            setns(&mounts.0, CloneFlags::CLONE_NEWNS)?;
            setns(&net, CloneFlags::CLONE_NEWNET)?;
            Ok::<_, io::Error>(())
        };
        // SAFETY: `join` only makes system calls between fork and exec; it takes no lock and
        // allocates nothing.
        unsafe { command.pre_exec(join) };
        command
    }

    /// Runs a program in here to its end, and returns what it says.
    ///
    /// # Errors
    /// It can't be run, or fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        command::run(self.command(program).args(arguments)).with_context(|| self.name.clone())
    }

    /// Runs lines of iproute2's `ip` in here.
    ///
    /// # Errors
    /// One of them fails; those before it are done.
    pub fn ip(&self, lines: &str) -> anyhow::Result<()> {
        command::feed(self.command("ip").args(["-batch", "-"]), lines)
            .with_context(|| self.name.clone())?;
        Ok(())
    }

    /// Sets a sysctl of this namespace; `key` with slashes.
    ///
    /// # Errors
    /// There is no such key, or the value is refused.
    pub fn sysctl(&self, key: &str, value: &str) -> anyhow::Result<()> {
        self.enter(|| {
            std::fs::write(format!("/proc/sys/{key}"), value).with_context(|| key.to_owned())
        })
    }

    /// The MAC of an interface of this namespace.
    ///
    /// # Errors
    /// There is no such interface, or it has none.
    pub fn mac(&self, interface: &str) -> anyhow::Result<[u8; 6]> {
        let links: serde_json::Value =
            serde_json::from_str(&self.run("ip", &["-j", "link", "show", interface])?)?;
        let text = links[0]["address"].as_str().unwrap_or_default();
        let octets: Vec<u8> =
            text.split(':').map(|octet| u8::from_str_radix(octet, 16)).collect::<Result<_, _>>()?;
        octets.try_into().map_err(|_| anyhow::anyhow!("{interface} has the MAC {text:?}"))
    }

    /// Joins two namespaces with a veth pair, both ends up, with this MTU.
    ///
    /// # Errors
    /// A name is taken, or the kernel refuses.
    pub fn join(&self, name: &str, peer: &Netns, peer_name: &str, mtu: u16) -> anyhow::Result<()> {
        self.ip(&format!(
            "link add {name} mtu {mtu} type veth peer name {peer_name} mtu {mtu} netns {}\nlink \
                set {name} up",
            peer.path().display()
        ))?;
        peer.ip(&format!("link set {peer_name} up"))
    }
}

/// Runs `work` on a thread of its own, since what it does to its namespaces can't be undone.
fn apart<T: Send>(work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
