//! Most packets by far are *plain*: whole ones of TCP or UDP, over IPv4 without options, behind no tags but the attachment's own. If
//! such a one belongs to a flow that is decided, and nobody wants to look at it more closely, no step between `recall` and `deliver`
//! has a say in it. Whether that is so is asked here, once and of a few words that are read together; then those steps are left out.
//!
//! Nothing is left out that would do anything: what one of the steps might drop, change or answer is not plain. Who gives a step more
//! to do has to see to it here, too; the fuzzer, which sends many of its frames again and again, holds both ways to the same model.

use sillon_abi::{Guards, PortEntry, Role};

use crate::{
    classify::{self, Origin},
    count::{self, Scope},
    deliver,
    flow::{self, Flow, TCP, UDP},
    frame::{Frame, Macs},
    guard::server,
    parse::{Carried, ETHERTYPE, IPV4, Inner},
    recall::{self, Decision},
    tunnel,
    xdp::dropped,
};

/// Guards that look at each packet.
const CLOSER: u16 = Guards::POLICED_IN | Guards::PREFIXES | Guards::ETHERTYPES;

/// Where the packet starts, behind the ethertype of a frame without tags.
const L3: usize = ETHERTYPE + 2;

/// Ethertype, version, header length and DSCP: the first word that is looked at, but for its last byte's ECN.
const HEAD: u32 = u32::from_ne_bytes([8, 0, 0x45, 0]);
const HEAD_MASK: u32 = u32::from_ne_bytes([0xff, 0xff, 0xff, 0]);

/// What becomes of a frame that is plain, and nothing of another: that one is as it was, and not counted. `len` is the whole
/// frame's.
#[inline(always)]
pub fn forward(frame: &Frame, len: usize) -> Option<u32> {
    let port = frame.port()?;
    if port.role == Role::Uplink as u8 { from_tunnel(frame, port, len) } else { from_port(frame, port, len) }
}

#[inline(always)]
fn from_port(frame: &Frame, port: &PortEntry, len: usize) -> Option<u32> {
    let tags = classify::tags(frame, port).ok()?;
    let Decision { origin, exit, .. } = recall::Flow::on_port(&tags).decision()?;
    if tags.priority != 0 {
        return None;
    }
    let packet = packet(frame, origin, tags.macs, 0, len)?;
    count::received_on_port(origin.ingress, len);
    let forwarded = deliver::deliver(frame, origin, &packet.inner, *exit, || packet.flow());
    Some(forwarded.unwrap_or_else(|reason| dropped(Scope::of(origin), reason)))
}

#[inline(always)]
fn from_tunnel(frame: &Frame, port: &PortEntry, len: usize) -> Option<u32> {
    let outer = tunnel::packet(frame, port, len).ok()??;
    if outer.padding != 0 || outer.ecn != 0 || outer.is_yellow() {
        return None;
    }
    let Decision { origin, exit, .. } = recall::Flow::in_tunnel(&outer).decision()?;
    // Split horizon (`lookup`): there is no other. It is asked since nothing but an attachment is to be made ready for here.
    if exit.is_remote() {
        return None;
    }
    let packet = packet(frame, origin, outer.macs, outer.header, outer.header + outer.len)?;
    count::received_from_tunnel(origin.ingress, outer.len);
    let forwarded = deliver::to_attachment(frame, origin, &packet.inner, *exit);
    Some(forwarded.unwrap_or_else(|reason| dropped(Scope::of(origin), reason)))
}

/// A plain packet, and what its flow's hash is made from.
struct Packet {
    inner: Inner,
    addresses: u64,
    ports: u32,
    ecn: u8,
}

impl Packet {
    #[inline(always)]
    fn flow(&self) -> Flow {
        Flow { hash: flow::over_ipv4(self.addresses, self.ports), ecn: self.ecn }
    }
}

/// The packet, if it is plain. The inner frame's addresses stand at `start`.
#[inline(always)]
fn packet(frame: &Frame, origin: &Origin, macs: Macs, start: usize, len: usize) -> Option<Packet> {
    let lead = origin.lead();
    // Ethertype, IPv4 header and ports.
    let at = frame.at::<[u16; 13]>(ETHERTYPE + lead).ok()?.cast::<u8>();
    // SAFETY: 26 bytes are there.
    let (head, fragment, protocol, addresses, ports) = unsafe {
        (
            at.cast::<u32>().read_unaligned(),
            at.add(8).cast::<u16>().read_unaligned(),
            at.add(11).read(),
            at.add(14).cast::<u64>().read_unaligned(),
            at.add(22).cast::<u32>().read_unaligned(),
        )
    };
    let is_plain = head & HEAD_MASK == HEAD
        && fragment & flow::FRAGMENT == 0
        && (protocol == UDP || protocol == TCP)
        && origin.guards & CLOSER == 0
        && len <= lead + L3 + origin.mtu as usize;
    if !is_plain {
        return None;
    }
    if protocol == UDP && origin.guards & Guards::NO_DHCP_SERVER != 0 && server::is_dhcp_servers(ports) {
        return None;
    }
    let inner = Inner {
        macs,
        start,
        carried: Carried::Nothing,
        priority: 0,
        eligible: 0,
        l3: L3 + lead,
        ethertype: IPV4,
        len,
    };
    let ecn = head.to_ne_bytes()[3] & 3;
    Some(Packet { inner, addresses, ports, ecn })
}
