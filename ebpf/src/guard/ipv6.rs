//! What is an IPv6 packet? Its extension headers are followed to the upper layer (RFC 8200 section 4), at most [`HEADERS`] of them.
//!
//! A packet whose headers can't be followed to the end is dropped: `headless-fragment` where it is a first fragment (RFC 7113 section 2.1,
//! RFC 7112 section 5), else `header-chain`. Other fragments pass: without a first one, a host does nothing with them.

use sillon_abi::DropReason;

use crate::frame::{Frame, Wire};

/// How many extension headers are followed.
const HEADERS: usize = 8;
/// Bytes of the fixed header.
const HEADER: usize = 40;
/// Offset of the next header's number in it.
const NEXT: usize = 6;
pub const ICMPV6: u8 = 58;
pub const UDP: u8 = 17;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
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
    /// Whether the packet is a first fragment.
    pub is_fragment: bool,
}

impl Upper {
    /// Why a packet is dropped whose upper layer's header is not to be seen.
    #[inline(always)]
    pub fn cut_short(self) -> DropReason {
        if self.is_fragment { DropReason::HeadlessFragment } else { DropReason::HeaderChain }
    }

    /// Reads its header, `offset` bytes in.
    #[inline(always)]
    pub fn read<T: Wire>(self, frame: &Frame, offset: usize) -> Result<T, DropReason> {
        // The mask tells the verifier the bounds; what is beyond it is not in one piece anyway.
        let read = frame.read((self.at + offset) & 0x7fff);
        read.or_else(|_| frame.load(self.at + offset)).map_err(|_| self.cut_short())
    }
}

#[inline(always)]
fn is_extension(header: u8) -> bool {
    matches!(
        header,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION | MOBILITY | HIP | SHIM6
    )
}

/// The upper layer of the packet at `l3`.
#[inline(always)]
pub fn upper(frame: &Frame, l3: usize) -> Result<Upper, DropReason> {
    let protocol: u8 = frame.read(l3 + NEXT)?;
    if !is_extension(protocol) {
        return Ok(Upper { protocol, at: l3 + HEADER, is_fragment: false });
    }
    let followed = follow(frame, l3 as u32, protocol);
    let (protocol, flags, at) = (followed as u8, (followed >> 8) as u8, (followed >> 16) as usize);
    if flags & LOST != 0 {
        return Err(Upper { protocol, at, is_fragment: flags & IS_FRAGMENT != 0 }.cut_short());
    }
    Ok(Upper { protocol, at, is_fragment: flags & IS_FRAGMENT != 0 })
}

const IS_FRAGMENT: u8 = 1;
const LOST: u8 = 2;

/// A function of its own, since the BPF stack is small; so what it finds is in one word: protocol, flags, and where.
#[inline(never)]
fn follow(frame: &Frame, l3: u32, next: u8) -> u32 {
    let mut at = l3 as usize + HEADER;
    let mut next = next;
    let mut flags = 0;
    for _ in 0..HEADERS {
        let Ok(header) = frame.load::<u32>(at).map(u32::from_be) else { break };
        let (then, length, offset) = ((header >> 24) as u8, (header >> 16) as u8, header as u16);
        let length = match next {
            FRAGMENT => {
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
        at += length;
        next = then;
        if !is_extension(next) {
            return u32::from(next) | u32::from(flags) << 8 | (at as u32) << 16;
        }
    }
    u32::from(LOST | flags) << 8
}
