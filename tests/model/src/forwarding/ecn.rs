//! Explicit congestion notification at the two ends of a tunnel (RFC 6040).

use sillon_abi::DropReason;

use super::frame::{IPV4, IPV6, Inner, be16};

/// RFC 6040 figure 4: the outgoing field, by the arriving inner field and the arriving outer field.
/// Columns and rows are in the order of their numbers: Not-ECT, ECT(1), ECT(0), CE. None is a drop.
const DECAPSULATED: [[Option<u8>; 4]; 4] = [
    [Some(0b00), Some(0b00), Some(0b00), None],
    [Some(0b01), Some(0b01), Some(0b01), Some(0b11)],
    [Some(0b10), Some(0b01), Some(0b10), Some(0b11)],
    [Some(0b11), Some(0b11), Some(0b11), Some(0b11)],
];

/// Combines the outer field with that of the packet.
///
/// # Errors
/// The packet ends before its field does, or congestion was marked on one that does not know ECN.
pub fn decapsulate(inner: &mut Inner, outer: u8) -> Result<(), DropReason> {
    if outer == 0 || ![IPV4, IPV6].contains(&inner.ethertype) {
        return Ok(());
    }
    let before = be16(&inner.packet, 0)?;
    // IPv4: version, IHL, TOS. IPv6: version, traffic class, flow label.
    let shift = if inner.ethertype == IPV4 { 0 } else { 4 };
    let arriving = (before >> shift & 3) as usize;
    let outgoing = DECAPSULATED[arriving][usize::from(outer)].ok_or(DropReason::EcnNotCapable)?;
    let after = before & !(3 << shift) | u16::from(outgoing) << shift;
    if inner.ethertype == IPV4 && after != before {
        let checksum = updated(be16(&inner.packet, 10)?, before, after);
        inner.packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    inner.packet[..2].copy_from_slice(&after.to_be_bytes());
    Ok(())
}

/// RFC 1624 section 3, equation 3: HC' = ~(~HC + ~m + m'), in ones' complement. A checksum that was
/// wrong stays wrong.
fn updated(checksum: u16, before: u16, after: u16) -> u16 {
    let add = |a: u16, b: u16| match a.overflowing_add(b) {
        (sum, true) => sum + 1,
        (sum, false) => sum,
    };
    !add(add(!checksum, !before), after)
}

/// The field of a packet, which the outer header copies (section 4.1, normal mode); 0 where there
/// is no whole IP header.
pub fn of(inner: &Inner) -> u8 {
    match (inner.ethertype, &inner.packet[..]) {
        (IPV4, packet) if packet.len() >= 20 => packet[1] & 3,
        (IPV6, packet) if packet.len() >= 40 => packet[1] >> 4 & 3,
        _ => 0,
    }
}
