//! `sillon controller`, as a process.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sillon::protocol::Parts;
use tokio::time::timeout;
use tonic::Code;

use crate::controller::{
    site::{PATIENCE, Running, Site, attach, lan, leased},
    stream::hello,
};

const FILE: &str = "name = \"one\"\nstore = \"fabric.db\"\n[agents]\nlisten = [\"127.0.0.1:0\"]\n\
    [tls]\ncertificate = \"controller-one.crt\"\nkey = \"controller-one.key\"\nroots = \
    [\"pki/ca.crt\"]\nrevocations = [\"pki/crl.pem\"]\n";

/// Ended when it goes.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after this.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(site: &Site) -> Command {
    let file = site.path("controller.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sillon"));
    command.args(["controller", "--config"]).arg(file);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts it, and waits until it is ready.
fn start(site: &Site) -> (Process, SocketAddr) {
    let mut process = Process(command(site).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let at =
        line.strip_prefix("ready: controller one, agents at ").unwrap_or_else(|| panic!("{line}"));
    let at = at.trim().parse().unwrap();
    (process, at)
}

#[test]
fn a_wrong_file_is_told_with_its_place_and_what_it_names_with_its_path() {
    let site = Site::new(&["127.0.0.1"]);
    for (from, to, code, what) in [
        ("127.0.0.1:0", "127.0.0.1", 2, "controller.toml:4:11: error: invalid socket address"),
        ("store = ", "stroe = ", 2, "controller.toml:2:1: error: unknown field `stroe`"),
        ("controller-one.key", "none.key", 1, "none.key: No such file"),
        ("fabric.db", "pki/ca.crt", 1, "pki/ca.crt: "),
        ("127.0.0.1:0", "192.0.2.1:7471", 1, "listening at 192.0.2.1:7471 for agents"),
    ] {
        assert!(FILE.contains(from));
        std::fs::write(site.path("controller.toml"), FILE.replace(from, to)).unwrap();
        let output = command(&site).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(what), "{said}");
    }
}

/// Files of a directory with some of these rights.
fn with_rights(dir: &std::path::Path, rights: u32) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt;
    let all = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let open = all.filter(|entry| entry.metadata().unwrap().permissions().mode() & rights != 0);
    open.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn a_controllers_files_are_its_users_alone_whoever_starts_it_and_stay_so() {
    let site = Site::new(&["127.0.0.1"]);
    std::fs::create_dir(site.path("own")).unwrap();
    std::fs::write(site.path("controller.toml"), FILE.replace("fabric.db", "own/fabric.db"))
        .unwrap();
    // One from before is closed, too, but to a group that somebody gave it to.
    for old in [false, true] {
        if old {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            std::fs::set_permissions(site.path("own/fabric.db"), mode).unwrap();
        }
        let mut command = Command::new("sh");
        command.args(["-c", "umask 000; exec \"$0\" controller --config \"$1\""]);
        command.arg(env!("CARGO_BIN_EXE_sillon")).arg(site.path("controller.toml"));
        let mut process =
            Process(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("ready: "), "{line}");
        assert!(std::fs::read_dir(site.path("own")).unwrap().count() > 1, "there is a log besides");
        let rights = if old { 0o007 } else { 0o077 };
        assert_eq!(with_rights(&site.path("own"), rights), [""; 0], "old: {old}");
    }
}

#[test]
fn a_secret_that_others_may_read_is_refused_as_a_key_is() {
    let site = Site::new(&["127.0.0.1"]);
    let (api, audit) = (site.path("api.secret"), site.path("audit.key"));
    std::fs::write(&api, [7; 32]).unwrap();
    std::fs::write(&audit, sillon::audit::Signer::generate("north").unwrap().to_pem().unwrap())
        .unwrap();
    let parts = "[api]\nlisten = [\"127.0.0.1:0\"]\nsecret = \"api.secret\"\n[audit]\nname = \
        \"north\"\nkey = \"audit.key\"\n";
    std::fs::write(site.path("controller.toml"), format!("{FILE}{parts}")).unwrap();
    let chmod = |path, mode| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    for (path, name) in [(&api, "api.secret"), (&audit, "audit.key")] {
        chmod(&api, 0o600);
        chmod(&audit, 0o600);
        chmod(path, 0o644);
        let mut process = Process(command(&site).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "", "it starts with an open {name}");
        let mut said = String::new();
        std::io::Read::read_to_string(&mut process.0.stderr.take().unwrap(), &mut said).unwrap();
        assert!(said.contains(name) && said.contains("chmod"), "{said}");
        assert_eq!(process.0.wait().unwrap().code(), Some(1));
    }
    chmod(&audit, 0o600);
    chmod(&api, 0o640);
    let mut process = Process(command(&site).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("ready: "), "{line}");
}

#[tokio::test]
async fn a_controller_that_is_killed_serves_the_same_again_and_one_that_is_ended_says_so() {
    let site = Site::new(&["127.0.0.1"]);
    std::fs::write(site.path("controller.toml"), FILE).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let before = Running::start(&site, listener).await;
    before.does(leased()).await;
    before.does(vec![lan("alder/lan"), attach("alder/a1", "edge1/p0")]).await;
    before.stop().await;

    let (process, at) = start(&site);
    let tls = site.tls("node-edge1");
    let mut agent = hello(at, &tls, "edge1", Parts::default()).await.unwrap();
    let first = agent.follow().await;
    assert!(agent.parts.text().contains("alder.lan"));
    let parts = agent.parts.clone();
    drop(process);
    assert!(timeout(PATIENCE, agent.updates.message()).await.unwrap().is_err());

    let (mut process, at) = start(&site);
    let mut agent = hello(at, &tls, "edge1", parts.clone()).await.unwrap();
    let again = agent.next().await;
    assert!(again.parts.is_empty() && again.digest == parts.digest());
    assert!(
        again.term > first.term && again.revision >= first.revision,
        "{} {}",
        again.term,
        first.term
    );
    kill(Pid::from_raw(i32::try_from(process.0.id()).unwrap()), Signal::SIGTERM).unwrap();
    let ended = timeout(PATIENCE, agent.updates.message()).await.unwrap();
    assert!(ended.is_err_and(|status| status.code() == Code::Unavailable));
    assert!(process.0.wait().unwrap().success());
}
