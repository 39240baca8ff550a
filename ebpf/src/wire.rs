//! Numbers of the wire (IEEE 802.3, 802.1Q).

/// PCP and DEI in a tag control field.
pub const PRIORITY: u16 = 0xf000;
pub const C_TPID: u16 = 0x8100;
pub const S_TPID: u16 = 0x88a8;
/// Bytes of a VLAN tag.
pub const TAG: usize = 4;
/// Offset of the ethertype, or of the first tag.
pub const ETHERTYPE: usize = 12;
pub const IPV4: u16 = 0x0800;
pub const IPV6: u16 = 0x86dd;

/// Whether an ethertype announces a tag, by the standards (0x8100, 0x88a8) or by old habit (0x9100,
/// 0x9200, 0x9300).
#[inline(always)]
pub fn is_tpid(ethertype: u16) -> bool {
    matches!(ethertype, C_TPID | S_TPID | 0x9100 | 0x9200 | 0x9300)
}

/// Bytes of an IPv4 header without options, and of IPv6's fixed one.
pub const IPV4_HEADER: usize = 20;
pub const IPV6_HEADER: usize = 40;
/// Version 4, five words.
pub const IPV4_PLAIN: u8 = 0x45;
/// Of IPv4's flags and fragment offset, as a number.
pub const MORE_FRAGMENTS: u16 = 0x2000;
pub const FRAGMENT_OFFSET: u16 = 0x1fff;
/// Both, as on the wire: what a whole packet has not.
pub const ANY_FRAGMENT: u16 = (MORE_FRAGMENTS | FRAGMENT_OFFSET).to_be();

/// Protocols, and IPv6's next headers.
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const IPV6_FRAGMENT: u8 = 44;
pub const ICMPV6: u8 = 58;
pub const SCTP: u8 = 132;
