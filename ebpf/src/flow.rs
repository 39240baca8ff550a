//! A hash of the inner flow: it becomes the outer source port (RFC 7348 section 5) and chooses among equal paths. Fragments
//! hash by addresses alone, so that all of a packet take one way.

use sillon_abi::DropReason;

use crate::{
    frame::Frame,
    parse::{IPV4, IPV6, Inner},
};

/// The flow's hash, and the ECN field of its packet (0 where it is no IP).
pub struct Flow {
    pub hash: u32,
    pub ecn: u8,
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// Odd, with an irregular bit pattern (the fractional part of the golden ratio): multiplying spreads every bit upwards.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline(always)]
pub fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(SPREAD);
    mixed ^ (mixed >> 29)
}

#[inline(always)]
pub fn words(a: u16, b: u16, c: u16, d: u16) -> u64 {
    (a as u64) << 48 | (b as u64) << 32 | (c as u64) << 16 | d as u64
}

#[inline(always)]
fn ports(frame: &Frame, offset: usize, protocol: u8) -> u64 {
    if !matches!(protocol, TCP | UDP | SCTP) {
        return 0;
    }
    frame.read::<[u16; 2]>(offset).map_or(0, |ports| words(0, 0, ports[0], ports[1]))
}

#[inline(always)]
pub fn of(frame: &Frame, inner: &Inner) -> Result<Flow, DropReason> {
    let (d, s) = (inner.dst.0, inner.src.0);
    let mut hash = mix(words(d[2], s[0], s[1], s[2]), words(0, inner.ethertype, d[0], d[1]));
    let mut ecn = 0;
    if inner.ethertype == IPV4
        && let Ok(ip) = frame.read::<[u16; 10]>(inner.l3)
    {
        let [version, tos] = ip[0].to_ne_bytes();
        let protocol = ip[4].to_ne_bytes()[1];
        let fragment = u16::from_be(ip[3]) & 0x3fff != 0;
        ecn = tos & 3;
        hash = mix(hash, words(ip[6], ip[7], ip[8], ip[9]));
        if version == 0x45 && !fragment {
            hash = mix(hash, ports(frame, inner.l3 + 20, protocol));
        }
    } else if inner.ethertype == IPV6
        && let Ok(ip) = frame.read::<[u16; 20]>(inner.l3)
    {
        ecn = (u16::from_be(ip[0]) >> 4) as u8 & 3;
        hash = mix(hash, words(ip[4], ip[5], ip[6], ip[7]));
        hash = mix(hash, words(ip[8], ip[9], ip[10], ip[11]));
        hash = mix(hash, words(ip[12], ip[13], ip[14], ip[15]));
        hash = mix(hash, words(ip[16], ip[17], ip[18], ip[19]));
        hash = mix(hash, ports(frame, inner.l3 + 40, ip[3].to_ne_bytes()[0]));
    }
    Ok(Flow { hash: (hash >> 32) as u32, ecn })
}
