//! A hash of the inner flow: it becomes the outer source port (RFC 7348 section 5) and chooses
//! among equal paths. A packet's addresses and ports make its flow; a frame that is no IP has its
//! MACs. Fragments hash by addresses alone, so that all of a packet take one way.

use sillon_abi::decision::SPREAD;

use crate::{
    frame::{Frame, halves},
    meta::Inner,
    wire::{ANY_FRAGMENT, IPV4, IPV4_PLAIN, IPV6, SCTP, TCP, UDP},
};

/// The flow's hash, and the ECN field of its packet (0 where it is no IP).
pub struct FlowHash {
    pub hash: u32,
    pub ecn: u8,
}

#[inline(always)]
fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(SPREAD);
    mixed ^ (mixed >> 29)
}

/// The hash of a packet over IPv4 with these addresses and ports, as they stand in the packet.
#[inline(always)]
pub fn over_ipv4(addresses: u64, ports: u32) -> u32 {
    (mix(mix(u64::from(ports), SPREAD), addresses) >> 32) as u32
}

/// Both ports; 0 where the protocol has none.
#[inline(always)]
fn ports(frame: &impl Frame, offset: usize, protocol: u8) -> u32 {
    match protocol {
        TCP | UDP | SCTP => frame.read::<u32>(offset).unwrap_or(0),
        _ => 0,
    }
}

#[inline(always)]
pub fn of(frame: &impl Frame, inner: &Inner) -> FlowHash {
    if inner.ethertype == IPV4
        && let Ok(ip) = frame.read::<[u32; 5]>(inner.l3)
    {
        let [version, tos, ..] = ip[0].to_ne_bytes();
        let [_, protocol, ..] = ip[2].to_ne_bytes();
        let [_, fragment] = halves(ip[1]);
        let ports = if version == IPV4_PLAIN && fragment & ANY_FRAGMENT == 0 {
            ports(frame, inner.l3 + 20, protocol)
        } else {
            0
        };
        return FlowHash {
            hash: over_ipv4(u64::from(ip[4]) << 32 | u64::from(ip[3]), ports),
            ecn: tos & 3,
        };
    }
    let (hash, ecn) = if inner.ethertype == IPV6
        && let Ok(ip) = frame.read::<[u64; 5]>(inner.l3)
    {
        let [_, traffic_class, .., next, _] = ip[0].to_ne_bytes();
        let hash = mix(u64::from(ports(frame, inner.l3 + 40, next)), ip[1]);
        (mix(mix(mix(hash, ip[2]), ip[3]), ip[4]), traffic_class >> 4 & 3)
    } else {
        (mix(mix(u64::from(inner.ethertype), inner.macs.head), u64::from(inner.macs.tail)), 0)
    };
    FlowHash { hash: (hash >> 32) as u32, ecn }
}
