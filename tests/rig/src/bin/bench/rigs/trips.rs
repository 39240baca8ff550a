//! Round trips between two hosts' kernels: a client that waits for each answer, and a server that
//! gives it.

use std::{
    io::ErrorKind,
    net::UdpSocket,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use sillon_rig::Netns;

use super::load::stay_on;

/// A request of 64 bytes on the wire: Ethernet, IPv4 and UDP headers are 42 of them.
const PAYLOAD: usize = 22;
/// Below the generator's ports, so that the sink leaves them to the host.
const PORTS: [u16; 2] = [7001, 7002];
/// What comes no sooner is lost, and counts as a round trip of this time.
const PATIENCE: Duration = Duration::from_millis(50);

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub struct Trips {
    /// Seconds, a request each.
    pub times: Vec<f64>,
    /// Those of them that were not answered in time.
    pub lost: u64,
}

/// Sends requests from 10.0.0.1 in one namespace to 10.0.0.2 in the other for so long, one at a
/// time. Both hosts are on another CPU than the load: what they share with it are the edges and
/// their queues.
///
/// # Errors
/// The hosts have no such addresses.
pub fn round_trips(from: &Netns, to: &Netns, how_long: Duration) -> anyhow::Result<Trips> {
    let client = from.enter(|| Ok(UdpSocket::bind(("10.0.0.1", PORTS[0]))?))?;
    let server = to.enter(|| Ok(UdpSocket::bind(("10.0.0.2", PORTS[1]))?))?;
    client.connect(("10.0.0.2", PORTS[1]))?;
    client.set_read_timeout(Some(PATIENCE))?;
    server.set_read_timeout(Some(PATIENCE))?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let serving = scope.spawn(|| serve(&server, &stop));
        let asking = scope.spawn(|| ask(&client, how_long)).join();
        stop.store(true, Ordering::Relaxed);
        joined(serving.join())?;
        joined(asking)
    })
}

/// What a thread came to; its panic is ours.
pub fn joined<T>(result: thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn serve(socket: &UdpSocket, stop: &AtomicBool) -> anyhow::Result<()> {
    stay_on(1)?;
    let mut buffer = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        match socket.recv_from(&mut buffer) {
            Ok((len, whom)) => {
                socket.send_to(&buffer[..len], whom)?;
            }
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn ask(socket: &UdpSocket, how_long: Duration) -> anyhow::Result<Trips> {
    stay_on(1)?;
    let (mut trips, end) = (Trips::default(), Instant::now() + how_long);
    let mut buffer = [0; 64];
    let mut number = 0_u64;
    while Instant::now() < end {
        number += 1;
        let mut request = [0; PAYLOAD];
        request[..8].copy_from_slice(&number.to_be_bytes());
        let sent = Instant::now();
        socket.send(&request)?;
        // An answer that comes too late is not that of the next request.
        let came = loop {
            match socket.recv(&mut buffer) {
                Ok(len) if buffer[..len] == request => break true,
                Ok(_) if sent.elapsed() < PATIENCE => {}
                Ok(_) => break false,
                Err(error) if is_timeout(&error) => break false,
                Err(error) => return Err(error.into()),
            }
        };
        trips.lost += u64::from(!came);
        trips.times.push(if came { sent.elapsed() } else { PATIENCE }.as_secs_f64());
    }
    Ok(trips)
}
