//! VXLAN (RFC 7348) that ends here: a UDP packet to port 4789 of one of the node's VTEP addresses,
//! sent to the uplink's own MAC. All else on an uplink is the host's.
//!
//! What is ours must be whole: no options, no fragments, lengths that agree, a right IPv4 header
//! checksum. The I flag must be set; other flags and reserved bits are ignored. The source must be
//! a remote of the segment that the VNI means.

use std::net::{IpAddr, Ipv4Addr};

use etherparse::{IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice};
use sillon::model::Service;
use sillon_abi::DropReason;

use super::{
    Place, Scope,
    frame::{IPV4, IPV6, be16},
    node::{Arrival, Node},
};

const VXLAN_PORT: u16 = 4789;
const ETHERNET: usize = 14;
const UDP: usize = 8;
/// The number of UDP.
const IS_UDP: u8 = 17;
const VXLAN: usize = 8;
/// The I flag, in the first byte of the VXLAN header.
const VNI_IS_VALID: u8 = 0x08;
/// The G bit, beside it: what is behind the flags is a group policy of the sender's, and no marks.
const IS_POLICY: u8 = 0x80;
/// The lowest of the reserved bits behind the flags: between nodes, "from a leaf of a tree".
const FROM_LEAF: u8 = 0x01;
/// The next one: "yellow".
const YELLOW: u8 = 0x02;

/// The IP header of a VXLAN packet to this node.
struct Outer {
    source: IpAddr,
    ecn: u8,
    /// Bytes behind the IP header, as it says.
    payload: usize,
    /// Where the UDP header begins.
    udp: usize,
}

/// Takes a frame out of its tunnel; none if it is the host's.
///
/// # Errors
/// It is a VXLAN packet to this node that is not in order, or not of a segment.
pub fn receive(
    node: &Node,
    device: usize,
    frame: &[u8],
) -> Result<Option<Arrival>, (Scope, DropReason)> {
    let at_port = |reason| (Scope::Port(device), reason);
    if !frame.starts_with(&node.devices[device].mac) {
        return Ok(None);
    }
    let outer = match be16(frame, 12) {
        Ok(IPV4) => ipv4(node, frame).map_err(at_port)?,
        Ok(IPV6) => ipv6(node, frame).map_err(at_port)?,
        _ => None,
    };
    let Some(outer) = outer else { return Ok(None) };
    let (vni, marks, inner) = vxlan(&outer, frame).map_err(at_port)?;
    let segment = node.config.segments.iter().position(|segment| segment.vni.get() == vni);
    let segment = segment.ok_or(at_port(DropReason::UnknownVni))?;
    if !node.config.segments[segment].remotes.contains(&outer.source) {
        return Err((Scope::Segment(segment), DropReason::UnknownSource));
    }
    Ok(Some(Arrival {
        segment,
        from: Place::Remote(outer.source),
        leaf: marks & FROM_LEAF != 0 && node.config.segments[segment].service == Service::Tree,
        priority: 0,
        may_carry_tags: true,
        outer_ecn: outer.ecn,
        yellow: marks & YELLOW != 0,
        counted: inner.len(),
        tags: vec![],
        frame: inner.to_vec(),
    }))
}

/// The IPv4 header, if this is VXLAN to this node. What is in fragments might be, and VTEPs don't
/// fragment (RFC 7348 section 4.3).
fn ipv4(node: &Node, frame: &[u8]) -> Result<Option<Outer>, DropReason> {
    let bytes = &frame[ETHERNET..];
    let Some(fixed) = bytes.first_chunk::<20>() else { return Ok(None) };
    let to = Ipv4Addr::from([fixed[16], fixed[17], fixed[18], fixed[19]]);
    let is_header = fixed[0] >> 4 == 4 && fixed[0] & 0xf >= 5;
    if !is_header || fixed[9] != IS_UDP || Some(to) != node.config.node.vtep4 {
        return Ok(None);
    }
    // "More fragments" and the offset.
    if u16::from_be_bytes([fixed[6], fixed[7]]) & 0x3fff != 0 {
        return Err(DropReason::OuterFragment);
    }
    let Ok(ip) = Ipv4HeaderSlice::from_slice(bytes) else { return Ok(None) };
    if be16(bytes, ip.slice().len() + 2) != Ok(VXLAN_PORT) {
        return Ok(None);
    }
    let has_options = ip.slice().len() > 20;
    let payload = usize::from(ip.total_len()).checked_sub(20).ok_or(DropReason::OuterMalformed)?;
    if has_options || !sums_up(ip.slice()) {
        return Err(DropReason::OuterMalformed);
    }
    Ok(Some(Outer {
        source: ip.source_addr().into(),
        ecn: ip.ecn().value(),
        payload,
        udp: ETHERNET + ip.slice().len(),
    }))
}

/// RFC 1071: the ones' complement sum of a header that has its checksum in it.
fn sums_up(header: &[u8]) -> bool {
    let sum: u32 =
        header.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    sum != 0 && sum.is_multiple_of(0xffff)
}

fn ipv6(node: &Node, frame: &[u8]) -> Result<Option<Outer>, DropReason> {
    let bytes = &frame[ETHERNET..];
    let Ok(ip) = Ipv6HeaderSlice::from_slice(bytes) else { return Ok(None) };
    if Some(ip.destination_addr()) != node.config.node.vtep6 {
        return Ok(None);
    }
    let behind = &bytes[ip.slice().len()..];
    match ip.next_header() {
        // Its first byte says what is in fragments; the second is reserved.
        IpNumber::IPV6_FRAGMENTATION_HEADER if matches!(behind, [IS_UDP, _, ..]) => {
            Err(DropReason::OuterFragment)
        }
        IpNumber::UDP if be16(behind, 2) == Ok(VXLAN_PORT) => Ok(Some(Outer {
            source: ip.source_addr().into(),
            ecn: ip.ecn().value(),
            payload: ip.payload_length().into(),
            udp: ETHERNET + ip.slice().len(),
        })),
        _ => Ok(None),
    }
}

/// The VNI, what the other node says of the frame, and the frame.
fn vxlan<'a>(outer: &Outer, frame: &'a [u8]) -> Result<(u32, u8, &'a [u8]), DropReason> {
    let headers = frame.get(outer.udp..outer.udp + UDP + VXLAN).ok_or(DropReason::Truncated)?;
    let is_whole = frame.len() >= outer.udp + outer.payload;
    let has_frame = outer.payload >= UDP + VXLAN + ETHERNET;
    if !is_whole || !has_frame || usize::from(be16(headers, 4)?) != outer.payload {
        return Err(DropReason::OuterMalformed);
    }
    let vxlan = &headers[UDP..];
    if vxlan[0] & VNI_IS_VALID == 0 {
        return Err(DropReason::NoVniFlag);
    }
    let vni = u32::from_be_bytes([0, vxlan[4], vxlan[5], vxlan[6]]);
    let inner = &frame[outer.udp + UDP + VXLAN..outer.udp + outer.payload];
    let marks = if vxlan[0] & IS_POLICY == 0 { vxlan[3] } else { 0 };
    Ok((vni, marks, inner))
}
