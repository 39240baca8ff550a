//! Connections of nobody: what says nothing, or does not come to an end with TLS, keeps nobody out.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use sillon::{api::Limits, controller::Settings};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::api::{limits::connect, site::Site};

/// Connections that were never secured, from an address of this machine. The kernel may keep some
/// out.
async fn idle(to: SocketAddr, from: &str, count: usize, first: &[u8]) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for _ in 0..count {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        let Ok(Ok(mut stream)) = timeout(Duration::from_secs(1), socket.connect(to)).await else {
            break;
        };
        stream.write_all(first).await.ok();
        all.push(stream);
    }
    all
}

/// The beginning of a ClientHello that says of itself that 512 bytes come.
const HALF: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_idle_connections_keep_nobody_out() {
    let site = Site::with(Limits::default(), Settings::default()).await;
    // Neither another, nor one who comes from where they come from.
    for (from, first) in [("127.0.0.2", &[][..]), ("127.0.0.1", HALF)] {
        let crowd = idle(site.address, from, 3000, first).await;
        let began = Instant::now();
        let whoami = timeout(Duration::from_secs(5), site.owner().get("whoami")).await;
        whoami
            .unwrap_or_else(|_| panic!("not within 5 s behind {} connections", crowd.len()))
            .is(200);
        println!("{} idle: answered after {:?}", crowd.len(), began.elapsed());
        drop(crowd);
    }
    site.stop().await;
}

#[tokio::test]
async fn of_one_addresss_unsecured_connections_the_oldest_goes_first() {
    let site =
        Site::with(Limits { unsecured_of_one: 3, ..Limits::default() }, Settings::default()).await;
    let mut other = idle(site.address, "127.0.0.3", 1, &[]).await;
    let mut own = idle(site.address, "127.0.0.2", 8, HALF).await;
    for stream in &mut own[..5] {
        // It was reset, or ended.
        assert!(!matches!(
            timeout(Duration::from_secs(5), stream.read(&mut [0])).await.unwrap(),
            Ok(1)
        ));
    }
    // The others stay.
    for stream in own[5..].iter_mut().chain(&mut other) {
        timeout(Duration::from_millis(100), stream.read(&mut [0])).await.unwrap_err();
    }
    site.stop().await;
}

#[tokio::test]
async fn one_that_is_secured_has_no_place_among_the_unsecured() {
    let limits = Limits { unsecured_of_one: 1, unsecured: 1, ..Limits::default() };
    let site = Site::with(limits, Settings::default()).await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(connect(&site, "sillon:owner").await);
    }
    let _crowd = idle(site.address, "127.0.0.1", 5, &[]).await;
    for stream in &mut streams {
        stream.write_all(b"GET /v1/whoami HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut text = [0; 12];
        stream.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"HTTP/1.1 200");
    }
    site.stop().await;
}

#[tokio::test]
async fn whose_certificate_says_nobody_is_told_so_and_does_not_stay() {
    let limits = Limits { handshake_time: Duration::from_millis(500), ..Limits::default() };
    let site = Site::with(limits, Settings::default()).await;
    let mut nobody = connect(&site, "https://nobody.example").await;
    nobody.write_all(b"GET /v1/whoami HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut text = [0; 12];
    nobody.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"HTTP/1.1 403");
    let mut rest = Vec::new();
    timeout(Duration::from_secs(5), nobody.read_to_end(&mut rest)).await.unwrap().ok();
    site.stop().await;
}
