//! The flow of a frame. The model does not know how it is hashed, but what may be: frames of one
//! flow have one UDP source port (RFC 7348 section
//! 5) and one path, and so have all fragments of a packet.

use super::frame::{IPV4, IPV6, Inner};

/// All that the choice of source port and path may depend on.
pub type FlowKey = Vec<u8>;

const WITH_PORTS: [u8; 3] = [6, 17, 132];

/// The flow that a frame is of.
pub fn of(inner: &Inner) -> FlowKey {
    let packet = &inner.packet;
    let mut key = [&inner.dst[..], &inner.src, &inner.ethertype.to_be_bytes()].concat();
    let (header, addresses, protocol) = match inner.ethertype {
        IPV4 if packet.len() >= 20 => {
            let is_fragment = u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff != 0;
            let is_plain = packet[0] == 0x45 && !is_fragment;
            (20, 12..20, is_plain.then_some(packet[9]))
        }
        IPV6 if packet.len() >= 40 => (40, 8..40, Some(packet[6])),
        _ => return key,
    };
    key.extend_from_slice(&packet[addresses]);
    // Whole packets need not go where fragments do.
    key.push(u8::from(protocol.is_some()));
    if protocol.is_some_and(|protocol| WITH_PORTS.contains(&protocol))
        && let Some(ports) = packet.get(header..header + 4)
    {
        key.extend_from_slice(ports);
    }
    key
}
