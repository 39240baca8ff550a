//! Open vSwitch with its userspace datapath, in an edge's namespace, with a database and a control
//! socket of its own.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use sillon_rig::{Netns, wire::ready_for_xdp};

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
const PROGRAMS: [&str; 3] =
    ["/usr/sbin/ovsdb-server", "/usr/sbin/ovs-vswitchd", "/usr/bin/ovs-vsctl"];
/// How long a daemon may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is none on this machine.
pub fn absent() -> Option<String> {
    let missing =
        PROGRAMS.into_iter().chain([SCHEMA]).find(|file| !PathBuf::from(file).exists())?;
    Some(format!("no {missing}; `cargo xtask setup --bench` installs it"))
}

/// A switch; its daemons end with it.
pub struct Ovs {
    netns: Netns,
    directory: String,
    daemons: Vec<Child>,
}

impl Drop for Ovs {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            // It may have ended by itself; either way it is gone after this.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Ovs {
    /// Starts one that carries nothing yet.
    ///
    /// # Errors
    /// A daemon does not start.
    pub fn start(netns: &Netns) -> anyhow::Result<Self> {
        let directory = format!("/run/ovs-{}", netns.name());
        netns.enter(|| Ok(std::fs::create_dir_all(&directory)?))?;
        let mut ovs = Self { netns: netns.clone(), directory, daemons: Vec::new() };
        let (database, socket) = (ovs.file("conf.db"), ovs.file("db.sock"));
        netns.run("ovsdb-tool", &["create", &database, SCHEMA])?;
        ovs.daemon(
            "ovsdb-server",
            &[&database, &format!("--remote=punix:{socket}"), "--no-chdir"],
            "db.sock",
        )?;
        ovs.set(&["--no-wait", "init"])?;
        let control = ovs.file("vswitchd.ctl");
        ovs.daemon(
            "ovs-vswitchd",
            &[&format!("unix:{socket}"), &format!("--unixctl={control}")],
            "vswitchd.ctl",
        )?;
        Ok(ovs)
    }

    fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.netns.command(program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
            command.env(variable, &self.directory);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Starts a daemon in the foreground, as a child of ours, and waits until it listens.
    fn daemon(
        &mut self,
        program: &str,
        arguments: &[&str],
        listens_at: &str,
    ) -> anyhow::Result<()> {
        let mut command = self.command(program);
        command.args(["-vconsole:off", "-vsyslog:off", "-vfile:off"]).args(arguments);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.daemons.push(child.with_context(|| program.to_owned())?);
        let (path, end) = (self.file(listens_at), Instant::now() + PATIENCE);
        while !self.netns.enter(|| Ok(std::path::Path::new(&path).exists()))? {
            if Instant::now() > end {
                bail!("{program} does not listen at {path}");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn say(&self, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let output =
            self.command(program).args(arguments).output().with_context(|| program.to_owned())?;
        if !output.status.success() {
            bail!(
                "{program} {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    fn set(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let database = format!("--db=unix:{}", self.file("db.sock"));
        self.say("ovs-vsctl", &[&[database.as_str(), "--timeout=20"], arguments].concat())
    }

    fn bridge(&self, name: &str, ports: &[&str]) -> anyhow::Result<()> {
        self.set(&["add-br", name, "--", "set", "bridge", name, "datapath_type=netdev"])?;
        for port in ports {
            self.set(&["add-port", name, port])?;
            ready_for_xdp(&self.netns, port)?;
        }
        Ok(())
    }

    /// Switches between two ports, and learns.
    ///
    /// # Errors
    /// It refuses.
    pub fn local(&mut self) -> anyhow::Result<()> {
        self.bridge("br0", &["p0", "p1"])
    }

    /// Gives what comes from one port the other's tags, and the other way round.
    ///
    /// # Errors
    /// It refuses.
    pub fn translating(&mut self) -> anyhow::Result<()> {
        self.set(&["set", "Open_vSwitch", ".", "other_config:vlan-limit=2"])?;
        self.bridge("br0", &["p0", "p1"])?;
        // A VID is set with the bit that says that there is a tag (0x1000). OpenFlow 1.3 can push a
        // tag; only 1.0 can set the inner one's.
        let flows = [
            (
                "-OOpenFlow13",
                "in_port=1,dl_vlan=100,actions=set_field:4396->vlan_vid,push_vlan:0x88a8,set_field:4296->vlan_vid,output:2",
            ),
            ("-OOpenFlow10", "in_port=2,dl_vlan=200,actions=strip_vlan,mod_vlan_vid:100,output:1"),
        ];
        let bridge = format!("unix:{}", self.file("br0.mgmt"));
        self.say("ovs-ofctl", &["del-flows", &bridge])?;
        flows.iter().try_for_each(|(version, flow)| {
            self.say("ovs-ofctl", &[version, "add-flow", &bridge, flow])
        })
    }

    /// Switches between a port and a VXLAN tunnel. The uplink is a bridge of its own, which has the
    /// node's addresses: so it is documented for the userspace datapath.
    ///
    /// # Errors
    /// It refuses.
    pub fn tunnel(&mut self, vni: u32, near: &str, far: &str) -> anyhow::Result<()> {
        let length = if near.contains(':') { 64 } else { 24 };
        self.bridge("br-up", &["up0"])?;
        self.netns.sysctl("net/ipv6/conf/br-up/disable_ipv6", "0")?;
        self.netns.ip(&format!(
            "addr del {near}/{length} dev up0\nlink set br-up mtu 1700 up\naddr add \
                {near}/{length} dev br-up"
        ))?;
        self.bridge("br0", &["p0"])?;
        let [local, remote] =
            [format!("options:local_ip={near}"), format!("options:remote_ip={far}")];
        let key = format!("options:key={vni}");
        self.set(&[
            "add-port",
            "br0",
            "vx0",
            "--",
            "set",
            "interface",
            "vx0",
            "type=vxlan",
            &local,
            &remote,
            &key,
        ])
    }
}
