//! etcd that speaks TLS, and asks who we are.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sillon::store::{Etcd, EtcdOptions, EtcdTls, Store, StoreError, Version};
use sillon_rig::Mounts;

use super::suite::{commit, write};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(dir: &Path, name: &str) -> (Self, PathBuf) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = dir.join(format!("{name}.pem"));
        std::fs::write(&file, issuer.pem()).unwrap();
        (Self(issuer), file)
    }

    fn issue(&self, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let files = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        std::fs::write(&files.0, certificate.pem()).unwrap();
        std::fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }
}

#[test]
fn etcd_is_spoken_to_with_tls_and_who_has_no_certificate_or_the_wrong_authority_gets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (authority, ca) = Authority::new(dir, "ours");
    let (_, other_ca) = Authority::new(dir, "other");
    let (server, client) = (authority.issue(dir, "server"), authority.issue(dir, "client"));
    let netns = Mounts::new().unwrap().netns("tls").unwrap();
    let mut command = netns.command("etcd");
    command.args([
        "--logger",
        "zap",
        "--log-level",
        "error",
        "--listen-client-urls",
        "https://127.0.0.1:2379",
    ]);
    command.args(["--advertise-client-urls", "https://127.0.0.1:2379", "--client-cert-auth"]);
    command.arg("--data-dir").arg(dir.join("data")).arg("--trusted-ca-file").arg(&ca);
    command.arg("--cert-file").arg(&server.0).arg("--key-file").arg(&server.1);
    let mut etcd = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let done = netns.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(who_gets_in(&ca, &other_ca, client));
        Ok(())
    });
    etcd.kill().unwrap();
    etcd.wait().unwrap();
    done.unwrap();
}

async fn who_gets_in(ca: &Path, other_ca: &Path, client: (PathBuf, PathBuf)) {
    let options = |tls| EtcdOptions { tls, ..EtcdOptions::new(["127.0.0.1:2379"]) };
    let tls =
        |ca: &Path, identity| Some(EtcdTls { ca: ca.to_owned(), identity, server_name: None });
    // It may take a while until etcd is there.
    let store = Etcd::open(options(tls(ca, Some(client.clone())))).await.unwrap();
    let one = store.commit(commit(Version(0), vec![write("a", "1")])).await.unwrap();
    assert_eq!(store.snapshot().await.unwrap().version, one);
    for (tls, what) in [
        (None, ""),
        (tls(ca, None), ""),
        (tls(other_ca, Some(client.clone())), "UnknownIssuer"),
        (tls(Path::new("/nowhere.pem"), None), "/nowhere.pem: No such file"),
    ] {
        let refused = Etcd::open(EtcdOptions { deadline: Duration::from_secs(1), ..options(tls) })
            .await
            .map(drop);
        let Err(StoreError::Failed(said)) = refused else { panic!("{refused:?}") };
        println!("{said}");
        assert!(said.contains(what), "{said}");
    }
}
