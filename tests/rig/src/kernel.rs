//! A host with the kernel's own stack, and its remote VXLAN peer.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{
    Netns, Wire,
    wire::{INTERFACE, ready_for_xdp},
};

/// How long a stream may stand still.
const PATIENCE: Duration = Duration::from_secs(10);
const CHUNK: usize = 64 * 1024;

/// A kernel host on an untagged wire.
#[derive(Debug)]
pub struct KernelHost {
    /// Its cable.
    pub wire: Wire,
}

/// What became of a transfer.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// Bytes that arrived.
    pub bytes: usize,
    /// Whether they are those that were sent.
    pub intact: bool,
    /// From the first byte to the last.
    pub took: Duration,
}

impl Transfer {
    /// Gbit/s of payload.
    pub fn gigabits(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.took.as_secs_f64() / 1e9
    }
}

/// What a transfer carries: every position has its own byte, so that nothing lost, doubled or
/// swapped goes unseen.
pub fn pattern(position: usize) -> u8 {
    let mixed = (position as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

impl KernelHost {
    /// Gives the far end of a wire a MAC and addresses (with their prefix lengths).
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new(wire: Wire, mac: &str, addresses: &[&str]) -> anyhow::Result<Self> {
        wire.netns.sysctl(&format!("net/ipv6/conf/{INTERFACE}/disable_ipv6"), "0")?;
        let mut lines = format!("link set {INTERFACE} address {mac} mtu 1500\n");
        for address in addresses {
            lines += &format!("addr add {address} dev {INTERFACE}\n");
        }
        wire.netns.ip(&lines)?;
        Ok(Self { wire })
    }

    /// Sends `count` echo requests, `interval` seconds apart; returns how many were answered.
    ///
    /// # Errors
    /// `ping` can't be run.
    pub fn ping(&self, to: &str, count: u32, interval: f32) -> anyhow::Result<u32> {
        let mut ping = self.wire.netns.command("ping");
        ping.args([
            "-n",
            "-q",
            "-W",
            "1",
            "-c",
            &count.to_string(),
            "-i",
            &interval.to_string(),
            to,
        ]);
        let output = ping.output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let received = said.split(", ").find_map(|part| part.strip_suffix(" received"));
        received.and_then(|number| number.parse().ok()).with_context(|| {
            format!("ping {to}: {}{}", said, String::from_utf8_lossy(&output.stderr))
        })
    }

    /// Sends bytes over TCP from here to the host `to`, which has the address `address`.
    ///
    /// # Errors
    /// There is no connection, or it stands still.
    pub fn transfer(
        &self,
        to: &KernelHost,
        address: IpAddr,
        bytes: usize,
    ) -> anyhow::Result<Transfer> {
        transfer(&self.wire.netns, &to.wire.netns, address, bytes)
    }
}

/// Sends bytes over TCP from one namespace to an address in another.
///
/// # Errors
/// There is no connection, or it stands still.
pub fn transfer(
    from: &Netns,
    to: &Netns,
    address: IpAddr,
    bytes: usize,
) -> anyhow::Result<Transfer> {
    let listener = to.enter(|| Ok(TcpListener::bind(SocketAddr::new(address, 0))?))?;
    let address = listener.local_addr()?;
    let mut sender = from
        .enter(|| Ok(TcpStream::connect_timeout(&address, PATIENCE)?))
        .with_context(|| format!("{} to {address}", from.name()))?;
    let (receiver, _) = listener.accept()?;
    sender.set_write_timeout(Some(PATIENCE))?;
    receiver.set_read_timeout(Some(PATIENCE))?;
    let started = Instant::now();
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || {
            for start in (0..bytes).step_by(CHUNK) {
                let chunk: Vec<u8> = (start..bytes.min(start + CHUNK)).map(pattern).collect();
                sender.write_all(&chunk)?;
            }
            Ok::<_, std::io::Error>(())
        });
        let received = receive(receiver);
        match sending.join() {
            Ok(sent) => sent?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        let (received, intact) = received?;
        Ok(Transfer {
            bytes: received,
            intact: intact && received == bytes,
            took: started.elapsed(),
        })
    })
}

/// Reads to the end; returns how many bytes there were, and whether each was right.
fn receive(mut stream: TcpStream) -> anyhow::Result<(usize, bool)> {
    let mut buffer = vec![0; CHUNK];
    let (mut position, mut intact) = (0, true);
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok((position, intact)),
            len => {
                intact &=
                    buffer[..len].iter().zip(position..).all(|(byte, at)| *byte == pattern(at));
                position += len;
            }
        }
    }
}

/// Makes a namespace a VXLAN peer of the kernel's own kind: a bridge over a VXLAN device and a port
/// `p0`, into which a host is plugged.
///
/// # Errors
/// The kernel refuses, or `local` and `remote` are no addresses.
pub fn vxlan_peer(peer: &Netns, vni: u32, local: &str, remote: &str) -> anyhow::Result<()> {
    if local.parse::<IpAddr>()?.is_ipv4() != remote.parse::<IpAddr>()?.is_ipv4() {
        bail!("{local} and {remote} are of different families");
    }
    let v6 = if local.contains(':') { "udp6zerocsumtx udp6zerocsumrx" } else { "" };
    peer.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
    peer.ip(&format!(
        "link add br0 type bridge\n\
         link add vx0 mtu 1500 type vxlan id {vni} local {local} remote {remote} dstport 4789 {v6}\n\
         link set vx0 master br0\nlink set vx0 up\nlink set br0 up"
    ))
}

/// Plugs a host into the bridge of a [`vxlan_peer`].
///
/// # Errors
/// The kernel refuses.
pub fn plug_into_bridge(peer: &Netns, host: Netns) -> anyhow::Result<Wire> {
    plug_port_into_bridge(peer, "p0", host)
}

/// The same with a port of this name.
///
/// # Errors
/// The kernel refuses.
pub fn plug_port_into_bridge(peer: &Netns, port: &str, host: Netns) -> anyhow::Result<Wire> {
    let wire = Wire::plug(peer, port, host, 1500)?;
    peer.ip(&format!("link set {port} master br0"))?;
    ready_for_xdp(peer, port)?;
    Ok(wire)
}
