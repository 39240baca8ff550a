//! A controller in this process, with its CA; and what the owner and two operators ask of it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use sillon::{
    controller::{Committed, Controller, Request, Settings, SubmitError},
    fabric::{Actor, Change, ConditionKind, Expect, Key, LeaseStep, Owned, Revision},
    pki::{Directory, Lifetime, Tls, TlsFiles, Wanted},
    southbound::{self, ServeError},
    store::Embedded,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes, also while other tests run.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// A CA, and a place for what is written.
pub struct Site {
    pub dir: TempDir,
}

impl Site {
    /// With certificates of a controller at these names, of two nodes, and of others.
    pub fn new(names: &[&str]) -> Self {
        let site = Self { dir: tempfile::tempdir().unwrap() };
        let now = Timestamp::now();
        let fabric = "test".parse().unwrap();
        let mut ca = Directory::init(&site.path("pki"), &fabric, now, Lifetime::CA).unwrap();
        for subject in
            ["controller/one", "node/edge1", "node/edge2", "owner", "operator/alder", "auditor"]
        {
            let names = if subject.starts_with("controller") { names } else { &[] };
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let subject: sillon::pki::Subject = subject.parse().unwrap();
            let stem = subject.file_stem();
            let made =
                ca.issue(&Wanted { subject, names, lifetime: None, request: None }, now).unwrap();
            std::fs::write(site.path(&format!("{stem}.crt")), made.certificate).unwrap();
            let key = site.path(&format!("{stem}.key"));
            std::fs::write(&key, made.key.unwrap()).unwrap();
            std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600))
                .unwrap();
        }
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The TLS of one of them.
    pub fn tls(&self, stem: &str) -> Tls {
        Tls::load(TlsFiles {
            certificate: self.path(&format!("{stem}.crt")),
            key: self.path(&format!("{stem}.key")),
            roots: vec![self.path("pki/ca.crt")],
            revocations: vec![self.path("pki/crl.pem")],
        })
        .unwrap()
    }

    pub fn revoke(&self, subject: &str) {
        let mut ca = Directory::open(&self.path("pki")).unwrap();
        let which = sillon::pki::Which::Subject(subject.parse().unwrap());
        assert_eq!(ca.revoke(&which, Timestamp::now()).unwrap().len(), 1);
    }
}

/// A controller that runs.
pub struct Running {
    pub controller: Controller<Arc<Embedded>>,
    pub tls: Tls,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    /// On the site's store, served at a listener.
    pub async fn start(site: &Site, listener: std::net::TcpListener) -> Self {
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let store = Arc::new(open(&site.path("fabric.db")));
        let controller = Controller::open(store, Settings::default()).await.unwrap();
        let (tls, stop) = (site.tls("controller-one"), CancellationToken::new());
        controller.lead().wait_for(Option::is_some).await.unwrap();
        let serving = tokio::spawn(southbound::serve(
            controller.clone(),
            vec![listener],
            tls.clone(),
            stop.clone(),
        ));
        Self { controller, tls, stop, serving }
    }

    /// Ends it as SIGTERM does. Then nobody has the store open any more.
    pub async fn stop(self) {
        self.stop.cancel();
        self.controller.close().await;
        self.serving.await.unwrap().unwrap();
    }

    pub async fn tries(&self, who: Actor, changes: Vec<Change>) -> Result<Committed, SubmitError> {
        self.controller.submit(Request { who, changes, dry_run: false }).await
    }

    pub async fn does(&self, changes: Vec<Change>) -> Revision {
        self.tries(Actor::Owner, changes).await.unwrap().revision
    }

    /// Waits until the state is so.
    pub async fn until(&self, what: &str, mut is_so: impl FnMut(&sillon::fabric::State) -> bool) {
        let waiting = async {
            loop {
                let state = self.controller.state();
                if is_so(&state) {
                    return;
                }
                let mut commits = self.controller.watch(state.revision()).unwrap();
                futures::StreamExt::next(&mut commits).await.unwrap();
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            let state = self.controller.state();
            let objects: Vec<String> =
                state.objects().map(|(key, object)| format!("{key}: {object:?}")).collect();
            panic!("not in time: {what}\n{}", objects.join("\n"));
        }
    }

    /// Waits until a condition of an object is so.
    pub async fn condition(&self, key: &str, kind: ConditionKind, is: bool) {
        let object: Key = key.parse().unwrap();
        let is_so = |state: &sillon::fabric::State| {
            let condition =
                state.get(&object).and_then(|object| object.conditions.get(&kind).cloned());
            condition.is_some_and(|condition| condition.is == is)
        };
        self.until(&format!("{kind:?} of {key} is {is}"), is_so).await;
    }
}

/// What is killed gives its file free a moment after it is gone.
fn open(path: &Path) -> Embedded {
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        match Embedded::open(path) {
            Ok(store) => return store,
            Err(error) if std::time::Instant::now() > end => panic!("{error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub fn put(key: &str, spec: &str) -> Change {
    let kind = key.split('/').next().unwrap();
    let spec = format!(r#"{{"kind":"{kind}","spec":{spec}}}"#);
    Change::Put(key.parse().unwrap(), serde_json::from_str(&spec).unwrap(), Expect::Any)
}

pub fn delete(key: &str) -> Change {
    Change::Delete(key.parse().unwrap(), Expect::Any)
}

pub fn owned(operator: &str, name: &str) -> Owned {
    Owned { operator: operator.parse().unwrap(), name: name.parse().unwrap() }
}

pub fn lan(key: &str) -> Change {
    put(&format!("segment/{key}"), r#"{"service":"lan"}"#)
}

pub fn attach(key: &str, port: &str) -> Change {
    let spec = format!(r#"{{"segment":"lan","port":"{port}","encap":"untagged"}}"#);
    put(&format!("attachment/{key}"), &spec)
}

pub fn accept(operator: &str, lease: &str) -> Change {
    Change::Lease(owned(operator, lease), LeaseStep::Accept)
}

/// Two edges with an uplink and two servers each; s1 and s2 are alder's, s3 and s4 birch's.
///
/// ```text
/// s1 (alder) ─ p0 edge1 p1 ─ s4 (birch)
/// s2 (alder) ─ p0 edge2 p1 ─ s3 (birch)
/// ```
pub fn leased() -> Vec<Change> {
    let mut changes = vec![
        put("operator/alder", r#"{"vnis":[[100,199]],"ceiling":{"mtu":9000,"moves":null}}"#),
        put("operator/birch", r#"{"vnis":[[200,299]]}"#),
        put("node/edge1", r#"{"vtep":["10.99.0.1","fd99::1"]}"#),
        put("node/edge2", r#"{"vtep":["10.99.0.2","fd99::2"]}"#),
    ];
    for edge in ["edge1", "edge2"] {
        for (port, role) in [("up0", "uplink"), ("p0", "access"), ("p1", "access")] {
            changes.push(put(&format!("port/{edge}/{port}"), &format!(r#"{{"role":"{role}"}}"#)));
        }
    }
    let servers = [
        ("s1", "edge1/p0", "alder"),
        ("s2", "edge2/p0", "alder"),
        ("s3", "edge2/p1", "birch"),
        ("s4", "edge1/p1", "birch"),
    ];
    for (server, port, operator) in servers {
        changes.push(put(&format!("server/{server}"), &format!(r#"{{"ports":["{port}"]}}"#)));
        changes.push(put(
            &format!("lease/{operator}/{server}"),
            &format!(r#"{{"server":"{server}"}}"#),
        ));
        changes.push(accept(operator, server));
    }
    changes
}
