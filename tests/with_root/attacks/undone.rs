//! Where senders leave work to their device that they describe wrongly: a container with a raw
//! socket (PACKET_VNET_HDR), and a virtual machine with a tap. Who looks on is told what is left to
//! do, and does it: what is judged is the frame when the kernel is done with it.

use std::time::Instant;

use sillon_rig::{
    Fabric, Frame, Mounts, NodeFile, Own, PacketSocket, Tag, Tap, Underlay, Undone, Wire,
};

use crate::common::{PATIENCE, SILENCE, fabric};

/// So many tags a container puts in front of its frames, and has a program of its own take off
/// again: the kernel believes no checksum that begins in front of the 20th byte, and this one has
/// been moved when it did.
const SHED: usize = 3;

/// A container that can do that.
pub struct Container {
    _wire: Wire,
    socket: PacketSocket,
    _program: Own,
}

impl Container {
    fn new(wire: Wire, socket: PacketSocket) -> Self {
        // At XDP, a tag beside the data is dropped for that.
        let off = ["-K", "eth0", "txvlan", "off", "tx-vlan-stag-hw-insert", "off"];
        wire.netns.run("ethtool", &off).unwrap();
        let program = wire.netns.enter(|| Ok(Own::popping("eth0", SHED)?)).unwrap();
        Self { _wire: wire, socket, _program: program }
    }

    fn send(&self, undone: Undone, frame: &Frame) {
        let frame = frame.tagged(&[Tag::s(4000); SHED]);
        self.socket.send_undone(undone.moved(4 * SHED), &frame.0).unwrap();
    }
}

/// Who sends, and how.
pub enum Sender {
    /// A container's raw socket.
    Container(Container),
    /// A virtual machine's driver.
    Machine(Tap),
}

impl Sender {
    pub fn send(&self, undone: Undone, frame: &Frame) {
        match self {
            Self::Container(container) => container.send(undone, frame),
            Self::Machine(tap) => tap.send(undone, &frame.0).unwrap(),
        }
    }

    /// Whether the kernel takes it: of super-packets it refuses what it finds wrong itself.
    pub fn try_send(&self, undone: Undone, frame: &Frame) -> bool {
        match self {
            Self::Container(container) => container.socket.send_undone(undone, &frame.0).is_ok(),
            Self::Machine(tap) => tap.send(undone, &frame.0).is_ok(),
        }
    }
}

/// Who looks on at a port.
pub struct Receiver {
    pub wire: Wire,
    socket: PacketSocket,
}

impl Receiver {
    /// Who looks on at the far end of a wire.
    pub fn new(wire: Wire) -> Self {
        let socket = wire.undone().unwrap();
        Self { wire, socket }
    }

    /// What has come, with all done that was left.
    pub fn seen(&self) -> Vec<Frame> {
        std::iter::from_fn(|| self.socket.try_receive().unwrap()).map(Frame).collect()
    }

    /// What comes next of what `is_it` takes, for as long as one waits for what should come.
    pub fn expect(&self, is_it: impl Fn(&Frame) -> bool) -> Option<Frame> {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let came = self.socket.receive(left).unwrap().map(Frame);
            if came.as_ref().is_some_and(&is_it) || left.is_zero() {
                return came.filter(&is_it);
            }
        }
    }

    /// All that comes now.
    pub fn seen_now(&self) -> Vec<Frame> {
        let end = Instant::now() + SILENCE;
        let mut frames = self.seen();
        while Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now());
            if let Some(bytes) = self.socket.receive(left).unwrap() {
                frames.push(Frame(bytes));
            }
        }
        frames
    }
}

/// Two edges; the attacker at `p0` of the first, two that look on at its `p1` and `p2`, and one at
/// `p0` of the second.
pub struct Bench {
    pub fabric: Fabric,
    pub attacker: Sender,
    pub near: Receiver,
    pub other: Receiver,
    pub far: Receiver,
    /// The hooks that its file has now.
    at: Option<At>,
}

/// The hook of `p0`, and of `p1` and `p2`.
pub type At = (&'static str, &'static str);

/// Every way from a container's port to another one.
pub const EVERYWHERE: [At; 4] = [("tc", "tc"), ("tc", "xdp"), ("xdp", "tc"), ("xdp", "xdp")];

impl Bench {
    /// A container attacks, or a virtual machine.
    pub fn new(is_machine: bool) -> Self {
        let fabric = fabric(Underlay::Direct);
        let attacker = if is_machine {
            let port = Tap::plug(&fabric.edges[0].netns, "p0", sillon_rig::fabric::PORT_MTU);
            Sender::Machine(port.unwrap())
        } else {
            let wire = fabric.plug(0, "p0").unwrap();
            let socket = wire.undone().unwrap();
            Sender::Container(Container::new(wire, socket))
        };
        let [near, other, far] = [(0, "p1"), (0, "p2"), (1, "p0")]
            .map(|(edge, port)| Receiver::new(fabric.plug(edge, port).unwrap()));
        // As a card without offloads: whatever leaves there is done by the kernel first.
        for (edge, port) in [(0, "p1"), (0, "p2"), (1, "p0")] {
            let off = ["-K", port, "tx", "off", "txvlan", "off", "tx-vlan-stag-hw-insert", "off"];
            fabric.edges[edge].netns.run("ethtool", &off).unwrap();
        }
        Self { fabric, attacker, near, other, far, at: None }
    }

    /// A file of the first node with its ports and nothing else.
    pub fn file(&self, (from, to): At) -> NodeFile {
        let file = self.fabric.file(0).port_at("p0", "access", from);
        file.port_at("p1", "handover", to).port_at("p2", "access", to)
    }

    /// Brings the first node to a file; anew if its hooks are others: they change only when a port
    /// is taken out.
    pub fn bring(&mut self, at: At, file: &NodeFile) {
        let edge = &mut self.fabric.edges[0];
        if self.at == Some(at) {
            edge.reload(file).unwrap();
            return;
        }
        if self.at.replace(at).is_some() {
            edge.stop().unwrap();
            edge.flush().unwrap();
        }
        edge.start(file).unwrap();
    }

    /// Brings the second node to a file.
    pub fn bring_far(&mut self, file: &NodeFile) {
        let edge = &mut self.fabric.edges[1];
        if edge.agent().is_some() {
            edge.reload(file).unwrap();
        } else {
            edge.start(file).unwrap();
        }
    }

    pub fn forget(&self) {
        std::thread::sleep(SILENCE);
        for receiver in [&self.near, &self.other, &self.far] {
            receiver.seen();
        }
    }

    /// How many frames of the attacker's were dropped for this reason, wherever it is counted.
    pub fn dropped(&self, reason: &str) -> u64 {
        self.fabric.edges[0].dropped_anywhere(reason).unwrap()
    }
}

/// What a kernel makes of a frame that leaves by a device without offloads, with nobody between:
/// that the attack would work.
pub fn as_it_leaves(undone: Undone, frame: &Frame) -> Option<Frame> {
    let (sends, hears) = alone();
    sends.send(undone, frame);
    hears.receive(PATIENCE).unwrap().map(Frame)
}

/// The same of a super-packet: all that comes of it; nothing if the kernel does not take it.
pub fn packets_as_they_leave(undone: Undone, frame: &Frame) -> Option<Vec<Frame>> {
    let (sends, hears) = alone();
    sends.socket.send_undone(undone, &frame.0).ok()?;
    let first = hears.receive(SILENCE).unwrap().map(Frame)?;
    let rest = std::iter::from_fn(|| hears.receive(SILENCE).unwrap()).map(Frame);
    Some([first].into_iter().chain(rest).collect())
}

/// A container, and who hears what leaves it.
fn alone() -> (Container, PacketSocket) {
    let mounts = Mounts::new().unwrap();
    let (one, two) = (mounts.netns("one").unwrap(), mounts.netns("two").unwrap());
    let wire = Wire::plug(&one, "p0", two, sillon_rig::fabric::PORT_MTU).unwrap();
    let socket = wire.netns.enter(|| Ok(PacketSocket::open_headed("eth0")?)).unwrap();
    let hears = one.enter(|| Ok(PacketSocket::open("p0")?)).unwrap();
    (Container::new(wire, socket), hears)
}
