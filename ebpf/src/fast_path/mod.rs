//! The fast path. A frame skips all steps between `flow_cache` and `deliver` if its flow is cached,
//! no step would look at this packet, and
//!
//! - from a port: it is whole TCP or UDP over IPv4 without options, behind the attachment's own
//!   tags, without PCP or DEI;
//! - from a tunnel: it is IP, and its outer header has no options, padding, marks or congestion
//!   (`fast_path/tunnel.rs`).
//!
//! The check has no side effects: a frame that fails it enters the pipeline as it was, and nothing
//! is dropped here that the pipeline could still look at.
//!
//! Whoever gives a step more to do has to exclude those frames here, too. The fuzzer sends many of
//! its frames again and again, and holds both paths to the same model.

mod tunnel;

use sillon_abi::{DropReason, Guards, PortEntry, Role};

use crate::{
    classify,
    count::{self, Scope},
    deliver::{NextHop, ToAttachment, ToRemote},
    flow_cache::{self, Decision},
    flow_hash::{self, FlowHash},
    frame::Macs,
    guard::server,
    hook::Hook,
    meta::{Carried, Ingress, Inner},
    own_tunnel,
    verdict::{Verdict, dropped},
    vxlan::encap,
    wire::{ANY_FRAGMENT, ETHERTYPE, IPV4, IPV6, TCP, UDP},
};
use tunnel::Head;

/// Where the packet starts, behind the ethertype of a frame without tags.
const L3: usize = ETHERTYPE + 2;

/// Ethertype, version, header length and DSCP: the first word that is looked at, but for its last
/// byte's ECN.
const HEAD: u32 = u32::from_ne_bytes([8, 0, 0x45, 0]);
const HEAD_MASK: u32 = u32::from_ne_bytes([0xff, 0xff, 0xff, 0]);

/// Forwards a plain frame. Any other gets no verdict, is not counted, and stays as it was. `len` is
/// the whole frame's.
#[inline(always)]
pub fn forward(frame: &impl Hook, port: &PortEntry, len: usize) -> Option<Verdict> {
    if port.role == Role::Uplink as u8 {
        from_tunnel(frame, port, len)
    } else {
        from_port(frame, port, len)
    }
}

/// What is known of a plain frame whose addresses stand at `start`, if it is not too long.
#[inline(always)]
fn inner(
    frame: &impl Hook,
    decision: &Decision,
    (macs, start): (Macs, usize),
    ethertype: u16,
    len: usize,
) -> Option<Inner> {
    let l3 = decision.ingress.lead() + L3;
    let gso = frame.gso(ethertype, l3, start).ok()?;
    if len - gso.excess > decision.plain as usize {
        return None;
    }
    Some(Inner {
        macs,
        start,
        carried: Carried::NOTHING,
        priority: 0,
        eligible: 0,
        l3,
        ethertype,
        len,
        gso,
    })
}

#[inline(always)]
fn from_port(frame: &impl Hook, port: &PortEntry, len: usize) -> Option<Verdict> {
    let tags = classify::tags(frame, port).ok()?;
    let decision = flow_cache::FlowKey::on_port(&tags).decision()?;
    let Decision { ingress, endpoint, .. } = decision;
    if tags.priority != 0 {
        return None;
    }
    let packet = PlainIpv4::of(frame, ingress)?;
    let inner = inner(frame, decision, (tags.macs, 0), IPV4, len)?;
    let received = || {
        if frame.came_apart().is_none() {
            count::received_on_port(ingress.endpoint, len);
        }
    };
    if !endpoint.is_remote() {
        return to_attachment(frame, decision, &inner, received);
    }
    if own_tunnel::is_due(frame, &inner) {
        received();
        return Some(verdict(ingress, frame.take_apart(0)));
    }
    let flow = packet.flow();
    let path = encap::by_id(decision.path).or_else(|| encap::path(endpoint.id(), flow.hash))?;
    let leaving =
        ToRemote::through(frame, ingress, &inner, NextHop { endpoint: *endpoint, path, flow })
            .ok()?;
    received();
    Some(verdict(ingress, leaving.go(frame, ingress, &inner)))
}

/// Compiled once for each family, so that the length of the header is a constant.
#[inline(always)]
fn from_tunnel(frame: &impl Hook, port: &PortEntry, len: usize) -> Option<Verdict> {
    let front = Head::of(frame, port)?;
    if front.is_over_ipv4() {
        out_of_tunnel(frame, &front.over_ipv4(port, len)?, len)
    } else {
        out_of_tunnel(frame, &front.over_ipv6(port, len)?, len)
    }
}

#[inline(always)]
fn out_of_tunnel(frame: &impl Hook, packet: &tunnel::PlainTunnel, len: usize) -> Option<Verdict> {
    let &tunnel::PlainTunnel { source, vxlan, macs, header, ethertype } = packet;
    let decision = flow_cache::FlowKey::of_vxlan(vxlan, source, macs).decision()?;
    let ingress = &decision.ingress;
    // Of all that neighbours say, suppression listens to what is over IPv6.
    let is_plain = ethertype == IPV4.to_be()
        || ethertype == IPV6.to_be() && ingress.guards & Guards::SUPPRESS == 0;
    if !is_plain {
        return None;
    }
    let inner = inner(frame, decision, (macs, header), u16::from_be(ethertype), len)?;
    to_attachment(frame, decision, &inner, || {
        count::received_from_tunnel(ingress.endpoint, len - header)
    })
}

/// Sends it to an attachment; gives no verdict, and leaves the frame as it was, where that is
/// refused or policed.
#[inline(always)]
fn to_attachment(
    frame: &impl Hook,
    decision: &Decision,
    inner: &Inner,
    received: impl FnOnce(),
) -> Option<Verdict> {
    let unpoliced = |guards, _| {
        if guards & Guards::POLICED_OUT == 0 { Ok(0) } else { Err(DropReason::PolicedEgress) }
    };
    let ingress = &decision.ingress;
    let leaving = ToAttachment::out_of(frame, ingress, inner, decision.endpoint, unpoliced).ok()?;
    received();
    Some(verdict(ingress, leaving.go(frame, inner)))
}

/// The verdict on a frame that was changed: it is too late for the pipeline.
#[inline(always)]
fn verdict(ingress: &Ingress, gone: Result<Verdict, DropReason>) -> Verdict {
    gone.unwrap_or_else(|reason| dropped(Scope::of(ingress), reason))
}

/// A whole packet of TCP or UDP, over IPv4 without options: what its flow's hash is made from.
struct PlainIpv4 {
    addresses: u64,
    ports: u32,
    ecn: u8,
}

impl PlainIpv4 {
    #[inline(always)]
    fn flow(&self) -> FlowHash {
        FlowHash { hash: flow_hash::over_ipv4(self.addresses, self.ports), ecn: self.ecn }
    }

    /// The packet behind an attachment's tags, if it is such a one.
    #[inline(always)]
    fn of(frame: &impl Hook, ingress: &Ingress) -> Option<Self> {
        if frame.hw_vlan_len() > ingress.lead() {
            // It carries a tag, which is not where it is looked for here.
            return None;
        }
        // Ethertype, IPv4 header and ports.
        let at = frame.at::<[u16; 13]>(ETHERTYPE + ingress.lead()).ok()?.cast::<u8>();
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
            && fragment & ANY_FRAGMENT == 0
            && (protocol == UDP || protocol == TCP);
        if !is_plain {
            return None;
        }
        if protocol == UDP
            && ingress.guards & Guards::NO_DHCP_SERVER != 0
            && server::is_dhcp_servers(ports)
        {
            return None;
        }
        Some(Self { addresses, ports, ecn: head.to_ne_bytes()[3] & 3 })
    }
}
