//! A host with smoltcp's stack, which pushes and pops its own VLAN tags: the kernel here has no
//! 8021q.

use std::{
    collections::VecDeque,
    net::IpAddr,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet},
    phy::{self, DeviceCapabilities, Medium},
    socket::{icmp, tcp},
    time::Instant as SmolInstant,
    wire::{EthernetAddress, IpAddress, IpCidr},
};

use crate::{
    Frame, Tag, Wire,
    kernel::{Transfer, pattern},
};

/// Less than a veth queues (256 frames): smoltcp sends a window at once, and a loss costs it a
/// timeout.
const BUFFER: usize = 64 * 1024;
/// How long a conversation may take.
const PATIENCE: Duration = Duration::from_secs(20);
const IDENT: u16 = 0x5111;
const PORT: u16 = 5001;

/// Who a host is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its MAC.
    pub mac: [u8; 6],
    /// Its addresses.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The tags of its frames, outermost first.
    pub tags: Vec<Tag>,
}

impl Identity {
    /// Host number `number` of 10.0.0.0/24 and fd00::/64: every operator's hosts are called the
    /// same.
    pub fn number(number: u8, tags: &[Tag]) -> Self {
        let v6 = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number];
        Self {
            mac: [2, 0, 0, 0, 0, number],
            addresses: vec![([10, 0, 0, number].into(), 24), (v6.into(), 64)],
            tags: tags.to_vec(),
        }
    }
}

/// A host with smoltcp's stack on a wire.
pub struct SmolHost {
    interface: Interface,
    sockets: SocketSet<'static>,
    device: Tagged,
    echo: SocketHandle,
    tcp: SocketHandle,
    epoch: Instant,
}

impl SmolHost {
    /// Puts a host at the end of a wire.
    ///
    /// # Errors
    /// The wire is gone, or the host has more addresses than smoltcp allows.
    pub fn new(wire: Wire, identity: &Identity) -> anyhow::Result<Self> {
        let mut device = Tagged { wire, tags: identity.tags.clone(), strays: VecDeque::new() };
        let config = Config::new(EthernetAddress(identity.mac).into());
        let mut interface = Interface::new(config, &mut device, SmolInstant::ZERO);
        let mut fits = true;
        interface.update_ip_addrs(|addresses| {
            for (address, prefix) in &identity.addresses {
                fits &= addresses.push(IpCidr::new(IpAddress::from(*address), *prefix)).is_ok();
            }
        });
        if !fits {
            bail!("more addresses than smoltcp allows: {:?}", identity.addresses);
        }
        let mut sockets = SocketSet::new(Vec::new());
        let packets =
            || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 64], vec![0; 64 * 128]);
        let echo = sockets.add(icmp::Socket::new(packets(), packets()));
        let bytes = || tcp::SocketBuffer::new(vec![0; BUFFER]);
        let tcp = sockets.add(tcp::Socket::new(bytes(), bytes()));
        sockets.get_mut::<icmp::Socket<'_>>(echo).bind(icmp::Endpoint::Ident(IDENT))?;
        Ok(Self { interface, sockets, device, echo, tcp, epoch: Instant::now() })
    }

    /// Its wire.
    pub fn wire(&self) -> &Wire {
        &self.device.wire
    }

    /// Its wire, without the host.
    pub fn into_wire(self) -> Wire {
        self.device.wire
    }

    /// Frames that came with other tags than its own.
    pub fn strays(&self) -> impl Iterator<Item = &Frame> {
        self.device.strays.iter()
    }

    fn now(&self) -> SmolInstant {
        SmolInstant::from_micros(
            i64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(i64::MAX),
        )
    }

    /// Lets its stack do what there is to do.
    pub fn poll(&mut self) {
        let now = self.now();
        self.interface.poll(now, &mut self.device, &mut self.sockets);
    }

    /// How long its stack has nothing to do if no frame comes.
    fn idle(&mut self) -> Option<Duration> {
        let now = self.now();
        let delay = self.interface.poll_delay(now, &self.sockets)?;
        Some(Duration::from_micros(delay.total_micros()))
    }

    fn send_echo(&mut self, to: IpAddr, sequence: u16) -> anyhow::Result<()> {
        let payload = sequence.to_be_bytes();
        let checksums = phy::ChecksumCapabilities::default();
        let source = self.interface.get_source_address_ipv6(&match to {
            IpAddr::V6(to) => to,
            IpAddr::V4(_) => std::net::Ipv6Addr::LOCALHOST,
        });
        let socket = self.sockets.get_mut::<icmp::Socket<'_>>(self.echo);
        match to {
            IpAddr::V4(_) => {
                let request = smoltcp::wire::Icmpv4Repr::EchoRequest {
                    ident: IDENT,
                    seq_no: sequence,
                    data: &payload,
                };
                let buffer = socket.send(request.buffer_len(), to.into())?;
                request.emit(&mut smoltcp::wire::Icmpv4Packet::new_unchecked(buffer), &checksums);
            }
            IpAddr::V6(v6) => {
                let request = smoltcp::wire::Icmpv6Repr::EchoRequest {
                    ident: IDENT,
                    seq_no: sequence,
                    data: &payload,
                };
                let buffer = socket.send(request.buffer_len(), to.into())?;
                let mut packet = smoltcp::wire::Icmpv6Packet::new_unchecked(buffer);
                request.emit(&source, &v6, &mut packet, &checksums);
            }
        }
        Ok(())
    }

    /// Whether the answer of this number is among what has come; requests of others, which smoltcp
    /// hands out as well, are thrown away.
    fn has_answer(&mut self, sequence: u16) -> bool {
        let socket = self.sockets.get_mut::<icmp::Socket<'_>>(self.echo);
        let mut found = false;
        while let Ok((bytes, _)) = socket.recv() {
            let is_request = matches!(bytes.first(), Some(8 | 128));
            found |= !is_request && bytes.ends_with(&sequence.to_be_bytes());
        }
        found
    }
}

/// Lets hosts talk until `is_done`, or patience ends; returns whether it was done.
///
/// # Errors
/// Those of `is_done`.
pub fn converse(
    hosts: &mut [&mut SmolHost],
    patience: Duration,
    mut is_done: impl FnMut(&mut [&mut SmolHost]) -> anyhow::Result<bool>,
) -> anyhow::Result<bool> {
    let end = Instant::now() + patience;
    loop {
        hosts.iter_mut().for_each(|host| host.poll());
        if is_done(hosts)? {
            return Ok(true);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let idle = hosts.iter_mut().filter_map(|host| host.idle()).min().unwrap_or(left).min(left);
        let sockets = hosts.iter().map(|host| host.wire().socket().as_fd());
        let mut ready: Vec<_> =
            sockets.map(|socket| PollFd::new(socket, PollFlags::POLLIN)).collect();
        poll(&mut ready, PollTimeout::try_from(idle).unwrap_or(PollTimeout::MAX))?;
    }
}

/// Sends one echo request from the first host to `to` and waits for the answer, while the second
/// host does what it does.
///
/// # Errors
/// The request can't be sent.
pub fn ping(
    from: &mut SmolHost,
    other: &mut SmolHost,
    to: IpAddr,
    patience: Duration,
) -> anyhow::Result<bool> {
    let sequence = (from.epoch.elapsed().as_micros() & 0xffff) as u16;
    from.send_echo(to, sequence)?;
    converse(&mut [from, other], patience, |hosts| Ok(hosts[0].has_answer(sequence)))
}

/// Sends bytes over TCP from one host to the address `to` of the other.
///
/// # Errors
/// There is no connection, or it does not end in time.
pub fn transfer(
    from: &mut SmolHost,
    to: &mut SmolHost,
    address: IpAddr,
    bytes: usize,
) -> anyhow::Result<Transfer> {
    let now = from.epoch.elapsed().as_micros();
    for host in [&mut *from, &mut *to] {
        host.sockets.get_mut::<tcp::Socket<'_>>(host.tcp).abort();
        host.poll();
    }
    to.sockets.get_mut::<tcp::Socket<'_>>(to.tcp).listen(PORT)?;
    // Each connection from a port of its own: the last one may not be forgotten yet.
    let local = 49152 + (now % 16384) as u16;
    let socket = from.sockets.get_mut::<tcp::Socket<'_>>(from.tcp);
    socket.connect(from.interface.context(), (IpAddress::from(address), PORT), local)?;
    let (mut sent, mut received, mut intact) = (0, 0, true);
    let mut first = None;
    let done = converse(&mut [from, to], PATIENCE, |hosts| {
        if let Some(len) = give(hosts[0], sent, bytes)? {
            first.get_or_insert_with(Instant::now);
            sent += len;
        }
        let (len, right) = take(hosts[1], received)?;
        received += len;
        intact &= right;
        Ok(received >= bytes)
    })?;
    if !done {
        bail!("{received} of {bytes} bytes to {address} came within {} s", PATIENCE.as_secs());
    }
    let took = first.context("nothing was sent")?.elapsed();
    Ok(Transfer { bytes: received, intact: intact && received == bytes, took })
}

/// Puts as much into the stream as fits.
fn give(host: &mut SmolHost, position: usize, bytes: usize) -> anyhow::Result<Option<usize>> {
    let socket = host.sockets.get_mut::<tcp::Socket<'_>>(host.tcp);
    if position == bytes || !socket.can_send() {
        return Ok(None);
    }
    let len = socket.send(|room| {
        let len = room.len().min(bytes - position);
        room[..len].iter_mut().zip(position..).for_each(|(byte, at)| *byte = pattern(at));
        (len, len)
    })?;
    Ok(Some(len))
}

/// Takes what came; returns how much, and whether each byte was right.
fn take(host: &mut SmolHost, position: usize) -> anyhow::Result<(usize, bool)> {
    let socket = host.sockets.get_mut::<tcp::Socket<'_>>(host.tcp);
    if !socket.can_recv() {
        return Ok((0, true));
    }
    Ok(socket.recv(|bytes| {
        let right = bytes.iter().zip(position..).all(|(byte, at)| *byte == pattern(at));
        (bytes.len(), (bytes.len(), right))
    })?)
}

/// smoltcp's view of a wire: its tags are not there.
struct Tagged {
    wire: Wire,
    tags: Vec<Tag>,
    strays: VecDeque<Frame>,
}

impl Tagged {
    /// The next frame that has the host's tags, without them.
    fn next(&mut self) -> Option<Frame> {
        loop {
            let frame = Frame(self.wire.socket().try_receive().ok()??);
            let are = frame.tags();
            let ids = |tags: &[Tag]| tags.iter().map(|tag| (tag.tpid, tag.vid)).collect::<Vec<_>>();
            if ids(&are) == ids(&self.tags) {
                return Some(frame.popped(are.len()));
            }
            self.strays.push_back(frame);
        }
    }
}

impl phy::Device for Tagged {
    type RxToken<'a> = Received;
    type TxToken<'a> = ToSend<'a>;

    fn receive(&mut self, _: SmolInstant) -> Option<(Received, ToSend<'_>)> {
        let frame = self.next()?;
        Some((Received(frame), ToSend(self)))
    }

    fn transmit(&mut self, _: SmolInstant) -> Option<ToSend<'_>> {
        Some(ToSend(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

struct Received(Frame);

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, use_it: F) -> R {
        use_it(&self.0.0)
    }
}

struct ToSend<'a>(&'a Tagged);

impl phy::TxToken for ToSend<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut bytes = vec![0; len];
        let result = fill(&mut bytes);
        // A port that is down loses frames; what is on top of it sends them again.
        let _ = self.0.wire.send(&Frame(bytes).tagged(&self.0.tags));
        result
    }
}
