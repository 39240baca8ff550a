//! VXLAN (RFC 7348) that ends here. On an uplink, a UDP packet to port 4789 of one of this node's VTEP addresses, sent to the
//! port's own MAC, is ours; everything else is the host's (BGP, SSH, transit) and passes.
//!
//! UDP in fragments to a VTEP address is dropped, the first and all others (`outer-fragment`): VTEPs do not fragment (RFC 7348 section
//! 4.3), only the first says which port it is for, and of the others alone the host would keep each for half a minute (RFC 791 section
//! 3.2, CVE-2018-5391). So a service of the host that fragments what it sends over UDP needs an address of its own.
//!
//! What is ours must be whole: no options, lengths that agree, a right IPv4 header checksum. The I flag must be
//! set, other flags and reserved bits are ignored. The VNI must be served here, and the *source must be a remote of that
//! segment*: a VTEP of another segment is as much a stranger as any other host. A UDP checksum is not verified, as RFC
//! 7348 section 4.1 allows, and may be zero over IPv6 (RFC 6935).
//!
//! Between nodes, the lowest of the reserved bits behind the flags says "from a leaf of a `tree`" (sent in trees only), and the next one "yellow" (`police`).

use sillon_abi::{
    Addr, DropReason, Exit, Mac, NodeEntry, PortEntry, TunnelEntry, TunnelKey, V4_OUTER, V6_OUTER,
};

use crate::{
    classify::Origin,
    count::Scope,
    frame::{Frame, Macs, halves},
    maps::{NODE, TUNNELS, VNIS},
    outer::{LEAF, VXLAN_PORT},
    parse::{ETHERTYPE, IPV4, IPV6},
};

const UDP: u8 = 17;
const ETH: usize = 14;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const UDP_AND_VXLAN: usize = 16;
/// Number of IPv6's fragment header.
const FRAGMENT: u8 = 44;
const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;
/// The I flag.
const VNI_IS_VALID: u8 = 0x08;
/// The smallest inner frame: an Ethernet header.
const SMALLEST: usize = UDP_AND_VXLAN + ETH;

/// The outer header, as far as it matters.
struct Outer {
    source: Addr,
    /// Bytes of it.
    header: usize,
    /// Bytes of UDP header and payload, as the IP header says.
    payload: usize,
    ecn: u8,
}

/// A packet that is ours to take out of its tunnel.
pub struct Packet {
    pub key: TunnelKey,
    /// What the node that it comes from says of it: [`LEAF`], and `outer::YELLOW`.
    pub marks: u16,
    /// ECN field of the outer header.
    pub ecn: u8,
    /// Where the inner frame begins.
    pub header: usize,
    /// Addresses of the inner frame.
    pub macs: Macs,
    /// Bytes of the inner frame.
    pub len: usize,
    /// Bytes behind it.
    pub padding: usize,
}

impl Packet {
    /// Whether a leaf of a `tree` sent it.
    #[inline(always)]
    pub fn is_from_leaf(&self) -> bool {
        self.marks & LEAF != 0
    }
}

/// Reads the outer header, or says that the frame is not ours.
#[inline(always)]
pub fn packet(frame: &Frame, port: &PortEntry) -> Result<Option<Packet>, DropReason> {
    let (Ok(dst), Ok(ethertype)) = (frame.read::<Mac>(0), frame.read_be16(ETHERTYPE)) else {
        return Ok(None);
    };
    let Some(node) = NODE.get(0) else { return Ok(None) };
    if dst != port.mac {
        return Ok(None);
    }
    let outer = match ethertype {
        IPV4 => ipv4(frame, node)?,
        IPV6 => ipv6(frame, node)?,
        _ => None,
    };
    let Some(outer) = outer else { return Ok(None) };
    let len = frame.len();
    let (key, marks) = vxlan(frame, &outer, len)?;
    Ok(Some(Packet {
        key,
        marks,
        ecn: outer.ecn,
        header: outer.header,
        macs: frame.read_macs(outer.header)?,
        len: outer.payload - UDP_AND_VXLAN,
        padding: len - (outer.header - UDP_AND_VXLAN) - outer.payload,
    }))
}

#[inline(always)]
fn ipv4(frame: &Frame, node: &NodeEntry) -> Result<Option<Outer>, DropReason> {
    let Ok(ip) = frame.read::<[u32; 5]>(ETH) else { return Ok(None) };
    let vtep = u32::from_ne_bytes(node.vtep4);
    if ip[2].to_ne_bytes()[1] != UDP || ip[4] != vtep || vtep == 0 {
        return Ok(None);
    }
    let [version, tos, ..] = ip[0].to_ne_bytes();
    let header = ((version & 0xf) as usize) * 4;
    if version >> 4 != 4 || header < IPV4_HEADER {
        return Ok(None);
    }
    let [_, fragment] = halves(ip[1]).map(u16::from_be);
    if fragment & (MORE_FRAGMENTS | FRAGMENT_OFFSET) != 0 {
        return Err(DropReason::OuterFragment);
    }
    if !is_vxlan(frame, ETH + header) {
        return Ok(None);
    }
    let [_, total] = halves(ip[0]);
    let total = u16::from_be(total) as usize;
    if header != IPV4_HEADER || total < IPV4_HEADER || !sums_up(&ip) {
        return Err(DropReason::OuterMalformed);
    }
    let source = halves(ip[3]);
    Ok(Some(Outer {
        source: Addr::v4(source[0], source[1]),
        header: V4_OUTER,
        payload: total - IPV4_HEADER,
        ecn: tos & 3,
    }))
}

#[inline(always)]
fn ipv6(frame: &Frame, node: &NodeEntry) -> Result<Option<Outer>, DropReason> {
    let Ok(ip) = frame.read::<[u16; 20]>(ETH) else { return Ok(None) };
    let destination = [ip[12], ip[13], ip[14], ip[15], ip[16], ip[17], ip[18], ip[19]];
    let [next, _] = ip[3].to_ne_bytes();
    let is_ours = ip[0].to_ne_bytes()[0] >> 4 == 6 && destination == node.vtep6 && node.vtep6 != [0; 8];
    if is_ours && next == FRAGMENT {
        return fragment(frame);
    }
    if !is_ours || next != UDP || !is_vxlan(frame, ETH + IPV6_HEADER) {
        return Ok(None);
    }
    let mut source = Addr([ip[4], ip[5], ip[6], ip[7], ip[8], ip[9], ip[10], ip[11]]);
    if source.is_v4() {
        // That is how the tables keep IPv4 remotes; on the wire it is nobody's address (RFC 6890 section 2.2.3).
        source = Addr::default();
    }
    let ecn = (u16::from_be(ip[0]) >> 4) as u8 & 3;
    Ok(Some(Outer { source, header: V6_OUTER, payload: u16::from_be(ip[2]) as usize, ecn }))
}

/// A packet with a fragment header (RFC 8200 section 4.5), be it the only one of its kind (RFC 6946).
#[inline(always)]
fn fragment(frame: &Frame) -> Result<Option<Outer>, DropReason> {
    match frame.read::<u16>(ETH + IPV6_HEADER).map(|header| header.to_ne_bytes()[0]) {
        Ok(UDP) => Err(DropReason::OuterFragment),
        _ => Ok(None),
    }
}

#[inline(always)]
fn is_vxlan(frame: &Frame, udp: usize) -> bool {
    frame.read_be16(udp + 2) == Ok(VXLAN_PORT)
}

/// Whether an IPv4 header without options has the checksum that it should (RFC 1071, whose section 2 allows for sums of wider words).
#[inline(always)]
fn sums_up(ip: &[u32; 5]) -> bool {
    let mut sum = 0u64;
    for word in ip {
        sum += u64::from(*word);
    }
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum == 0xffff
}

/// The VNI with its source, and what is said of the frame.
#[inline(always)]
fn vxlan(frame: &Frame, outer: &Outer, len: usize) -> Result<(TunnelKey, u16), DropReason> {
    let [_, len_and_checksum, flags, vni]: [u32; 4] = frame.read(outer.header - UDP_AND_VXLAN)?;
    let whole = outer.payload >= SMALLEST && outer.header - UDP_AND_VXLAN + outer.payload <= len;
    let [udp_len, _] = halves(len_and_checksum);
    if !whole || u16::from_be(udp_len) as usize != outer.payload {
        return Err(DropReason::OuterMalformed);
    }
    if flags.to_ne_bytes()[0] & VNI_IS_VALID == 0 {
        return Err(DropReason::NoVniFlag);
    }
    let key = TunnelKey::new(u32::from_be(vni) >> 8, outer.source);
    let [_, reserved] = halves(flags);
    Ok((key, u16::from_be(reserved)))
}

/// Whose a packet is: its VNI and its source must belong together.
#[inline(always)]
pub fn classify(packet: &Packet, scope: &mut Scope) -> Result<Origin, DropReason> {
    let key = &packet.key;
    // SAFETY: a map value, alive for the run of the program; `key` in it shows whether it is still ours.
    if let Some(tunnel) = TUNNELS.get_ptr(key).map(|tunnel| unsafe { &*tunnel }) {
        return if tunnel.key == *key {
            Ok(origin(tunnel, packet.header, packet.is_from_leaf()))
        } else {
            Err(DropReason::StaleExit)
        };
    }
    match VNIS.get_ptr(key.vni) {
        Some(segment) => {
            // SAFETY: one aligned word of a map value.
            *scope = Scope::segment(unsafe { *segment });
            Err(DropReason::UnknownSource)
        }
        None => Err(DropReason::UnknownVni),
    }
}

#[inline(always)]
fn origin(tunnel: &TunnelEntry, header: usize, leaf: bool) -> Origin {
    Origin {
        ingress: Exit::remote(tunnel.remote),
        segment: tunnel.segment,
        cross: tunnel.cross,
        fdb_limit: tunnel.fdb_limit,
        vni: tunnel.key.vni,
        lead: header as u32,
        mtu: tunnel.mtu,
        service: tunnel.service,
        leaf: leaf && tunnel.service == sillon_abi::Service::Tree as u8,
        tos: 0,
        transparent: true,
        // The node that it came in at has looked at the rest.
        guards: tunnel.guards,
    }
}
