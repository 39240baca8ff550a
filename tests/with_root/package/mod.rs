//! The Debian package: installed on a copy of this system, started as its units say, removed. Needs
//! root and Debian.
//!
//! There is no systemd that runs here, so that the tests stand in for it: they take from the
//! installed units what to run, as whom and with which capabilities, and listen to what the daemons
//! tell it. What else the units forbid (`SystemCallFilter`, `ProtectSystem` …) is not in force.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use sillon_rig::{Fabric, Family, Underlay};
use tempfile::TempDir;

use crate::common::{comes, datagram, mac};

/// Longer than anything here takes, also while other tests run.
const PATIENCE: Duration = Duration::from_secs(60);
const BINARY: &str = env!("CARGO_BIN_EXE_sillon");

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The words behind `KEY=` in a unit.
fn unit(name: &str, key: &str) -> String {
    let text = fs::read_to_string(project("deploy/systemd").join(name)).unwrap();
    let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("{name} has no {key}")).to_owned()
}

/// Where a service manager hears what a daemon tells.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self(socket)
    }

    /// Waits until this is said.
    fn hears(&self, what: &str) {
        let end = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        while Instant::now() < end {
            let mut buffer = [0; 4096];
            let Ok(length) = self.0.recv(&mut buffer) else { continue };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.lines().any(|line| line == what) {
                return;
            }
            said.push(text);
        }
        panic!("nothing says {what}, but {said:?}");
    }
}

#[test]
fn the_package_is_installed_started_and_removed() {
    let folder = TempDir::new().unwrap();
    let at = |path: &str| folder.path().join(path);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["over", "shared", "shared/certificates"] {
        fs::create_dir(at(name)).unwrap();
    }
    // Beside the binary under test: `cargo xtask test` runs it, and so has built it.
    let xtask = Path::new(BINARY).with_file_name("xtask");
    assert!(
        xtask.exists(),
        "{} is not there; build it: cargo build --package xtask",
        xtask.display()
    );
    let mut package = Command::new(xtask);
    let made =
        package.args(["package", "--binary", BINARY, "--out"]).arg(at("out")).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let package = fs::read_dir(at("out")).unwrap().map(|file| file.unwrap().path());
    let package = package
        .into_iter()
        .find(|path| path.extension().is_some_and(|kind| kind == "deb"))
        .unwrap();
    certificates(&at("pki"), &at("shared/certificates"));
    fs::copy(project("tests/with_root/package/inside.sh"), at("shared/inside.sh")).unwrap();
    nix::unistd::mkfifo(&at("shared/enough"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let manager = Manager::at(&at("shared/notify"));

    let mut script = Command::new("unshare");
    script
        .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "sh"])
        .arg(project("tests/with_root/package/install.sh"));
    script.arg(folder.path()).arg(&package).env_remove("LD_LIBRARY_PATH");
    let log = fs::File::create(at("log")).unwrap();
    let mut script = script.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    let story = || {
        [at("log"), at("shared/controller.log")]
            .map(|path| fs::read_to_string(path).unwrap_or_default())
            .join("\n")
    };
    let told = std::panic::catch_unwind(|| {
        manager.hears("READY=1");
        for _ in 0..3 {
            manager.hears("WATCHDOG=1");
        }
    });
    if told.is_err() {
        script.kill().unwrap();
        script.wait().unwrap();
        panic!("{}", story());
    }
    fs::write(at("shared/enough"), "enough\n").unwrap();
    let status = script.wait().unwrap();
    assert!(status.success(), "{status}: {}", story());
    manager.hears("STOPPING=1");
    assert!(story().contains("# done"), "{}", story());
}

/// What the owner makes for the controller that the installed file describes.
fn certificates(pki: &Path, to: &Path) {
    let now = jiff::Timestamp::now();
    let mut ca =
        sillon::pki::Directory::init(pki, &"test".parse().unwrap(), now, sillon::pki::Lifetime::CA)
            .unwrap();
    let (subject, names) = ("controller/one".parse().unwrap(), vec!["localhost".to_owned()]);
    let wanted = sillon::pki::Wanted { subject, names, lifetime: None, request: None };
    let made = ca.issue(&wanted, now).unwrap();
    fs::write(to.join("controller.crt"), made.certificate).unwrap();
    fs::write(to.join("controller.key"), made.key.unwrap()).unwrap();
    fs::set_permissions(to.join("controller.key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::copy(pki.join("ca.crt"), to.join("ca.crt")).unwrap();
}

/// A stand-in for the binary that runs it with the capabilities of the agent's unit, and no way to
/// others.
fn confined(folder: &Path, capabilities: &str) -> PathBuf {
    let path = folder.join("sillon");
    let names: Vec<String> = capabilities
        .split_whitespace()
        .map(|name| format!(",+{}", name.trim_start_matches("CAP_").to_lowercase()))
        .collect();
    let script = format!(
        "#!/bin/sh\nexec setpriv --inh-caps=-all --bounding-set=-all{} --no-new-privs {BINARY} \
            \"$@\"\n",
        names.concat()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn two_edges(binary: &Path) -> anyhow::Result<Fabric> {
    let fabric = Fabric::new(Underlay::Direct, binary)?;
    for edge in [0, 1] {
        let remote = fabric.vtep(1 - edge, Family::V4);
        let file =
            fabric.file(edge).port("p0", "access").segment("alder-lan", 100, "lan", &[remote]);
        let file = file.attach("alder-lan", "p0", "untagged");
        fabric.edges[edge].write(&file)?;
    }
    Ok(fabric)
}

#[test]
fn an_agent_needs_the_capabilities_of_its_unit_and_no_others() {
    let folder = TempDir::new().unwrap();
    let capabilities = unit("sillon-agent.service", "CapabilityBoundingSet");
    let mut fabric = two_edges(&confined(folder.path(), &capabilities)).unwrap();
    let wires = [0, 1].map(|edge| fabric.plug(edge, "p0").unwrap());
    for edge in &mut fabric.edges {
        edge.restart().unwrap();
    }
    wires[0].send(&datagram(1, mac(2), "as confined as its unit says")).unwrap();
    assert!(comes(&wires[1], "as confined as its unit says"));
    fabric.edges[0].stop().unwrap();
    fabric.edges[0].restart().unwrap();
    fabric.edges[0].stop().unwrap();
    fabric.edges[0].flush().unwrap();

    for one in capabilities.split_whitespace() {
        let fewer: Vec<&str> =
            capabilities.split_whitespace().filter(|other| *other != one).collect();
        let folder = TempDir::new().unwrap();
        let mut fabric = two_edges(&confined(folder.path(), &fewer.join(" "))).unwrap();
        let _wire = fabric.plug(0, "p0").unwrap();
        let started = fabric.edges[0].restart().and_then(|()| {
            fabric.edges[0].stop()?;
            fabric.edges[0].restart()
        });
        assert!(started.is_err(), "an agent starts without {one}: the unit should not give it");
    }
}
