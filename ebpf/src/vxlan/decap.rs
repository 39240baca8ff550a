//! VXLAN (RFC 7348) that ends here. On an uplink, a UDP packet to port 4789 of one of this node's
//! VTEP addresses, sent to the port's own MAC, is ours; everything else is the host's (BGP, SSH,
//! transit) and passes.
//!
//! UDP in fragments to a VTEP address is dropped, the first and all others (`outer-fragment`):
//! VTEPs do not fragment (RFC 7348 section 4.3), only the first says which port it is for, and of
//! the others alone the host would keep each for half a minute (RFC 791 section
//! 3.2, CVE-2018-5391). So a service of the host that fragments what it sends over UDP needs an
//! address of its own.
//!
//! What is ours must be whole: no options, lengths that agree, a right IPv4 header checksum. The I
//! flag must be set, other flags and reserved bits are ignored. The VNI must be served here, and
//! the *source must be a remote of that segment*: a VTEP of another segment is as much a stranger
//! as any other host. A UDP checksum is not verified, as RFC 7348 section 4.1 allows, and may be
//! zero over IPv6 (RFC 6935).
//!
//! Between nodes, the lowest of the reserved bits behind the flags says "from a leaf of a `tree`"
//! (sent in trees only), and the next one "yellow" (`police`). With the G bit
//! (draft-smith-vxlan-group-policy) the sender's policy stands there, and says neither.

use sillon_abi::{
    Addr, DropReason, ETHERNET, Endpoint, PortEntry, TunnelEntry, TunnelKey, V4_OUTER, V6_OUTER,
};

use crate::{
    count::Scope,
    frame::{Frame, Macs, halves},
    maps::{TUNNELS, VNIS},
    meta::Ingress,
    vxlan::encap::{LEAF, VXLAN_PORT, YELLOW},
    wire::{
        ANY_FRAGMENT, ETHERTYPE, IPV4, IPV4_HEADER, IPV4_PLAIN, IPV6, IPV6_FRAGMENT, IPV6_HEADER,
        UDP,
    },
};

pub const UDP_AND_VXLAN: usize = 16;
/// The two addresses of an inner frame.
const MACS: usize = size_of::<[u32; 3]>();
/// The smallest inner frame: an Ethernet header.
const SMALLEST: usize = UDP_AND_VXLAN + ETHERNET;

/// Of the first word of a frame, what is the destination.
const DESTINATION: u64 = 0xffff_ffff_ffff;

/// The VXLAN header, as its two words stand in the packet.
#[derive(Clone, Copy)]
pub struct Vxlan {
    pub flags: u32,
    pub vni: u32,
}

impl Vxlan {
    /// The I flag: there is a VNI.
    const VALID: u32 = u32::from_ne_bytes([0x08, 0, 0, 0]);
    /// The G bit: what is behind the flags is a group policy.
    const POLICY: u32 = u32::from_ne_bytes([0x80, 0, 0, 0]);
    /// [`LEAF`], behind the flags.
    const LEAF: u32 = (LEAF.to_be() as u32) << 16;
    /// [`YELLOW`], beside it.
    const YELLOW: u32 = (YELLOW.to_be() as u32) << 16;
    /// The last byte is reserved.
    const VNI: u32 = u32::from_ne_bytes([0xff, 0xff, 0xff, 0]);

    /// Without marks where these bits are somebody else's.
    #[inline(always)]
    fn with_marks_of_ours(self) -> Self {
        let kept =
            if self.flags & Self::POLICY != 0 { !(Self::LEAF | Self::YELLOW) } else { u32::MAX };
        Self { flags: self.flags & kept, vni: self.vni }
    }

    #[inline(always)]
    fn is_valid(self) -> bool {
        self.flags & Self::VALID != 0
    }

    #[inline(always)]
    pub fn vni(self) -> u32 {
        u32::from_be(self.vni) >> 8
    }

    /// Whether a leaf of a `tree` sent it.
    #[inline(always)]
    pub fn is_from_leaf(self) -> bool {
        self.flags & Self::LEAF != 0
    }

    /// Whether the node that it comes from found it yellow.
    #[inline(always)]
    pub fn is_yellow(self) -> bool {
        self.flags & Self::YELLOW != 0
    }

    /// Whether it is valid, not yellow, and its marks are ours.
    #[inline(always)]
    pub fn is_plain(self) -> bool {
        self.flags & (Self::VALID | Self::YELLOW | Self::POLICY) == Self::VALID
    }

    /// The VNI, and whether a leaf sent it, as one word whose topmost two bytes are zero.
    #[inline(always)]
    pub fn place(self) -> u64 {
        u64::from(self.vni & Self::VNI) | u64::from(self.flags & Self::LEAF) << 16
    }
}

/// The outer header, as far as it matters.
struct OuterHeader {
    /// The source, as the words of an [`Addr`].
    source: [u64; 2],
    /// Bytes of it.
    header: usize,
    /// Bytes of UDP header and payload, as the IP header says.
    payload: usize,
    ecn: u8,
}

/// A packet that is ours to take out of its tunnel.
pub struct TunnelPacket {
    /// The tunnel's source, as the words of an [`Addr`].
    pub source: [u64; 2],
    pub vxlan: Vxlan,
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

impl TunnelPacket {
    #[inline(always)]
    fn key(&self) -> TunnelKey {
        // SAFETY: an address is its sixteen bytes, whatever they are.
        let source = unsafe { core::mem::transmute::<[u64; 2], Addr>(self.source) };
        TunnelKey::new(self.vxlan.vni(), source)
    }
}

/// Reads the outer header, or says that the frame is not ours.
#[inline(always)]
pub fn packet(
    frame: &impl Frame,
    port: &PortEntry,
    len: usize,
) -> Result<Option<TunnelPacket>, DropReason> {
    // Nothing of ours is shorter.
    let Ok(at) = frame.at::<[u16; (ETHERNET + IPV4_HEADER) / 2]>(0) else { return Ok(None) };
    // SAFETY: as many bytes are there.
    let (destination, ethertype, ip) = unsafe {
        (
            at.cast::<u64>().read_unaligned() & DESTINATION,
            at.cast::<u16>().add(ETHERTYPE / 2).read_unaligned(),
            at.cast::<u16>().add(ETHERNET / 2).cast::<[u32; 5]>(),
        )
    };
    if destination != port.mac.number() || frame.hw_vlan_len() != 0 {
        return Ok(None);
    }
    let outer = match u16::from_be(ethertype) {
        // SAFETY: as above.
        IPV4 => ipv4(frame, unsafe { ip.read_unaligned() }, port)?,
        IPV6 => ipv6(frame, port)?,
        _ => None,
    };
    match outer {
        Some(outer) => vxlan(frame, &outer, len),
        None => Ok(None),
    }
}

#[inline(always)]
fn ipv4(
    frame: &impl Frame,
    ip: [u32; 5],
    port: &PortEntry,
) -> Result<Option<OuterHeader>, DropReason> {
    let vtep = u32::from_ne_bytes(port.vtep4);
    if ip[2].to_ne_bytes()[1] != UDP || ip[4] != vtep || vtep == 0 {
        return Ok(None);
    }
    let [version, tos, ..] = ip[0].to_ne_bytes();
    if !(IPV4_PLAIN..0x50).contains(&version) {
        return Ok(None);
    }
    let [_, fragment] = halves(ip[1]);
    if fragment & ANY_FRAGMENT != 0 {
        return Err(DropReason::OuterFragment);
    }
    let [_, total] = halves(ip[0]);
    let total = u16::from_be(total) as usize;
    if version != IPV4_PLAIN || total < IPV4_HEADER || !sums_up(&ip) {
        let udp = ETHERNET + (version & 0xf) as usize * 4;
        return if is_vxlan(frame, udp) { Err(DropReason::OuterMalformed) } else { Ok(None) };
    }
    Ok(Some(OuterHeader {
        source: [0, u64::from(ip[3]) << 32 | MAPPED],
        header: V4_OUTER,
        payload: total - IPV4_HEADER,
        ecn: tos & 3,
    }))
}

#[inline(always)]
fn is_vxlan(frame: &impl Frame, udp: usize) -> bool {
    frame.read_be16(udp + 2) == Ok(VXLAN_PORT)
}

/// The second word of an IPv4 address as an [`Addr`], but for the address itself.
const MAPPED: u64 = u64::from_ne_bytes([0, 0, 0xff, 0xff, 0, 0, 0, 0]);

#[inline(always)]
fn ipv6(frame: &impl Frame, port: &PortEntry) -> Result<Option<OuterHeader>, DropReason> {
    let Ok(ip) = frame.read::<[u64; 5]>(ETHERNET) else { return Ok(None) };
    // SAFETY: sixteen bytes of a map value.
    let vtep = unsafe { (&raw const port.vtep6).cast::<[u64; 2]>().read_unaligned() };
    let [version, tos, _, _, _, _, next, _] = ip[0].to_ne_bytes();
    let is_ours = version >> 4 == 6 && [ip[3], ip[4]] == vtep && vtep != [0; 2];
    if is_ours && next == IPV6_FRAGMENT {
        return fragment(frame);
    }
    if !is_ours || next != UDP {
        return Ok(None);
    }
    let mut source = [ip[1], ip[2]];
    if source[0] == 0 && source[1] as u32 == MAPPED as u32 {
        // That is how the tables keep IPv4 remotes; on the wire it is nobody's address (RFC 6890
        // section 2.2.3).
        source = [0; 2];
    }
    let payload = u16::from_be((ip[0] >> 32) as u16) as usize;
    Ok(Some(OuterHeader { source, header: V6_OUTER, payload, ecn: tos >> 4 & 3 }))
}

/// A packet with a fragment header (RFC 8200 section 4.5), be it the only one of its kind (RFC
/// 6946).
#[inline(always)]
fn fragment(frame: &impl Frame) -> Result<Option<OuterHeader>, DropReason> {
    match frame.read::<u16>(ETHERNET + IPV6_HEADER).map(|header| header.to_ne_bytes()[0]) {
        Ok(UDP) => Err(DropReason::OuterFragment),
        _ => Ok(None),
    }
}

/// Whether an IPv4 header without options has the checksum that it should (RFC 1071, whose section
/// 2 allows for sums of wider words).
#[inline(always)]
pub fn sums_up(ip: &[u32; 5]) -> bool {
    let mut sum = 0u64;
    for word in ip {
        sum += u64::from(*word);
    }
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    // All ones, of which there are two: one more fold makes them the same.
    sum == 0xffff || sum == 0x1_fffe
}

/// What is behind the IP header.
#[inline(always)]
fn vxlan(
    frame: &impl Frame,
    outer: &OuterHeader,
    len: usize,
) -> Result<Option<TunnelPacket>, DropReason> {
    let &OuterHeader { source, header, payload, ecn } = outer;
    let udp = header - UDP_AND_VXLAN;
    let Ok(at) = frame.at::<[u16; (UDP_AND_VXLAN + MACS) / 2]>(udp) else {
        return too_short(frame, udp);
    };
    // SAFETY: as many bytes are there.
    let ([ports, len_and_checksum, flags, vni], macs) = unsafe {
        (at.cast::<[u32; 4]>().read_unaligned(), Macs::read(at.cast::<u8>().add(UDP_AND_VXLAN)))
    };
    if halves(ports)[1] != VXLAN_PORT.to_be() {
        return Ok(None);
    }
    let [udp_len, _] = halves(len_and_checksum);
    let fits =
        payload >= SMALLEST && udp + payload <= len && u16::from_be(udp_len) as usize == payload;
    if !fits {
        return Err(DropReason::OuterMalformed);
    }
    let vxlan = Vxlan { flags, vni }.with_marks_of_ours();
    if !vxlan.is_valid() {
        return Err(DropReason::NoVniFlag);
    }
    Ok(Some(TunnelPacket {
        source,
        vxlan,
        ecn,
        header,
        macs,
        len: payload - UDP_AND_VXLAN,
        padding: len - udp - payload,
    }))
}

/// A packet that ends before the addresses of an inner frame.
#[inline(always)]
fn too_short(frame: &impl Frame, udp: usize) -> Result<Option<TunnelPacket>, DropReason> {
    if !is_vxlan(frame, udp) {
        return Ok(None);
    }
    frame.read::<[u32; 4]>(udp)?;
    Err(DropReason::OuterMalformed)
}

/// Whose a packet is: its VNI and its source must belong together.
#[inline(always)]
pub fn classify(packet: &TunnelPacket, scope: &mut Scope) -> Result<Ingress, DropReason> {
    let key = &packet.key();
    // SAFETY: a map value, alive for the run of the program; `key` in it shows whether it is still
    // ours.
    if let Some(tunnel) = TUNNELS.get_ptr(key).map(|tunnel| unsafe { &*tunnel }) {
        return if tunnel.key == *key {
            Ok(ingress(tunnel, packet.header, packet.vxlan.is_from_leaf()))
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
fn ingress(tunnel: &TunnelEntry, header: usize, leaf: bool) -> Ingress {
    Ingress {
        endpoint: Endpoint::remote(tunnel.remote),
        segment: tunnel.segment,
        cross: tunnel.cross,
        fdb_limit: tunnel.fdb_limit,
        vni: tunnel.key.vni,
        lead: header as u8,
        mtu: tunnel.mtu,
        service: tunnel.service,
        leaf: leaf && tunnel.service == sillon_abi::Service::Tree as u8,
        tos: 0,
        transparent: true,
        // The node that it came in at has looked at the rest.
        guards: tunnel.guards,
    }
}
