//! What is an IPv6 packet? Its extension headers are followed to the upper layer (RFC 8200 section
//! 4), at most [`HEADERS`] of them.
//!
//! A packet whose headers can't be followed to the end is dropped: `headless-fragment` where it is
//! a first fragment (RFC 7113 section 2.1, RFC 7112 section 5), else `header-chain`. Other
//! fragments pass: without a first one, a host does nothing with them.

use sillon_abi::DropReason;

use crate::{frame::Frame, wire::IPV6_FRAGMENT};

/// How many extension headers are followed.
const HEADERS: usize = 8;
/// Bytes of the fixed header.
const HEADER: usize = 40;
/// Offset of the next header's number in it.
const NEXT: usize = 6;
/// Types of ICMPv6 (RFC 4861 section 4).
pub const ROUTER_ADVERTISEMENT: u8 = 134;
pub const REDIRECT: u8 = 137;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;
/// Reserved by IANA: no header has this number.
const NOTHING: u8 = 255;
const MORE: u16 = 1;
const OFFSET: u16 = 0xfff8;

/// The upper layer of a packet.
#[derive(Clone, Copy)]
pub struct Upper {
    pub protocol: u8,
    /// Where its header starts.
    pub at: usize,
    /// The first four bytes of its header, if they are there.
    head: Option<u32>,
    /// Whether the packet is a first fragment.
    pub is_fragment: bool,
}

impl Upper {
    /// The first four bytes of its header; to be asked only for a protocol that has them.
    #[inline(always)]
    pub fn head(self) -> Result<[u8; 4], DropReason> {
        self.head.map(u32::to_ne_bytes).ok_or(lost(self.is_fragment))
    }
}

/// Why a packet is dropped whose headers end before it is known what it is.
#[inline(always)]
const fn lost(is_fragment: bool) -> DropReason {
    if is_fragment { DropReason::HeadlessFragment } else { DropReason::HeaderChain }
}

#[inline(always)]
pub fn is_extension(header: u8) -> bool {
    matches!(
        header,
        HOP_BY_HOP
            | ROUTING
            | IPV6_FRAGMENT
            | AUTHENTICATION
            | DESTINATION
            | MOBILITY
            | HIP
            | SHIM6
    )
}

/// The upper layer of the packet at `l3`.
#[inline(always)]
pub fn upper<F: Frame>(frame: &F, l3: usize) -> Result<Upper, DropReason> {
    // Two bytes: from how a single one's bounds are compared, the verifier learns nothing.
    let [protocol, _] = frame.read::<u16>(l3 + NEXT)?.to_ne_bytes();
    if !is_extension(protocol) {
        let at = l3 + HEADER;
        return Ok(Upper { protocol, at, head: frame.read(at).ok(), is_fragment: false });
    }
    let mut found = Found { at: 0, head: 0 };
    let followed = follow::<F>(frame.ctx(), l3 as u32, protocol, &mut found);
    let flags = (followed >> 8) as u8;
    let is_fragment = flags & IS_FRAGMENT != 0;
    if flags & IS_LOST != 0 {
        return Err(lost(is_fragment));
    }
    Ok(Upper {
        protocol: followed as u8,
        at: found.at as usize,
        head: (flags & HAS_HEAD != 0).then_some(found.head as u32),
        is_fragment,
    })
}

/// Protocol and place of the upper layer behind a first extension header `next`; nothing where that
/// is out of sight, or the packet is a fragment.
#[inline(always)]
pub fn behind_extensions<F: Frame>(frame: &F, l3: usize, next: u8) -> Option<(u8, usize)> {
    let mut found = Found { at: 0, head: 0 };
    let followed = follow::<F>(frame.ctx(), l3 as u32, next, &mut found);
    let flags = (followed >> 8) as u8;
    (flags & (IS_FRAGMENT | IS_LOST) == 0).then_some((followed as u8, found.at as usize))
}

const IS_FRAGMENT: u8 = 1;
const IS_LOST: u8 = 2;
const HAS_HEAD: u8 = 4;

/// Where the upper layer is, and the first four bytes of it.
struct Found {
    at: u64,
    head: u64,
}

/// Returns protocol and flags in one word. A function of its own, since the BPF stack is small; and
/// nothing that a caller decides on may be made of the offset, or the verifier would tell each way
/// through the loop from all others.
#[inline(never)]
fn follow<F: Frame>(ctx: *mut F::Context, l3: u32, next: u8, found: &mut Found) -> u32 {
    let frame = F::of(ctx);
    let mut at = l3 as usize + HEADER;
    let mut next = next;
    let mut flags = 0;
    for _ in 0..HEADERS {
        let Ok(header) = frame.load::<u32>(at).map(u32::from_be) else { break };
        let (then, length, offset) = ((header >> 24) as u8, (header >> 16) as u8, header as u16);
        at += match next {
            IPV6_FRAGMENT => {
                if offset & OFFSET != 0 {
                    return u32::from(NOTHING);
                }
                if offset & MORE != 0 {
                    flags = IS_FRAGMENT;
                }
                8
            }
            AUTHENTICATION => (usize::from(length) + 2) * 4,
            _ => (usize::from(length) + 1) * 8,
        };
        next = then;
        if !is_extension(next) {
            found.at = at as u64;
            if let Ok(head) = frame.load::<u32>(at) {
                found.head = head.into();
                flags |= HAS_HEAD;
            }
            return u32::from(next) | u32::from(flags) << 8;
        }
    }
    u32::from(IS_LOST | flags) << 8
}
