//! What an IPv6 packet is: its extension headers are followed to the upper layer (RFC 8200 section
//! 4).

use sillon_abi::DropReason;

use super::super::frame::be16;

/// Protocol number of ICMPv6.
pub const ICMP: u8 = 58;
/// Extension headers that are followed.
const MOST: usize = 8;
const HEADER: usize = 40;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;
/// Those whose length is known: IANA's list without ESP, behind which nothing can be read, and
/// without experiments.
const EXTENSIONS: [u8; 8] =
    [HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, MOBILITY, HIP, SHIM6];

/// The upper layer of a packet.
pub struct Upper<'a> {
    /// Its protocol; none in a fragment that is not the first.
    pub protocol: Option<u8>,
    /// Its header, and all that is behind.
    bytes: &'a [u8],
    /// Whether the packet is the first of several fragments. One in a single "fragment" (RFC 6946)
    /// is whole.
    pub is_first_fragment: bool,
}

impl<'a> Upper<'a> {
    /// Its header, whose first four bytes say what it is.
    ///
    /// # Errors
    /// They are not there.
    pub fn header(&self) -> Result<&'a [u8], DropReason> {
        if self.bytes.len() < 4 { Err(lost(self.is_first_fragment)) } else { Ok(self.bytes) }
    }
}

/// RFC 7113 section 2.1, RFC 7112 section 5: of a first fragment, the headers must be there.
const fn lost(is_first_fragment: bool) -> DropReason {
    if is_first_fragment { DropReason::HeadlessFragment } else { DropReason::HeaderChain }
}

/// Follows the headers of a packet.
///
/// # Errors
/// It ends before them, or there are too many.
pub fn upper(packet: &[u8]) -> Result<Upper<'_>, DropReason> {
    let [mut next, _] = be16(packet, 6)?.to_be_bytes();
    let mut bytes = packet.get(HEADER..).unwrap_or_default();
    let (mut followed, mut is_first_fragment) = (0, false);
    while EXTENSIONS.contains(&next) {
        let &[then, length, a, b, ..] = bytes else { return Err(lost(is_first_fragment)) };
        if followed == MOST {
            return Err(lost(is_first_fragment));
        }
        let length = match next {
            // Section 4.5: the offset, two reserved bits, and "more".
            FRAGMENT => {
                let offset = u16::from_be_bytes([a, b]);
                if offset >> 3 != 0 {
                    return Ok(Upper { protocol: None, bytes: &[], is_first_fragment: false });
                }
                is_first_fragment |= offset & 1 == 1;
                8
            }
            // RFC 4302 section 2.2: in words of four bytes, less two.
            AUTHENTICATION => (usize::from(length) + 2) * 4,
            _ => (usize::from(length) + 1) * 8,
        };
        bytes = bytes.get(length..).unwrap_or_default();
        next = then;
        followed += 1;
    }
    Ok(Upper { protocol: Some(next), bytes, is_first_fragment })
}
