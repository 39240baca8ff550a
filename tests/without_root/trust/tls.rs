//! Who gets in, over real connections.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use sillon::{
    identity::Identity,
    model::Name,
    pki::{Delivered, Directory, HTTP, Lifetime, Tls, TlsFiles, Wanted, Which},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A CA, and a controller that trusts it.
struct Bed {
    dir: tempfile::TempDir,
    ca: Directory,
}

/// What the server knows of a connection.
#[derive(Debug)]
struct Met {
    who: Identity,
    chain: Vec<CertificateDer<'static>>,
    /// The first certificate that the server showed.
    server: CertificateDer<'static>,
    protocol: Option<Vec<u8>>,
    kind: Option<HandshakeKind>,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = new_ca(&dir.path().join("ca"));
        let mut bed = Self { dir, ca };
        bed.issue("controller/c1", Timestamp::now())
            .write_new(&bed.path("c1.crt"), &bed.path("c1.key"))
            .unwrap();
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn issue(&mut self, subject: &str, now: Timestamp) -> Delivered {
        issue(&mut self.ca, subject, now)
    }

    fn controller_files(&self) -> TlsFiles {
        self.files("c1", &["ca"])
    }

    /// Of whoever has `name.crt`, and trusts these CAs.
    fn files(&self, name: &str, cas: &[&str]) -> TlsFiles {
        let all = |file: &str| cas.iter().map(|ca| self.path(ca).join(file)).collect();
        TlsFiles {
            certificate: self.path(&format!("{name}.crt")),
            key: self.path(&format!("{name}.key")),
            roots: all("ca.crt"),
            revocations: all("crl.pem"),
        }
    }

    fn controller(&self) -> Tls {
        Tls::load(self.controller_files()).unwrap()
    }

    /// A client with a new certificate of the bed's CA.
    fn client(&mut self, subject: &str) -> Tls {
        let delivered = self.issue(subject, Timestamp::now());
        self.client_with(&delivered, subject)
    }

    fn client_with(&self, delivered: &Delivered, subject: &str) -> Tls {
        self.client_of(delivered, subject, "ca")
    }

    /// It trusts the controller's CA, whoever issued its own certificate.
    fn client_of(&self, delivered: &Delivered, subject: &str, ca: &str) -> Tls {
        let name = format!("{}-{ca}-{}", subject.replace('/', "-"), fastrand::u32(..));
        delivered
            .write_new(&self.path(&format!("{name}.crt")), &self.path(&format!("{name}.key")))
            .unwrap();
        Tls::load(self.files(&name, &["ca"])).unwrap()
    }
}

fn new_ca(path: &Path) -> Directory {
    Directory::init(path, &Name::new("north").unwrap(), Timestamp::now(), Lifetime::CA).unwrap()
}

fn issue(ca: &mut Directory, subject: &str, now: Timestamp) -> Delivered {
    let names =
        if subject.starts_with("controller/") { vec!["127.0.0.1".to_owned()] } else { Vec::new() };
    let wanted = Wanted { subject: subject.parse().unwrap(), names, lifetime: None, request: None };
    ca.issue(&wanted, now).unwrap()
}

fn http(tls: &Tls) -> Arc<ServerConfig> {
    tls.server(&HTTP).unwrap()
}

async fn meet(server: &Tls, client: &Tls) -> Result<Met, String> {
    meet_with(&http(server), &client.client(&HTTP).unwrap(), "127.0.0.1").await
}

/// One connection, with a byte each way: in TLS 1.3 a client learns only then that it was not let
/// in.
async fn meet_with(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Result<Met, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::clone(server));
    let accepted = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream =
            acceptor.accept(stream).await.map_err(|error| format!("server: {error}"))?;
        let mut byte = [0];
        stream.read_exact(&mut byte).await.map_err(|error| format!("server: {error}"))?;
        stream.write_all(&byte).await.map_err(|error| format!("server: {error}"))?;
        stream.flush().await.map_err(|error| format!("server: {error}"))?;
        let (_, tls) = stream.get_ref();
        let chain: Vec<_> =
            tls.peer_certificates().unwrap().iter().map(|one| one.clone().into_owned()).collect();
        Ok((chain, tls.alpn_protocol().map(<[u8]>::to_vec)))
    };
    let connected = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connector = TlsConnector::from(Arc::clone(client));
        let mut stream =
            connector.connect(name, stream).await.map_err(|error| format!("client: {error}"))?;
        stream.write_all(b"x").await.map_err(|error| format!("client: {error}"))?;
        stream.read_exact(&mut [0]).await.map_err(|error| format!("client: {error}"))?;
        let (_, tls) = stream.get_ref();
        Ok((tls.peer_certificates().unwrap()[0].clone().into_owned(), tls.handshake_kind()))
    };
    let (accepted, connected): (Result<_, String>, Result<_, String>) =
        tokio::join!(accepted, connected);
    match (accepted, connected) {
        (Ok((chain, protocol)), Ok((server, kind))) => Ok(Met {
            who: Identity::of_certificate(&chain[0]).unwrap(),
            chain,
            server,
            protocol,
            kind,
        }),
        (accepted, connected) => Err([accepted.err(), connected.err()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("; ")),
    }
}

/// It was not let in, and this is why.
async fn shut_out(server: &Tls, client: &Tls, why: &str) {
    let error = meet(server, client).await.unwrap_err();
    assert!(error.contains(why), "{error}");
}

#[tokio::test]
async fn every_identity_gets_in_as_what_it_is() {
    let mut bed = Bed::new();
    let controller = bed.controller();
    for subject in ["owner", "operator/alder", "auditor", "node/edge1"] {
        let client = bed.client(subject);
        let met = meet(&controller, &client).await.unwrap();
        assert_eq!(met.who.to_string(), subject);
        assert_eq!(met.protocol.as_deref(), Some(&b"h2"[..]));
        assert_eq!(controller.check(&met.chain).unwrap(), met.who);
    }
}

#[tokio::test]
async fn nobody_gets_in_without_a_certificate_or_by_tls_1_2() {
    let mut bed = Bed::new();
    let controller = bed.controller();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(bed.path("ca/ca.crt")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = |version| {
        ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
    };
    let naked = Arc::new(builder(&rustls::version::TLS13).with_no_client_auth());
    let error = meet_with(&http(&controller), &naked, "127.0.0.1").await.unwrap_err();
    assert!(error.contains("server: peer sent no certificates"), "{error}");

    let owner = bed.issue("owner", Timestamp::now());
    let chain = vec![CertificateDer::from_pem_slice(owner.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(owner.key.unwrap().as_bytes()).unwrap();
    let old = Arc::new(builder(&rustls::version::TLS12).with_client_auth_cert(chain, key).unwrap());
    let error = meet_with(&http(&controller), &old, "127.0.0.1").await.unwrap_err();
    assert!(error.contains("server: peer is incompatible"), "{error}");
}

#[tokio::test]
async fn a_foreign_ca_vouches_for_nobody() {
    let bed = Bed::new();
    let mut foreign = new_ca(&bed.path("foreign"));
    let owner = issue(&mut foreign, "owner", Timestamp::now());
    shut_out(&bed.controller(), &bed.client_of(&owner, "owner", "foreign"), "UnknownIssuer").await;
}

#[tokio::test]
async fn who_is_late_or_early_is_shut_out() {
    let mut bed = Bed::new();
    let controller = bed.controller();
    for (days, why) in [(-31, "expired"), (31, "not valid yet")] {
        let when = Timestamp::now() + SignedDuration::from_hours(24 * days);
        let delivered = bed.issue("operator/alder", when);
        let client = bed.client_with(&delivered, "operator/alder");
        shut_out(&controller, &client, why).await;
    }
}

#[tokio::test]
async fn a_server_is_no_client_and_a_client_no_server() {
    let mut bed = Bed::new();
    let controller = bed.controller();
    shut_out(&controller, &bed.client("controller/c2"), "for client authentication").await;

    // alder lets a node connect to it.
    let (alder, node) = (bed.client("operator/alder"), bed.client("node/edge1"));
    shut_out(&alder, &node, "for server authentication").await;
}

#[tokio::test]
async fn a_controller_under_another_name_is_not_taken() {
    let mut bed = Bed::new();
    let client = bed.client("node/edge1").client(&HTTP).unwrap();
    let error = meet_with(&http(&bed.controller()), &client, "127.0.0.2").await.unwrap_err();
    assert!(error.contains("client: invalid peer certificate"), "{error}");
}

#[tokio::test]
async fn who_is_revoked_is_shut_out_at_once_without_a_restart() {
    let mut bed = Bed::new();
    let controller = bed.controller();
    let (alder, birch) = (bed.client("operator/alder"), bed.client("operator/birch"));
    let met = meet(&controller, &alder).await.unwrap();
    let others = meet(&controller, &birch).await.unwrap();

    let mut changed = controller.changed();
    let following = tokio::spawn(controller.follow(Duration::from_millis(20)));
    assert!(!controller.is_revoked(&met.chain));
    bed.ca.revoke(&Which::Subject("operator/alder".parse().unwrap()), Timestamp::now()).unwrap();
    tokio::time::timeout(Duration::from_secs(10), changed.changed()).await.unwrap().unwrap();

    // Whoever holds a connection of alder's is told so.
    assert!(controller.is_revoked(&met.chain));
    assert!(!controller.is_revoked(&others.chain));
    shut_out(&controller, &alder, "Revoked").await;
    assert_eq!(meet(&controller, &birch).await.unwrap().who.to_string(), "operator/birch");

    drop(controller);
    tokio::time::timeout(Duration::from_secs(10), following).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_revoked_controller_is_not_taken() {
    let mut bed = Bed::new();
    let (controller, node) = (bed.controller(), bed.client("node/edge1"));
    meet(&controller, &node).await.unwrap();
    bed.ca.revoke(&Which::File(bed.path("c1.crt")), Timestamp::now()).unwrap();
    node.reload().unwrap();
    shut_out(&controller, &node, "client: invalid peer certificate: Revoked").await;
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_by_a_configuration_that_was_given_out_before() {
    let mut bed = Bed::new();
    let (controller, node) = (bed.controller(), bed.client("node/edge1"));
    let (server, client) = (http(&controller), node.client(&HTTP).unwrap());
    let first = meet_with(&server, &client, "127.0.0.1").await.unwrap();

    let renewed = bed.ca.renew(&bed.path("c1.crt"), None, None, Timestamp::now()).unwrap();
    renewed.replace(&bed.path("c1.crt"), &bed.path("c1.key")).unwrap();
    controller.reload().unwrap();
    let second = meet_with(&server, &client, "127.0.0.1").await.unwrap();
    assert_ne!(first.server, second.server);
    assert_eq!(second.server, controller.certificate().cert[0]);
}

#[tokio::test]
async fn what_is_wrong_changes_nothing_and_what_fits_again_is_taken() {
    let mut bed = Bed::new();
    let (controller, node) = (bed.controller(), bed.client("node/edge1"));
    let shown = controller.certificate();
    let good = fs::read(bed.path("c1.crt")).unwrap();

    let other = bed.issue("controller/c1", Timestamp::now());
    let late = bed.issue("controller/c1", Timestamp::now() - SignedDuration::from_hours(24 * 40));
    let without_key = Delivered { key: None, ..other };
    let wrong: [(&str, &str, &dyn Fn()); 4] = [
        ("c1.crt", "no certificate in it", &|| fs::write(bed.path("c1.crt"), "nothing").unwrap()),
        // As after a crash between the two files of a renewal.
        ("c1.key", "has to be the key", &|| {
            without_key.replace(&bed.path("c1.crt"), &bed.path("c1.key")).unwrap()
        }),
        ("c1.crt", "ended at", &|| {
            late.replace(&bed.path("late.crt"), &bed.path("late.key")).unwrap();
            fs::copy(bed.path("late.crt"), bed.path("c1.crt")).unwrap();
            fs::copy(bed.path("late.key"), bed.path("c1.key")).unwrap();
        }),
        ("crl.pem", "no revocation list in it", &|| fs::write(bed.path("ca/crl.pem"), "").unwrap()),
    ];
    let (key, list) =
        (fs::read(bed.path("c1.key")).unwrap(), fs::read(bed.path("ca/crl.pem")).unwrap());
    for (file, why, make) in wrong {
        make();
        let error = controller.reload().unwrap_err().to_string();
        assert!(error.contains(file) && error.contains(why), "{error}");
        assert_eq!(controller.certificate().cert, shown.cert);
        meet(&controller, &node).await.unwrap();
        fs::write(bed.path("c1.crt"), &good).unwrap();
        fs::write(bed.path("c1.key"), &key).unwrap();
        fs::write(bed.path("ca/crl.pem"), &list).unwrap();
        controller.reload().unwrap();
    }
}

#[tokio::test]
async fn one_ca_follows_another_without_anybody_shut_out() {
    let mut bed = Bed::new();
    let mut next = new_ca(&bed.path("next"));
    let old_node = bed.client("node/edge1");
    let new_node = issue(&mut next, "node/edge2", Timestamp::now());
    let new_node = bed.client_of(&new_node, "node/edge2", "next");

    // A bundle as it is in practice: one file for both.
    let files = TlsFiles {
        roots: vec![bed.path("roots.crt")],
        revocations: vec![bed.path("lists.pem")],
        ..bed.controller_files()
    };
    let bundle = |names: &[&str]| {
        let join = |file: &str| -> String {
            names.iter().map(|ca| fs::read_to_string(bed.path(ca).join(file)).unwrap()).collect()
        };
        fs::write(bed.path("roots.crt"), join("ca.crt")).unwrap();
        fs::write(bed.path("lists.pem"), join("crl.pem")).unwrap();
    };
    bundle(&["ca"]);
    let controller = Tls::load(files).unwrap();
    shut_out(&controller, &new_node, "UnknownIssuer").await;
    bundle(&["ca", "next"]);
    controller.reload().unwrap();
    meet(&controller, &old_node).await.unwrap();
    let met = meet(&controller, &new_node).await.unwrap();
    assert_eq!(met.who.to_string(), "node/edge2");

    // A root without a list, while there are lists: nobody can know whom it revoked.
    fs::copy(bed.path("ca/crl.pem"), bed.path("lists.pem")).unwrap();
    controller.reload().unwrap();
    shut_out(&controller, &new_node, "UnknownRevocationStatus").await;

    bundle(&["next"]);
    controller.reload().unwrap();
    shut_out(&controller, &old_node, "UnknownIssuer").await;
    meet(&controller, &new_node).await.unwrap();
}

#[tokio::test]
async fn nothing_is_resumed() {
    let mut bed = Bed::new();
    let controller = bed.controller();
    let mut eager = ClientConfig::clone(&bed.client("node/edge1").client(&HTTP).unwrap());
    eager.resumption = rustls::client::Resumption::in_memory_sessions(16);
    let (server, eager) = (http(&controller), Arc::new(eager));
    for _ in 0..3 {
        let met = meet_with(&server, &eager, "127.0.0.1").await.unwrap();
        assert_eq!(met.kind, Some(HandshakeKind::Full));
    }
}

#[tokio::test]
async fn an_external_ca_with_an_intermediate_serves_as_well_but_one_identity_it_must_be() {
    let bed = Bed::new();
    let ca_params = |name: &str| {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
    };
    // Keys and signatures that ours does not use.
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let root = CertifiedIssuer::self_signed(ca_params("Bigcorp root"), ed25519).unwrap();
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let between = CertifiedIssuer::signed_by(ca_params("Bigcorp issuing"), p384, &root).unwrap();
    fs::write(bed.path("bigcorp.crt"), root.pem()).unwrap();
    let files = TlsFiles {
        roots: vec![bed.path("bigcorp.crt")],
        revocations: Vec::new(),
        ..bed.controller_files()
    };
    let controller = Tls::load(files).unwrap();

    let client = |name: &str, uris: &[&str]| {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut params = CertificateParams::new(vec!["alder.example".to_owned()]).unwrap();
        params
            .subject_alt_names
            .extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &between).unwrap();
        let delivered = [certificate.pem(), between.pem()].concat();
        fs::write(bed.path(&format!("{name}.crt")), delivered).unwrap();
        fs::write(bed.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(bed.path(&format!("{name}.key")), mode).unwrap();
        Tls::load(bed.files(name, &["ca"])).unwrap()
    };
    let good = client("good", &["sillon:operator/alder", "spiffe://bigcorp/alder"]);
    let met = meet(&controller, &good).await.unwrap();
    assert_eq!((met.who.to_string().as_str(), met.chain.len()), ("operator/alder", 2));
    shut_out(&controller, &client("none", &["spiffe://bigcorp/alder"]), "Missing").await;
    shut_out(&controller, &client("two", &["sillon:owner", "sillon:operator/alder"]), "Several(2)")
        .await;
    shut_out(&controller, &client("wrong", &["sillon:Owner"]), "Wrong").await;
}

#[tokio::test]
async fn a_key_that_everybody_may_use_is_not_used() {
    let bed = Bed::new();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o604);
    fs::set_permissions(bed.path("c1.key"), mode).unwrap();
    let error = Tls::load(bed.controller_files()).unwrap_err().to_string();
    assert!(error.contains("c1.key") && error.contains("chmod"), "{error}");
}
