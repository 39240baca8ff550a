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
