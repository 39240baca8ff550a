//! The agents' listener, before anybody has said who he is.

use std::time::{Duration, Instant};

use sillon::protocol::Parts;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::controller::{
    site::{PATIENCE, leased},
    stream::{hello, start},
};

/// The beginning of a ClientHello that says of itself that 512 bytes come.
const HALF: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_keep_no_node_out() {
    let (site, running, at) = start().await;
    running.does(leased()).await;
    for (from, first) in [("127.0.0.2", &[][..]), ("127.0.0.1", HALF)] {
        let mut crowd: Vec<TcpStream> = Vec::new();
        while crowd.len() < 1500 {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
            let Ok(Ok(mut stream)) = timeout(Duration::from_secs(1), socket.connect(at)).await
            else {
                break;
            };
            stream.write_all(first).await.ok();
            crowd.push(stream);
        }
        let began = Instant::now();
        let tls = site.tls("node-edge1");
        let served =
            timeout(Duration::from_secs(5), hello(at, &tls, "edge1", Parts::default())).await;
        let mut agent =
            served.unwrap_or_else(|_| panic!("not within 5 s behind {}", crowd.len())).unwrap();
        agent.next().await;
        println!("{} idle: served after {:?}", crowd.len(), began.elapsed());
        // The first of them had to go.
        let read = timeout(PATIENCE, crowd[0].read(&mut [0])).await.unwrap();
        assert!(!matches!(read, Ok(1)));
    }
}
