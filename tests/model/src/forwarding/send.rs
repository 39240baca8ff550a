//! How a frame looks where it leaves: in the tags of an attachment, or in a tunnel.
//!
//! PCP and DEI go with it: into the tags of the attachment, or through a tunnel in a priority tag,
//! if they are not zero. The outer DSCP is the segment's, never the operator's; the ECN field is
//! copied (RFC 6040 section 4.1).
//!
//! A yellow frame has DEI in the attachment's own tags, and not in those that it carries; in a
//! tunnel, a bit behind the flags and the next drop precedence of the outer DSCP say so.

use std::net::IpAddr;

use etherparse::{
    EtherType, Ethernet2Header, IpDscp, IpEcn, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header,
    UdpHeader,
};
use sillon::model::{Encap, Service};
use sillon_abi::DropReason;

use super::{
    Copy, Flood, Place,
    bridge::is_leaf,
    ecn, flow,
    frame::{C_TAG, Inner, S_TAG, Tag},
    node::{Arrival, Node, Way},
    police,
};

const VXLAN_PORT: u16 = 4789;
const TTL: u8 = 64;
/// DEI, in its place (IEEE 802.1Q clause 6.9.3).
const DROP_ELIGIBLE: u16 = 0x1000;

/// The frame as its segment sees it.
pub fn flood(arrival: &Arrival, inner: &Inner) -> Flood {
    let lone = inner.lone_priority_tag();
    Flood {
        segment: arrival.segment,
        from: arrival.from,
        leaf: arrival.leaf,
        frame: if lone.is_some() { inner.with_tags(&[]) } else { inner.with_tags(&inner.carried) },
        priority_tagged: lone.is_some(),
        carries_tags: inner.carries_tags(),
        priority: lone.unwrap_or(arrival.priority),
        yellow: false,
        ecn: ecn::of(inner),
        flow: flow::of(inner),
    }
}

/// A frame for where another came from, in that one's very tags.
///
/// # Errors
/// It can't leave there.
pub fn back(
    node: &Node,
    arrival: &Arrival,
    answer: &Inner,
    attachment: usize,
) -> Result<Copy, DropReason> {
    let device = node.device_of(attachment).ok_or(DropReason::NoDevice)?;
    let ways = vec![(device, answer.with_tags(&arrival.tags))];
    Ok(Copy { to: Place::Attachment(attachment), ways, tunnelled: None })
}

/// One copy of it.
///
/// # Errors
/// It may not, or can't, leave there.
pub fn copy(node: &Node, frame: &Flood, to: Place) -> Result<Copy, DropReason> {
    match to {
        Place::Attachment(attachment) => to_attachment(node, frame, attachment),
        Place::Remote(remote) => to_remote(node, frame, remote),
    }
}

/// The frame with tags put between its addresses and the rest.
fn tagged(frame: &[u8], tags: &[Tag]) -> Vec<u8> {
    let words = tags.iter().flat_map(|tag| [tag.tpid, tag.tci]);
    let tags: Vec<u8> = words.flat_map(u16::to_be_bytes).collect();
    [&frame[..12], &tags, &frame[12..]].concat()
}

fn to_attachment(node: &Node, frame: &Flood, attachment: usize) -> Result<Copy, DropReason> {
    if frame.leaf && is_leaf(node, attachment) {
        return Err(DropReason::LeafToLeaf);
    }
    let encap = node.config.attachments[attachment].encap;
    // A tag that the attachment does not own would show on its wire.
    if frame.carries_tags && !encap.is_transparent() {
        return Err(DropReason::NestedTag);
    }
    let eligible = if frame.yellow { DROP_ELIGIBLE } else { 0 };
    let tag = |tpid, vid: u16| Tag { tpid, tci: frame.priority | eligible | vid };
    let mut tags = match encap {
        Encap::Untagged | Encap::Port => vec![],
        Encap::Dot1q(vid) => vec![tag(C_TAG, vid.get())],
        Encap::QinqS(s) => vec![tag(S_TAG, s.get())],
        Encap::QinqSC { s, c } => vec![tag(S_TAG, s.get()), tag(C_TAG, c.get())],
    };
    if encap.is_transparent() && frame.priority_tagged {
        tags.push(Tag { tpid: C_TAG, tci: frame.priority });
    }
    let device = node.device_of(attachment).ok_or(DropReason::NoDevice)?;
    let ways = vec![(device, tagged(&frame.frame, &tags))];
    Ok(Copy { to: Place::Attachment(attachment), ways, tunnelled: None })
}

fn to_remote(node: &Node, frame: &Flood, remote: IpAddr) -> Result<Copy, DropReason> {
    let ways =
        node.ways.get(&remote).filter(|ways| !ways.is_empty()).ok_or(DropReason::Unreachable)?;
    let needs_tag = frame.priority_tagged || (frame.priority != 0 && !frame.carries_tags);
    let tags = if needs_tag { vec![Tag { tpid: C_TAG, tci: frame.priority }] } else { vec![] };
    let inner = tagged(&frame.frame, &tags);
    let around = |way: &Way| Ok((way.device, tunnel(node, frame, remote, *way, &inner)?));
    let ways = ways.iter().map(around).collect::<Result<_, DropReason>>()?;
    let source_port = if remote.is_ipv4() { 14 + 20 } else { 14 + 40 };
    Ok(Copy { to: Place::Remote(remote), ways, tunnelled: Some((source_port, frame.flow.clone())) })
}

/// RFC 7348 section 5, around a frame; the source port is left zero.
fn tunnel(
    node: &Node,
    frame: &Flood,
    remote: IpAddr,
    way: Way,
    inner: &[u8],
) -> Result<Vec<u8>, DropReason> {
    let segment = &node.config.segments[frame.segment];
    let leaf = frame.leaf && segment.service == Service::Tree;
    let [_, a, b, c] = segment.vni.get().to_be_bytes();
    let marks = u8::from(leaf) | u8::from(frame.yellow) << 1;
    let payload = [&[8, 0, 0, marks, a, b, c, 0], inner].concat();
    let dscp = if frame.yellow { police::yellow_dscp(segment.dscp) } else { segment.dscp };
    // RFC 6935: no checksum over IPv6 either.
    let udp = UdpHeader::without_ipv4_checksum(0, VXLAN_PORT, payload.len());
    let udp = udp.map_err(|_| DropReason::UnderlayMtu)?;
    let udp = [&udp.to_bytes()[..], &payload].concat();
    let (ethertype, ip) = match remote {
        IpAddr::V4(remote) => (EtherType::IPV4, ipv4(node, remote, (dscp, frame.ecn), udp.len())),
        IpAddr::V6(remote) => (EtherType::IPV6, ipv6(node, remote, (dscp, frame.ecn), udp.len())),
    };
    let ip = ip.ok_or(DropReason::Unreachable)?;
    if ip.len() + udp.len() > usize::from(way.mtu) {
        return Err(DropReason::UnderlayMtu);
    }
    let source = node.devices[way.device].mac;
    let ethernet = Ethernet2Header { source, destination: way.next_hop, ether_type: ethertype };
    Ok([&ethernet.to_bytes()[..], &ip, &udp].concat())
}

fn ipv4(
    node: &Node,
    remote: std::net::Ipv4Addr,
    class: (u8, u8),
    payload: usize,
) -> Option<Vec<u8>> {
    let source = node.config.node.vtep4?.octets();
    let mut header =
        Ipv4Header::new(u16::try_from(payload).ok()?, TTL, IpNumber::UDP, source, remote.octets())
            .ok()?;
    header.dscp = IpDscp::try_new(class.0).ok()?;
    header.ecn = IpEcn::try_new(class.1).ok()?;
    header.dont_fragment = true;
    header.header_checksum = header.calc_header_checksum();
    Some(header.to_bytes().to_vec())
}

fn ipv6(
    node: &Node,
    remote: std::net::Ipv6Addr,
    class: (u8, u8),
    payload: usize,
) -> Option<Vec<u8>> {
    let header = Ipv6Header {
        traffic_class: class.0 << 2 | class.1,
        flow_label: Ipv6FlowLabel::ZERO,
        payload_length: u16::try_from(payload).ok()?,
        next_header: IpNumber::UDP,
        hop_limit: TTL,
        source: node.config.node.vtep6?.octets(),
        destination: remote.octets(),
    };
    Some(header.to_bytes().to_vec())
}
