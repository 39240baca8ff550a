//! ARP for IPv4 on Ethernet (RFC 826).

use std::net::{IpAddr, Ipv4Addr};

use super::{Heeded, How, Said, bytes, is_a_hosts, is_for_all};
use crate::forwarding::frame::{Inner, Mac};

/// Hardware type Ethernet, protocol IPv4, and the lengths of their addresses.
const HEAD: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// A packet in its order: operation, sender's MAC and address, target's MAC and address.
fn parse(packet: &[u8]) -> Option<([u8; 2], Mac, Ipv4Addr, Ipv4Addr)> {
    if bytes(packet, 0)? != HEAD {
        return None;
    }
    let addresses = (bytes::<4>(packet, 14)?.into(), bytes::<4>(packet, 24)?.into());
    Some((bytes(packet, 6)?, bytes(packet, 8)?, addresses.0, addresses.1))
}

/// Its sender has an address, whether it asks or answers. A probe's has none yet (RFC 5227 section
/// 2.1.1), and goes to whoever would defend it; so does an announcement (section 2.3).
pub fn heed(inner: &Inner) -> Option<Heeded> {
    let (operation, mac, sender, target) = parse(&inner.packet)?;
    let is_known = operation == REQUEST || operation == REPLY;
    if !is_known || mac != inner.src || !is_a_hosts(sender.into()) {
        return None;
    }
    let how = How::Override { flag: false, is_router: false };
    let is_question = operation == REQUEST && is_for_all(inner.dst) && sender != target;
    let asks = Some(IpAddr::from(target)).filter(|target| is_question && is_a_hosts(*target));
    Some(Heeded { says: Some(Said { address: sender.into(), how }), asks })
}

/// The reply to a request: RFC 826, "Packet Reception". What is behind the packet stays.
pub fn reply(inner: &Inner, owner: Mac) -> Vec<u8> {
    let request = &inner.packet;
    [&HEAD[..], &REPLY, &owner, &request[24..28], &request[8..18], &request[28..]].concat()
}
