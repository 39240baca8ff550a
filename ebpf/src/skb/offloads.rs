//! What the kernel will do to a frame after our last look, because its sender said so: finish a
//! checksum, take several packets apart that travel as one. Both are numbers beside the bytes,
//! which whoever has a raw socket or a virtual machine can choose, and they stay as they are while
//! tags and tunnels come and go. So each must be what it is for the very packet that we have looked
//! at:
//!
//! - a checksum that is left to the device is that of the frame's own TCP, UDP or SCTP header, or
//!   of one in the one tunnel that it is in (VXLAN, Geneve, GRE, IP in IP): else two bytes of the
//!   frame would change behind our back (`checksum-offset`);
//! - packets that travel as one are TCP or UDP directly behind an IP header, here or in that
//!   tunnel, of the kind that the sender says, and have at least [`LEAST`] bytes of payload each:
//!   else they would be other and more packets than were judged (`segment-shape`).

use aya_ebpf::bindings::__sk_buff;
use sillon_abi::{DropReason, ETHERNET};

use super::{Skb, frame::SkbFrame, kernel::Unfinished};
use crate::{
    frame::{Frame, Gso},
    guard::{ipv6, unwrap},
    wire::{ANY_FRAGMENT, ETHERTYPE, IPV4, IPV6, SCTP, TCP, UDP},
};

/// The least payload of each packet but the last. The kernel's TCP has no smaller segments
/// (`TCP_MIN_SND_MSS`).
const LEAST: usize = 48;

const IPV4_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
const GRE: u8 = 47;
const UDP_HEADER: usize = 8;
/// Bytes of a VXLAN header, and of a Geneve header without options.
const VXLAN_HEADER: usize = 8;
const GENEVE_PORT: u16 = 6081;
/// Ethertype of Ethernet in GRE (RFC 7637).
const BRIDGED: u16 = 0x6558;
/// How far into a frame packets are looked for.
const REACH: usize = 0xff;

/// `SKB_GSO_…` of include/linux/skbuff.h.
mod gso {
    pub const TCPV4: u32 = 1;
    pub const DODGY: u32 = 1 << 1;
    pub const TCP_ECN: u32 = 1 << 2;
    pub const TCP_FIXEDID: u32 = 1 << 3 | 1 << 30 | 1 << 31;
    pub const TCPV6: u32 = 1 << 4;
    pub const GRE: u32 = 1 << 6 | 1 << 7;
    pub const IP_IN_IP: u32 = 1 << 8 | 1 << 9;
    pub const UDP_TUNNEL: u32 = 1 << 10 | 1 << 11;
    pub const UDP_L4: u32 = 1 << 17;
    pub const TCP_ACCECN: u32 = 1 << 19;
    /// What of a tunnel is said.
    pub const TUNNEL: u32 = GRE | IP_IN_IP | UDP_TUNNEL;
    /// What changes nothing about which packets there are.
    pub const HARMLESS: u32 = DODGY | TCP_ECN | TCP_FIXEDID | TCP_ACCECN;
}

/// Where the frame is on its way.
#[derive(Clone, Copy)]
pub struct Whence(u32);

impl Whence {
    /// As it came in at a port that faces an operator.
    pub const PORT: Self = Self(0);
    /// Out of a tunnel of the fabric's, whose header is gone; the kernel may still say that it is
    /// there.
    pub const LEFT_TUNNEL: Self = Self(1);

    /// Behind so many bytes of a tunnel's header, which will go.
    #[inline(always)]
    pub const fn in_tunnel(header: usize) -> Self {
        Self(header as u32)
    }

    #[inline(always)]
    fn header(self) -> usize {
        if self.0 > Self::LEFT_TUNNEL.0 { self.0 as usize & REACH } else { 0 }
    }
}

/// What a frame is as packets on the wire, of one whose packet, of this ethertype, starts at `l3`.
#[inline(always)]
pub fn gso(
    ctx: *mut __sk_buff,
    ethertype: u16,
    l3: usize,
    whence: Whence,
) -> Result<Gso, DropReason> {
    unpacked(sillon_offloads(ctx, ethertype.into(), l3 as u32, whence.0))
}

impl Skb {
    /// The same, whatever tags it has.
    #[inline(always)]
    pub fn as_it_stands(self, whence: Whence) -> Result<Gso, DropReason> {
        self.pull();
        let ethertype = SkbFrame::of(self.ctx).read_tag(ETHERTYPE)?;
        gso(self.ctx, ethertype, ETHERNET, whence)
    }
}

/// In such a word: bits of how many packets there are, and behind them whether they are nested.
const MORE: u64 = (1 << NESTED) - 1;
const NESTED: u64 = 19;

/// [`Gso`] in a word, or why the frame is dropped. One packet has no extra headers: without extra
/// segments, what stands in their place is a reason.
#[inline(always)]
fn packed(gso: Result<Gso, DropReason>) -> u64 {
    match gso {
        Ok(Gso { excess, headers, extra_segments, nested }) => {
            let more = extra_segments as u64 & MORE | u64::from(nested) << NESTED;
            (excess as u64) << 44 | more << 24 | headers as u64 & 0xff_ffff
        }
        Err(reason) => reason as u64,
    }
}

#[inline(always)]
fn unpacked(word: u64) -> Result<Gso, DropReason> {
    let (more, low) = ((word >> 24 & MORE) as usize, word as usize & 0xff_ffff);
    if more == 0 && low != 0 {
        return Err(DropReason::from_number(low as u32).unwrap_or(DropReason::SegmentShape));
    }
    Ok(Gso {
        excess: (word >> 44) as usize,
        headers: low,
        extra_segments: more,
        nested: word >> (24 + NESTED) & 1 != 0,
    })
}

/// See [`gso`]. A global function, as all of them are here that have many ways through them: the
/// verifier walks through it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sillon_offloads(ctx: *mut __sk_buff, ethertype: u32, l3: u32, whence: u32) -> u64 {
    packed(judge(&SkbFrame::of(ctx), ethertype as u16, l3 as usize & REACH, Whence(whence)))
}

#[inline(always)]
fn judge(frame: &SkbFrame, ethertype: u16, l3: usize, whence: Whence) -> Result<Gso, DropReason> {
    let (skb, hw_vlan_len) = (frame.skb, frame.hw_vlan_len());
    let mut unfinished = None;
    if skb.is_unfinished()? {
        let Unfinished { start, offset } = skb.unfinished()?;
        let start = start.wrapping_add(hw_vlan_len);
        // The kernel forgets a checksum of what is taken off the frame.
        if start >= whence.header() {
            unfinished = Some(Unfinished { start, offset });
        }
    }
    let size = skb.segment_size();
    if unfinished.is_none() && size == 0 {
        return Ok(Gso::default());
    }
    let kind = if size == 0 { 0 } else { skb.gso_type()? };
    // What travels as one in a tunnel of the fabric's says so. Else it is the tunnel's own packets
    // that the uplink has merged (GRO by the outer header): of as many frames as there were,
    // and of whatever segments those are in.
    if size != 0 && whence.header() != 0 && kind & gso::UDP_TUNNEL == 0 {
        return Err(DropReason::SegmentShape);
    }
    let outermost = UpperWord::of(frame, ethertype, l3);
    // Of what came out of a tunnel before, the kernel may still say so; TCP it takes apart all the
    // same.
    let may_be_inside = whence.0 == Whence::PORT.0 && outermost.protocol() != TCP;
    let tunnel = if may_be_inside { kind & gso::TUNNEL } else { 0 };
    let is_inside = match unfinished {
        Some(Unfinished { start, .. }) => start != outermost.at(),
        None => tunnel != 0,
    };
    let upper = if is_inside { outermost.inside(frame) } else { outermost };
    if let Some(Unfinished { start, offset }) = unfinished
        && !(start == upper.at() && upper.checksum() == Some(offset))
    {
        return Err(DropReason::ChecksumOffset);
    }
    if size == 0 {
        return Ok(Gso { nested: is_inside, ..Gso::default() });
    }
    if !(is_inside == (tunnel != 0) && upper.is_kind(kind)) {
        return Err(DropReason::SegmentShape);
    }
    if is_inside
        && !(outermost.is_tunnel(tunnel) && upper.is_where_told(skb, hw_vlan_len, tunnel)?)
    {
        return Err(DropReason::SegmentShape);
    }
    Ok(Gso { nested: is_inside, ..packets(frame, upper, size)? })
}

/// What packets of `size` bytes of payload each are on the wire.
#[inline(always)]
fn packets(frame: &SkbFrame, upper: UpperWord, size: usize) -> Result<Gso, DropReason> {
    let header = match upper.protocol() {
        TCP => usize::from(frame.load::<u8>(upper.at() + 12)? >> 4) * 4,
        _ => UDP_HEADER,
    };
    let (headers, len) = (upper.at() + header, frame.len());
    if header < UDP_HEADER || size < LEAST || len < headers {
        return Err(DropReason::SegmentShape);
    }
    let payload = len - headers;
    if payload <= size {
        return Ok(Gso::default());
    }
    let more = (payload - 1) / size;
    Ok(Gso { excess: payload - size, headers: more * headers, extra_segments: more, nested: false })
}

/// The header of the upper layer of a packet that is no fragment: a word of its place, its
/// protocol, and what is in front of it. Zero is none.
#[derive(Clone, Copy)]
struct UpperWord(u64);

impl UpperWord {
    const NONE: Self = Self(0);
    const IS_IPV6: u64 = 1 << 32;
    /// There are extension headers between.
    const IS_BEHIND_OTHERS: u64 = 1 << 33;

    #[inline(always)]
    fn of(frame: &SkbFrame, ethertype: u16, l3: usize) -> Self {
        Self(sillon_upper(frame.ctx(), ethertype.into(), l3 as u32))
    }

    #[inline(always)]
    fn new(protocol: u8, at: usize, l3: usize, flags: u64) -> Self {
        Self(u64::from(protocol) | (at as u64 & 0xffff) << 8 | (l3 as u64 & 0xff) << 24 | flags)
    }

    #[inline(always)]
    fn protocol(self) -> u8 {
        self.0 as u8
    }

    /// Where it starts.
    #[inline(always)]
    fn at(self) -> usize {
        (self.0 >> 8) as usize & 0xffff
    }

    /// Where the packet starts.
    #[inline(always)]
    fn l3(self) -> usize {
        (self.0 >> 24) as usize & 0xff
    }

    #[inline(always)]
    fn is(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    /// Where in it a checksum stands that the kernel finishes.
    #[inline(always)]
    fn checksum(self) -> Option<usize> {
        match self.protocol() {
            TCP => Some(16),
            UDP => Some(6),
            SCTP => Some(8),
            _ => None,
        }
    }

    /// Whether packets of this kind travel as one behind it.
    #[inline(always)]
    fn is_kind(self, kind: u32) -> bool {
        let expected = match (self.protocol(), self.is(Self::IS_IPV6)) {
            (TCP, false) => gso::TCPV4,
            (TCP, true) => gso::TCPV6,
            (UDP, _) => gso::UDP_L4,
            _ => return false,
        };
        kind & !(gso::HARMLESS | gso::TUNNEL) == expected && !self.is(Self::IS_BEHIND_OTHERS)
    }

    /// Whether it is the header of a tunnel of this kind.
    #[inline(always)]
    fn is_tunnel(self, tunnel: u32) -> bool {
        let expected = match self.protocol() {
            UDP => gso::UDP_TUNNEL,
            GRE => gso::GRE,
            _ => gso::IP_IN_IP,
        };
        tunnel & !expected == 0 && !self.is(Self::IS_BEHIND_OTHERS)
    }

    /// Whether the kernel finds the packet inside a tunnel where we did.
    #[inline(always)]
    fn is_where_told(self, skb: Skb, hw_vlan_len: usize, tunnel: u32) -> Result<bool, DropReason> {
        let [network, mac] = skb.inner_headers()?.map(|at| at.wrapping_add(hw_vlan_len));
        let is_frame = network.wrapping_sub(mac) == ETHERNET;
        Ok(network == self.l3() && (is_frame || tunnel & gso::UDP_TUNNEL == 0))
    }

    /// The header of the packet in the tunnel whose header this is.
    #[inline(always)]
    fn inside(self, frame: &SkbFrame) -> Self {
        let at = self.at();
        if at >= REACH {
            return Self::NONE;
        }
        match self.protocol() {
            UDP => {
                let Ok(port) = frame.load_be16(at + 2) else { return Self::NONE };
                let options = match frame.load::<u8>(at + UDP_HEADER) {
                    Ok(head) if port == GENEVE_PORT => usize::from(head & 0x3f) * 4,
                    _ => 0,
                };
                Self::in_frame(frame, at + UDP_HEADER + VXLAN_HEADER + options)
            }
            GRE => Self::behind_gre(frame, at),
            IPV4_IN_IP => Self::of(frame, IPV4, at),
            IPV6_IN_IP => Self::of(frame, IPV6, at),
            _ => Self::NONE,
        }
    }

    #[inline(always)]
    fn in_frame(frame: &SkbFrame, at: usize) -> Self {
        match frame.load_be16(at + ETHERTYPE) {
            Ok(ethertype) => Self::of(frame, ethertype, at + ETHERNET),
            Err(_) => Self::NONE,
        }
    }

    /// Of version 0 with a checksum, a key and a sequence number, or without (RFC 2784, RFC 2890).
    #[inline(always)]
    fn behind_gre(frame: &SkbFrame, at: usize) -> Self {
        let (Ok(flags), Ok(ethertype)) = (frame.load_be16(at), frame.load_be16(at + 2)) else {
            return Self::NONE;
        };
        if flags & !0xb000 != 0 {
            return Self::NONE;
        }
        let optional = (flags >> 15 & 1) + (flags >> 13 & 1) + (flags >> 12 & 1);
        let behind = at + 4 + usize::from(optional) * 4;
        if ethertype == BRIDGED {
            Self::in_frame(frame, behind)
        } else {
            Self::of(frame, ethertype, behind)
        }
    }
}

/// The upper layer of a packet that starts at `l3`, or behind some tags there. A global function,
/// for the same reason.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sillon_upper(ctx: *mut __sk_buff, ethertype: u32, l3: u32) -> u64 {
    if l3 as usize > REACH {
        return UpperWord::NONE.0;
    }
    let frame = &SkbFrame::of(ctx);
    let Ok(packet) = unwrap::packet(frame, ethertype as u16, l3 as usize) else {
        return UpperWord::NONE.0;
    };
    let upper = match packet.ethertype {
        IPV4 => over_ipv4(frame, packet.l3),
        IPV6 => over_ipv6(frame, packet.l3),
        _ => None,
    };
    upper.unwrap_or(UpperWord::NONE).0
}

#[inline(always)]
fn over_ipv4(frame: &SkbFrame, l3: usize) -> Option<UpperWord> {
    let head: u8 = frame.load(l3).ok()?;
    let fragment: u16 = frame.load(l3 + 6).ok()?;
    let protocol: u8 = frame.load(l3 + 9).ok()?;
    let words = usize::from(head & 0xf);
    if head >> 4 != 4 || words < 5 || fragment & ANY_FRAGMENT != 0 {
        return None;
    }
    Some(UpperWord::new(protocol, l3 + words * 4, l3, 0))
}

#[inline(always)]
fn over_ipv6(frame: &SkbFrame, l3: usize) -> Option<UpperWord> {
    let head: u8 = frame.load(l3).ok()?;
    if head >> 4 != 6 {
        return None;
    }
    let next: u8 = frame.load(l3 + 6).ok()?;
    if !ipv6::is_extension(next) {
        return Some(UpperWord::new(next, l3 + 40, l3, UpperWord::IS_IPV6));
    }
    let (protocol, at) = ipv6::behind_extensions(frame, l3, next)?;
    Some(UpperWord::new(protocol, at, l3, UpperWord::IS_IPV6 | UpperWord::IS_BEHIND_OTHERS))
}
