//! A controller with its API on a port of this machine, with a CA of its own; and clients of all
//! roles.

use std::{
    net::SocketAddr,
    sync::{Arc, Once},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use reqwest::{Client, Method, Response, StatusCode};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};
use sillon::{
    api::{self, Api, Limits, Tokens},
    controller::{Controller, Settings},
    store::Embedded,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// A site that runs.
pub struct Site {
    pub address: SocketAddr,
    pub controller: Controller<Embedded>,
    ca: CertifiedIssuer<'static, KeyPair>,
    stop: CancellationToken,
    listener: JoinHandle<()>,
    _dir: TempDir,
}

/// Who asks, over one connection.
#[derive(Clone)]
pub struct Asker {
    client: Client,
    base: String,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub tag: Option<String>,
    pub kind: String,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The word of a problem; every answer that is no success is one.
    #[track_caller]
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(self.kind, "application/problem+json", "{self:?}");
        let json = self.json();
        assert_eq!(json["status"], self.status, "{self:?}");
        for field in ["title", "detail"] {
            assert!(json[field].as_str().is_some_and(|text| !text.is_empty()), "{self:?}");
        }
        let word =
            json["type"].as_str().unwrap().strip_prefix("urn:sillon:problem:").unwrap().to_owned();
        (self.status, word)
    }

    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

/// The owner's part: two operators; s1 rented by alder and s2 by birch; a handover port granted to
/// both.
pub const SITE: &[(&str, &str)] = &[
    ("operators/alder", r#"{"vnis":[[100,199]],"ceiling":{"mtu":9000,"dscp":[40]}}"#),
    ("operators/birch", r#"{"vnis":[[200,299]]}"#),
    ("nodes/edge1", r#"{"vtep":["10.99.0.1"]}"#),
    ("nodes/edge2", r#"{"vtep":["10.99.0.2"]}"#),
    ("ports/edge1/up0", r#"{"role":"uplink"}"#),
    ("ports/edge2/up0", r#"{"role":"uplink"}"#),
    ("ports/edge1/p1", r#"{"role":"access"}"#),
    ("ports/edge1/p2", r#"{"role":"access"}"#),
    ("ports/edge2/p3", r#"{"role":"access"}"#),
    (
        "ports/edge1/h0",
        r#"{"role":"handover","grants":{"alder":{"vids":[[10,12]]},"birch":{"vids":[[20,22]]}}}"#,
    ),
    ("servers/s1", r#"{"ports":["edge1/p1"]}"#),
    ("servers/s2", r#"{"ports":["edge1/p2"]}"#),
    ("servers/s3", r#"{"ports":["edge2/p3"]}"#),
    ("leases/alder/l1", r#"{"server":"s1"}"#),
    ("leases/birch/l2", r#"{"server":"s2"}"#),
];

impl Site {
    /// An empty fabric.
    pub async fn empty() -> Self {
        Self::with(
            Limits {
                rate: u32::MAX.try_into().unwrap(),
                burst: u32::MAX.try_into().unwrap(),
                ..Limits::default()
            },
            Settings::default(),
        )
        .await
    }

    /// With the owner's part.
    pub async fn new() -> Self {
        let site = Self::empty().await;
        site.build().await;
        site
    }

    pub async fn build(&self) {
        let owner = self.owner();
        for (path, spec) in SITE {
            let spec: Value = serde_json::from_str(spec).unwrap();
            owner.put(path, json!({ "spec": spec })).await.is(201);
        }
        for (operator, lease) in [("alder", "l1"), ("birch", "l2")] {
            self.operator(operator)
                .post(&format!("leases/{operator}/{lease}/accept"), None)
                .await
                .is(200);
        }
    }

    pub async fn with(limits: Limits, settings: Settings) -> Self {
        static PROVIDER: Once = Once::new();
        // Another test's process has its own.
        PROVIDER.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
        let dir = tempfile::tempdir().unwrap();
        let store = Embedded::open(&dir.path().join("store.db")).unwrap();
        let controller = Controller::open(store, settings).await.unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let config = Arc::new(server_config(&ca));
        let stop = CancellationToken::new();
        let api =
            Api::new(Arc::new(controller.clone()), Tokens::random().unwrap(), limits, stop.clone());
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let listener = tokio::spawn(api::serve(tcp, config, api));
        Self { address, controller, ca, stop, listener, _dir: dir }
    }

    /// Stops the listener, which returns.
    pub async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(20), self.listener).await.unwrap().unwrap();
        self.controller.close().await;
    }

    /// A certificate with this URI, and its key.
    pub fn issue(&self, uri: Option<&str>) -> (CertificateDer<'static>, KeyPair) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names.extend(uri.map(|uri| SanType::URI(uri.try_into().unwrap())));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        (certificate.der().clone(), key)
    }

    pub fn ca_pem(&self) -> String {
        self.ca.pem()
    }

    pub fn ca_der(&self) -> CertificateDer<'static> {
        self.ca.der().clone()
    }

    pub fn asker(&self, uri: Option<&str>) -> Asker {
        let (certificate, key) = self.issue(uri);
        let pem = format!("{}{}", pem("CERTIFICATE", &certificate), key.serialize_pem());
        let client = Client::builder()
            .identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap())
            .tls_certs_only([reqwest::Certificate::from_pem(self.ca.pem().as_bytes()).unwrap()])
            .build()
            .unwrap();
        Asker { client, base: format!("https://{}/v1/", self.address) }
    }

    pub fn owner(&self) -> Asker {
        self.asker(Some("sillon:owner"))
    }

    pub fn operator(&self, name: &str) -> Asker {
        self.asker(Some(&format!("sillon:operator/{name}")))
    }
}

pub fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn server_config(ca: &CertifiedIssuer<'static, KeyPair>) -> ServerConfig {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::IpAddress("127.0.0.1".parse().unwrap()));
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap()
}

impl Asker {
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Answer {
        read(self.raw(method, path, headers, body).await).await
    }

    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Response {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        request.send().await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    pub async fn json(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Answer {
        let all = [&[("content-type", "application/json")], headers].concat();
        self.send(method, path, &all, Some(body.to_string().into_bytes())).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.json(Method::PUT, path, &[], body).await
    }

    pub async fn patch(&self, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        let all = [&[("content-type", "application/merge-patch+json")], headers].concat();
        self.send(Method::PATCH, path, &all, Some(body.to_string().into_bytes())).await
    }

    pub async fn post(&self, path: &str, body: Option<Value>) -> Answer {
        match body {
            Some(body) => self.json(Method::POST, path, &[], body).await,
            None => self.send(Method::POST, path, &[], None).await,
        }
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], None).await
    }

    pub async fn batch(&self, changes: Value) -> Answer {
        self.post("transactions", Some(json!({ "changes": changes }))).await
    }
}

pub async fn read(response: Response) -> Answer {
    let text =
        |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (status, tag, kind) =
        (response.status(), text("etag"), text("content-type").unwrap_or_default());
    assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR);
    Answer { status: status.as_u16(), tag, kind, text: response.text().await.unwrap() }
}
