//! What a request may cost.

use std::{sync::Arc, time::Duration};

use reqwest::Method;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{PrivateKeyDer, ServerName},
};
use serde_json::json;
use sillon::{api::Limits, controller::Settings};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::api::{site::Site, watching::Events};

/// A secured connection that speaks HTTP/1.1 by hand, and takes in little that is not read.
pub async fn connect(site: &Site, uri: &str) -> TlsStream<TcpStream> {
    let (certificate, key) = site.issue(Some(uri));
    let mut roots = RootCertStore::empty();
    roots.add(site.ca_der()).unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(site.address).await.unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost").unwrap(), stream)
        .await
        .unwrap()
}

async fn answer(mut stream: TlsStream<TcpStream>) -> String {
    let mut text = vec![0; 65536];
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut text))
        .await
        .unwrap()
        .unwrap_or(0);
    String::from_utf8_lossy(&text[..read]).into_owned()
}

async fn site(limits: Limits) -> Site {
    Site::with(limits, Settings::default()).await
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let site = site(Limits { body_bytes: 1000, ..Limits::default() }).await;
    let body = format!(r#"{{"spec":{{"vnis":[[1,2]]}}{}}}"#, " ".repeat(1000));
    let headers = [("content-type", "application/json")];
    let answer =
        site.owner().send(Method::PUT, "operators/alder", &headers, Some(body.into_bytes())).await;
    assert_eq!(answer.problem(), (413, "too-large".to_owned()));
    site.stop().await;
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_not_waited_for() {
    let site = site(Limits { body_time: Duration::from_millis(200), ..Limits::default() }).await;
    let mut stream = connect(&site, "sillon:owner").await;
    let head = "PUT /v1/operators/alder HTTP/1.1\r\nhost: x\r\ncontent-type: \
        application/json\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let text = answer(stream).await;
    assert!(
        text.starts_with("HTTP/1.1 408 ") && text.contains("application/problem+json"),
        "{text}"
    );
    site.stop().await;
}

#[tokio::test]
async fn headers_that_are_too_long_or_too_slow_end_the_connection() {
    let limits =
        Limits { header_bytes: 8192, header_time: Duration::from_millis(300), ..Limits::default() };
    let site = site(limits).await;
    let mut stream = connect(&site, "sillon:owner").await;
    let head = format!("GET /v1/whoami HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(10_000));
    stream.write_all(head.as_bytes()).await.unwrap();
    let text = answer(stream).await;
    assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
    let mut stream = connect(&site, "sillon:owner").await;
    stream.write_all(b"GET /v1/whoami HTTP/1.1\r\n").await.unwrap();
    let text = answer(stream).await;
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 408 "), "{text}");
    site.stop().await;
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_ask_again_and_others_are_not() {
    let one = 1.try_into().unwrap();
    let site = site(Limits { rate: one, burst: 3.try_into().unwrap(), ..Limits::default() }).await;
    let alder = site.operator("alder");
    for _ in 0..3 {
        alder.get("whoami").await.is(200);
    }
    let response = alder.raw(Method::GET, "whoami", &[], None).await;
    let after: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&after));
    assert_eq!(crate::api::site::read(response).await.problem(), (429, "too-many".to_owned()));
    // Another connection of the same identity is no way around it.
    assert_eq!(site.operator("alder").get("whoami").await.problem().0, 429);
    site.operator("birch").get("whoami").await.is(200);
    site.stop().await;
}

#[tokio::test]
async fn requests_and_streams_at_once_are_counted() {
    let limits = Limits { at_once: 1, streams: 1, ..Limits::default() };
    let site = site(limits).await;
    let alder = site.operator("alder");
    let mut events = Events::of(&alder, "", None).await;
    events.any().await.unwrap();
    assert_eq!(alder.get("watch").await.problem(), (429, "too-many".to_owned()));
    // A request whose body does not come has the only place.
    let mut stream = connect(&site, "sillon:operator/alder").await;
    let head = "PUT /v1/segments/alder/x HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let refused = async { while alder.get("whoami").await.status != 429 {} };
    tokio::time::timeout(Duration::from_secs(5), refused).await.unwrap();
    site.operator("birch").get("whoami").await.is(200);
    site.stop().await;
}

#[tokio::test]
async fn requests_of_all_at_once_are_counted() {
    let site = site(Limits { at_once_of_all: 1, ..Limits::default() }).await;
    let mut stream = connect(&site, "sillon:operator/alder").await;
    let head = "PUT /v1/segments/alder/x HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let owner = site.owner();
    let refused = async { while owner.get("whoami").await.status != 503 {} };
    tokio::time::timeout(Duration::from_secs(5), refused).await.unwrap();
    assert_eq!(owner.get("whoami").await.problem(), (503, "unavailable".to_owned()));
    site.stop().await;
}

#[tokio::test]
async fn connections_of_one_identity_are_counted() {
    let site = site(Limits { connections_of_one: 1, ..Limits::default() }).await;
    let mut first = connect(&site, "sillon:owner").await;
    let ask = b"GET /v1/whoami HTTP/1.1\r\nhost: x\r\n\r\n";
    first.write_all(ask).await.unwrap();
    let mut text = [0; 12];
    first.read_exact(&mut text).await.unwrap();
    let mut second = connect(&site, "sillon:owner").await;
    second.write_all(ask).await.ok();
    assert!(!matches!(second.read(&mut text).await, Ok(read) if read > 0));
    site.operator("alder").get("whoami").await.is(200);
    site.stop().await;
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_not_waited_for() {
    let site =
        site(Limits { handshake_time: Duration::from_millis(200), ..Limits::default() }).await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let read =
        tokio::time::timeout(Duration::from_secs(10), stream.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(read, Ok(0)) || read.is_err());
    site.stop().await;
}

#[tokio::test]
async fn a_connection_ends_after_some_time_so_that_who_may_connect_is_asked_anew() {
    let site =
        site(Limits { connection_time: Duration::from_millis(300), ..Limits::default() }).await;
    let mut stream = connect(&site, "sillon:owner").await;
    let read =
        tokio::time::timeout(Duration::from_secs(10), stream.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(read, Ok(0)) || read.is_err());
    site.owner().get("whoami").await.is(200);
    site.stop().await;
}

#[tokio::test]
async fn a_transaction_of_too_many_changes_is_refused() {
    let site = site(Limits::default()).await;
    let changes: Vec<_> = (0..10_001).map(|_| json!({"do":"delete","key":"node/x"})).collect();
    assert_eq!(site.owner().batch(json!(changes)).await.problem(), (422, "body".to_owned()));
    site.stop().await;
}

#[tokio::test]
async fn nobody_connects_without_a_certificate_of_the_fabric() {
    let (site, other) = (site(Limits::default()).await, Site::empty().await);
    let pem = site.ca_pem();
    let trusts = || {
        reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes()).unwrap()])
    };
    let url = format!("https://{}/v1/whoami", site.address);
    trusts().build().unwrap().get(&url).send().await.unwrap_err();
    let (certificate, key) = other.issue(Some("sillon:owner"));
    let pem =
        format!("{}{}", crate::api::site::pem("CERTIFICATE", &certificate), key.serialize_pem());
    let identity = reqwest::Identity::from_pem(pem.as_bytes()).unwrap();
    trusts().identity(identity).build().unwrap().get(&url).send().await.unwrap_err();
    site.stop().await;
    other.stop().await;
}
