//! The commands, against `sillon controller` as it is installed: its own process, its own CA.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use jiff::Timestamp;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use sillon::pki::{Directory, Lifetime, Wanted, Which};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
    time::timeout,
};

const BINARY: &str = env!("CARGO_BIN_EXE_sillon");
const PATIENCE: Duration = Duration::from_secs(60);

/// A controller that runs, and contexts of all who ask it.
pub struct Fabric {
    dir: TempDir,
    pki: Directory,
    controller: Child,
}

/// What a command did.
#[derive(Debug)]
pub struct Done {
    code: i32,
    pub out: String,
    pub err: String,
}

/// Who has a context.
const ALL: [&str; 5] = ["owner", "operator-alder", "operator-birch", "operator-cedar", "auditor"];

impl Done {
    #[track_caller]
    pub fn is(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.out
    }
}

impl Fabric {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        let now = Timestamp::now();
        let mut pki =
            Directory::init(&path.join("ca"), &"test".parse().unwrap(), now, Lifetime::CA).unwrap();
        for subject in [
            "controller/one",
            "owner",
            "operator/alder",
            "operator/birch",
            "operator/cedar",
            "auditor",
        ] {
            let names = if subject.starts_with("controller") {
                vec!["127.0.0.1".to_owned()]
            } else {
                Vec::new()
            };
            let subject = subject.parse().unwrap();
            let wanted = Wanted { subject, names, lifetime: None, request: None };
            let delivered = pki.issue(&wanted, now).unwrap();
            let stem = path.join(wanted.subject.file_stem());
            delivered.write_new(&stem.with_extension("crt"), &stem.with_extension("key")).unwrap();
        }
        let ca = crate::api::site::pem("CERTIFICATE", pki.authority().certificate());
        std::fs::write(path.join("ca.crt"), ca).unwrap();
        let lists = pki.revocation_list();
        let key = path.join("audit.key").display().to_string();
        let made = Command::new(BINARY)
            .args(["audit", "key", "--name", "test/audit", "--out", &key])
            .output()
            .await
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let config = format!(
            "store = \"fabric.db\"\n[agents]\nlisten = [\"127.0.0.1:0\"]\n[api]\nlisten = [\"127.0.0.1:0\"]\n[tls]\n\
             certificate = \"controller-one.crt\"\nkey = \"controller-one.key\"\nroots = [\"ca.crt\"]\nrevocations = [{:?}]\n\
             [audit]\nname = \"test/audit\"\nkey = \"audit.key\"\n",
            lists.display().to_string()
        );
        std::fs::write(path.join("controller.toml"), config).unwrap();
        let (controller, server) = start(path).await;
        let fabric = Self { dir, pki, controller };
        fabric.contexts(&server).await;
        fabric
    }

    /// Kills the controller, and starts it again.
    pub async fn kill(&mut self) {
        self.controller.kill().await.unwrap();
    }

    /// Starts the controller again.
    pub async fn restart(&mut self) {
        let (controller, server) = start(self.dir.path()).await;
        self.controller = controller;
        self.contexts(&server).await;
    }

    async fn contexts(&self, server: &str) {
        for who in ALL {
            let file = |ending: &str| self.path(&format!("{who}.{ending}")).display().to_string();
            let (url, ca) =
                (format!("https://{server}"), self.path("ca.crt").display().to_string());
            let (cert, key) = (file("crt"), file("key"));
            let args = [
                "context", "set", who, "--server", &url, "--cert", &cert, "--key", &key, "--ca",
                &ca,
            ];
            self.run(&args).await.is(0);
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .args(args)
            .env("SILLON_CONTEXTS", self.path("contexts.toml"))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    pub async fn run(&self, args: &[&str]) -> Done {
        let output = timeout(PATIENCE, self.command(args).output()).await.unwrap().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Done {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    pub async fn as_who(&self, who: &str, args: &[&str]) -> Done {
        self.run(&[args, &["--context", who]].concat()).await
    }

    pub async fn owner(&self, args: &[&str]) -> Done {
        self.as_who("owner", args).await
    }

    pub async fn alder(&self, args: &[&str]) -> Done {
        self.as_who("operator-alder", args).await
    }

    /// Ends the controller as a service manager would.
    pub async fn stop(mut self) {
        let id = Pid::from_raw(self.controller.id().unwrap().try_into().unwrap());
        kill(id, Signal::SIGTERM).unwrap();
        let status = timeout(PATIENCE, self.controller.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
    }
}

/// Starts a controller in its directory, and says where its API is.
async fn start(path: &Path) -> (Child, String) {
    let mut controller = Command::new(BINARY)
        .args(["controller", "--config"])
        .arg(path.join("controller.toml"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(controller.stdout.take().unwrap()).lines();
    let ready = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    let server = ready.split("API at ").nth(1).unwrap_or_else(|| panic!("{ready}"));
    (controller, server.to_owned())
}

pub const SITE: &str = "\
kind: operator
name: alder
spec: { vnis: [[100, 199]], ceiling: { mtu: 9000 } }
---
kind: node
name: edge1
spec: { vtep: [10.99.0.1] }
---
kind: port
name: edge1/p1
spec: { role: access }
---
kind: server
name: s1
spec: { ports: [edge1/p1] }
";

const SEGMENT: &str = "\
[[object]]
kind = \"segment\"
name = \"alder/lan\"
spec = { service = \"lan\", mtu = 9000 }
";

#[tokio::test]
async fn files_are_compared_applied_and_read_back() {
    let fabric = Fabric::new().await;
    let site = fabric.write("site.yaml", SITE);
    // Nothing is there yet: a difference, which is done only when somebody agrees.
    let shown = fabric.owner(&["diff", "-f", &site]).await.is(3);
    assert!(
        shown.contains("+ operator/alder") && shown.ends_with("4 to make, 0 to change\n"),
        "{shown}"
    );
    assert!(fabric.owner(&["apply", "-f", &site]).await.err.contains("--yes"));
    fabric.owner(&["diff", "-f", &site]).await.is(3);
    fabric.owner(&["apply", "-f", &site, "--yes"]).await.is(0);
    // The unchanged is a silent no-op.
    assert_eq!(fabric.owner(&["apply", "-f", &site]).await.is(0), "");
    assert_eq!(fabric.owner(&["diff", "-f", &site]).await.is(0), "");

    fabric.owner(&["lease", "offer", "alder/l1", "--server", "s1"]).await.is(0);
    assert_eq!(
        fabric.alder(&["lease", "accept", "alder/l1"]).await.is(0),
        "lease/alder/l1 is active\n"
    );
    let segment = fabric.write("segment.toml", SEGMENT);
    fabric.alder(&["apply", "-f", &segment, "--yes"]).await.is(0);
    let made =
        fabric.alder(&["attach", "alder/lan", "edge1/p1", "dot1q 7", "--name", "a"]).await.is(0);
    assert_eq!(made, "attachment/alder/a is made: \"dot1q 7\" on edge1/p1\n");

    let changed = fabric.write("segment.toml", &SEGMENT.replace("9000", "2000"));
    let shown = fabric.alder(&["diff", "-f", &changed]).await.is(3);
    assert!(shown.contains("- mtu: 9000") && shown.contains("+ mtu: 2000"), "{shown}");
    fabric.alder(&["apply", "-f", &changed, "--yes"]).await.is(0);
    let json: Value = serde_json::from_str(
        &fabric.alder(&["get", "segment", "alder/lan", "-o", "json"]).await.is(0),
    )
    .unwrap();
    assert_eq!(json["spec"]["mtu"], 2000);
    // What is printed as YAML is what apply reads.
    let all = fabric.alder(&["get", "segments", "-o", "yaml"]).await.is(0);
    let printed = fabric.write("printed.yaml", &all);
    assert_eq!(fabric.alder(&["diff", "-f", &printed]).await.is(0), "");
    let table = fabric.alder(&["get", "attachments"]).await.is(0);
    assert!(table.contains("alder/a") && table.contains("dot1q 7"), "{table}");
    assert!(fabric.alder(&["describe", "segment", "alder/lan"]).await.is(0).contains("Accepted"));
    // No agent runs here: nothing is carried out, and the port's description says so.
    for described in [["port", "edge1/p1"], ["node", "edge1"], ["server", "s1"]] {
        let text = fabric.owner(&["describe", described[0], described[1]]).await.is(0);
        assert!(text.contains("not programmed") && text.contains("alder/a"), "{text}");
    }
    fabric.alder(&["detach", "alder/a"]).await.is(0);
    let text = fabric.owner(&["describe", "port", "edge1/p1"]).await.is(0);
    assert!(!text.contains("not programmed"), "{text}");
    fabric.alder(&["delete", "segment", "alder/lan"]).await.is(0);
    fabric.alder(&["get", "segment", "alder/lan"]).await.is(1);
    fabric.stop().await;
}

#[tokio::test]
async fn exit_codes_say_what_kind_of_failure_it_is() {
    let fabric = Fabric::new().await;
    let site = fabric.write("site.yaml", SITE);
    assert_eq!(fabric.alder(&["whoami"]).await.is(0), "operator/alder\n");
    // The first context that was made is the current one.
    assert_eq!(fabric.run(&["whoami"]).await.is(0), "owner\n");
    fabric.run(&["context", "use", "auditor"]).await.is(0);
    assert_eq!(fabric.run(&["whoami"]).await.is(0), "auditor\n");
    assert!(fabric.run(&["context", "list"]).await.is(0).contains("operator-birch"));
    // 4: no right.
    fabric.alder(&["apply", "-f", &site, "--yes"]).await.is(4);
    fabric.run(&["apply", "-f", &site, "--yes"]).await.is(4);
    fabric.alder(&["get", "nodes"]).await.is(4);
    fabric.alder(&["lease", "transfer", "s1", "--to", "alder/l2"]).await.is(4);
    fabric.owner(&["apply", "-f", &site, "--yes"]).await.is(0);
    // 2: wrong input or usage.
    let wrong =
        fabric.write("wrong.yaml", "kind: segment\nname: alder/lan\nspec: { service: ring }\n");
    assert!(
        fabric
            .alder(&["apply", "-f", &wrong, "--yes"])
            .await
            .err
            .contains("wrong.yaml: segment/alder/lan")
    );
    fabric.alder(&["apply", "-f", &wrong, "--yes"]).await.is(2);
    fabric.alder(&["get", "colours"]).await.is(2);
    // 1: it can't be done.
    fabric.alder(&["delete", "segment", "alder/none"]).await.is(1);
    fabric.owner(&["lease", "accept", "alder/none"]).await.is(1);
    assert!(fabric.run(&["whoami", "--context", "none"]).await.err.contains("there are: auditor"));
    fabric.stop().await;
}

#[tokio::test]
async fn several_objects_are_one_transaction() {
    let fabric = Fabric::new().await;
    let site = fabric.write("site.yaml", SITE);
    fabric.owner(&["apply", "-f", &site, "--yes"]).await.is(0);
    let more = "---\nkind: attachment\nname: alder/a\nspec: \
        { segment: lan, port: edge1/p1, encap: port }\n";
    let two = fabric.write(
        "two.yaml",
        &format!("kind: segment\nname: alder/lan\nspec: {{ service: lan }}\n{more}"),
    );
    let refused = fabric.alder(&["apply", "-f", &two, "--yes"]).await;
    assert!(refused.err.contains("has no right to"), "{refused:?}");
    refused.is(4);
    fabric.alder(&["get", "segment", "alder/lan"]).await.is(1);
    fabric.stop().await;
}

async fn until(lines: &mut Lines<BufReader<ChildStderr>>, text: &str) {
    let found = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(text) {
                return;
            }
        }
        panic!("it ended without {text:?}");
    };
    timeout(PATIENCE, found).await.unwrap();
}

#[tokio::test]
async fn who_is_revoked_is_cut_off() {
    let mut fabric = Fabric::new().await;
    let site = fabric.write("site.yaml", SITE);
    fabric.owner(&["apply", "-f", &site, "--yes"]).await.is(0);
    let mut events = fabric
        .command(&["events", "-f", "--context", "operator-alder"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(events.stdout.take().unwrap()).lines();
    let mut complaints = BufReader::new(events.stderr.take().unwrap()).lines();
    let segment = fabric.write("segment.toml", SEGMENT);
    // The stream may begin after any one of them.
    let mut mtu = 2000;
    let first = loop {
        let text = SEGMENT.replace("9000", &mtu.to_string());
        fabric.write("segment.toml", &text);
        fabric.alder(&["apply", "-f", &segment, "--yes"]).await.is(0);
        mtu += 1;
        if let Ok(line) = timeout(Duration::from_millis(500), told.next_line()).await {
            break line.unwrap().unwrap();
        }
    };
    assert!(first.ends_with("operator/alder  put segment/alder/lan"), "{first}");
    fabric
        .pki
        .revoke(&Which::Subject("operator/alder".parse().unwrap()), Timestamp::now())
        .unwrap();
    let id = Pid::from_raw(fabric.controller.id().unwrap().try_into().unwrap());
    kill(id, Signal::SIGHUP).unwrap();
    until(&mut complaints, "trying again").await;
    fabric.alder(&["whoami"]).await.is(1);
    fabric.as_who("operator-birch", &["whoami"]).await.is(0);
    events.kill().await.unwrap();
    fabric.stop().await;
}

#[tokio::test]
async fn events_are_told_up_to_now() {
    let fabric = Fabric::new().await;
    let site = fabric.write("site.yaml", SITE);
    fabric.owner(&["apply", "-f", &site, "--yes"]).await.is(0);
    let told = fabric.owner(&["events", "--after", "0", "--json"]).await.is(0);
    let first: Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["who"], &first["id"], first["events"].as_array().unwrap().len()),
        (&"owner".into(), &"1".into(), 4)
    );
    assert!(Path::new(&site).exists());
    fabric.stop().await;
}

/// What `examples/` and docs/how-to/install.md say, in their order.
#[tokio::test]
async fn the_examples_do_what_is_said_of_them() {
    let fabric = Fabric::new().await;
    let example = |name: &str| format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"));
    fabric.owner(&["apply", "-f", &example("owner.yaml"), "--yes"]).await.is(0);
    // Not before it has accepted.
    fabric.alder(&["apply", "-f", &example("alder.yaml"), "--yes"]).await.is(4);
    let operators = [
        ("operator-alder", "alder.yaml"),
        ("operator-birch", "birch.toml"),
        ("operator-cedar", "cedar.yaml"),
    ];
    for (who, file) in operators {
        let leases = fabric.as_who(who, &["get", "leases", "-o", "json"]).await.is(0);
        let leases: Vec<Value> = serde_json::from_str(&leases).unwrap();
        assert!(leases.len() >= 2, "{leases:?}");
        for lease in leases {
            fabric.as_who(who, &["lease", "accept", lease["name"].as_str().unwrap()]).await.is(0);
        }
        fabric.as_who(who, &["apply", "-f", &example(file), "--yes"]).await.is(0);
        assert_eq!(fabric.as_who(who, &["diff", "-f", &example(file)]).await.is(0), "");
    }
    fabric.owner(&["lease", "transfer", "s7", "--to", "birch/s7"]).await.is(0);
    let gone = fabric.alder(&["diff", "-f", &example("alder.yaml")]).await.is(3);
    assert!(gone.contains("+ attachment/alder/s7"), "{gone}");
    fabric.stop().await;
}
