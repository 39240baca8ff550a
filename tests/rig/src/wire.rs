//! What is plugged into a node's port: a namespace of its own with one interface, `eth0`, and
//! nobody in it yet.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{Card, Frame, Netns, PacketSocket};

/// The name of a host's interface.
pub const INTERFACE: &str = "eth0";
/// Longer than any port's, so that a host can send frames that are too long for its port's segment.
pub const MTU: u16 = 3000;

/// The far end of a port's cable.
#[derive(Debug)]
pub struct Wire {
    /// The namespace of whoever sits there.
    pub netns: Netns,
    /// Frames in and out.
    socket: PacketSocket,
    /// A virtual machine's.
    card: Option<Arc<Card>>,
}

impl Wire {
    /// Plugs a new namespace into a new port `port` of `node`, whose MTU is `mtu`.
    ///
    /// # Errors
    /// The port is there already, or the kernel refuses.
    pub fn plug(node: &Netns, port: &str, netns: Netns, mtu: u16) -> anyhow::Result<Self> {
        // Silent: only what a test sends is sent.
        netns.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        node.join(port, &netns, INTERFACE, mtu)?;
        netns.ip(&format!("link set {INTERFACE} mtu {MTU}"))?;
        ready_for_xdp(&netns, INTERFACE)?;
        let socket = netns.enter(|| Ok(PacketSocket::open(INTERFACE)?))?;
        Ok(Self { netns, socket, card: None })
    }

    /// Starts a new namespace as a virtual machine, whose card is a new tap `port` of `node`.
    ///
    /// # Errors
    /// The port is there already, or the kernel refuses.
    pub fn boot(node: &Netns, port: &str, netns: Netns, mtu: u16) -> anyhow::Result<Self> {
        netns.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        let card = Card::plug((node, port), (&netns, INTERFACE))?;
        node.ip(&format!("link set {port} mtu {mtu} up"))?;
        netns.ip(&format!("link set {INTERFACE} up"))?;
        let socket = netns.enter(|| Ok(PacketSocket::open(INTERFACE)?))?;
        Ok(Self { netns, socket, card: Some(Arc::new(card)) })
    }

    /// The same wire for one more host: both see all that comes.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn share(&self) -> anyhow::Result<Self> {
        Ok(Self { netns: self.netns.clone(), socket: self.tap()?, card: self.card.clone() })
    }

    /// A second look at the same wire, which takes no frame from anybody.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn tap(&self) -> anyhow::Result<PacketSocket> {
        self.netns.enter(|| Ok(PacketSocket::open(INTERFACE)?))
    }

    /// A third one, which leaves work to the device and is told what others left to do. The host's
    /// own device passes all of that on.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn undone(&self) -> anyhow::Result<PacketSocket> {
        self.netns.run(
            "ethtool",
            &["-K", INTERFACE, "tx", "on", "tso", "on", "tx-udp-segmentation", "on"],
        )?;
        self.netns.enter(|| Ok(PacketSocket::open_headed(INTERFACE)?))
    }

    /// Its socket.
    pub fn socket(&self) -> &PacketSocket {
        &self.socket
    }

    /// Sends a frame into the port.
    ///
    /// # Errors
    /// The port is down or gone.
    pub fn send(&self, frame: &Frame) -> anyhow::Result<()> {
        Ok(self.socket.send(&frame.0)?)
    }

    /// Waits up to `patience` for a frame that `is_it` takes; others are thrown away.
    ///
    /// # Errors
    /// The port is gone.
    pub fn expect(
        &self,
        patience: Duration,
        mut is_it: impl FnMut(&Frame) -> bool,
    ) -> anyhow::Result<Option<Frame>> {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let frame = self.socket.receive(left)?.map(Frame);
            if frame.as_ref().is_some_and(&mut is_it) {
                return Ok(frame);
            }
            if left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// All frames that have come and were not taken.
    ///
    /// # Errors
    /// The port is gone.
    pub fn drain(&self) -> anyhow::Result<Vec<Frame>> {
        let mut frames = Vec::new();
        while let Some(bytes) = self.socket.try_receive()? {
            frames.push(Frame(bytes));
        }
        Ok(frames)
    }
}

/// XDP redirects into a veth only where its peer polls (`gro on`), and native XDP reads what the
/// peer sends as it is, so that checksums must be complete.
///
/// # Errors
/// The device refuses.
pub fn ready_for_xdp(netns: &Netns, interface: &str) -> anyhow::Result<()> {
    netns.run("ethtool", &["-K", interface, "gro", "on", "tx", "off"])?;
    Ok(())
}
