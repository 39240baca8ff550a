//! Chains of IPv6 extension headers, whole, broken and endless, before what they hide.

use fastrand::Rng;

use super::{ICMP6, IPV6, Packet, Sender, UDP, discovery, ipv6_header, pick};

const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
/// Hop-by-hop, routing, fragment, authentication, destination, mobility, HIP, shim6; two that are
/// none.
const KINDS: [u8; 12] = [0, 43, FRAGMENT, FRAGMENT, AUTHENTICATION, 60, 60, 135, 139, 140, 50, 253];

fn header(rng: &mut Rng, kind: u8, next: u8) -> Vec<u8> {
    let mut header = match kind {
        FRAGMENT => {
            let offset: u16 = match rng.u8(..6) {
                // One that is alone (RFC 6946), a later one, and mostly the first.
                0 => 0,
                1 => pick(rng, &[8, 9, 0xfff8, 0xfff9]),
                2 => pick(rng, &[2, 4, 6]),
                _ => 1,
            };
            let [a, b] = offset.to_be_bytes();
            vec![next, rng.u8(..), a, b, 0, 0, 0, 1]
        }
        AUTHENTICATION => {
            let words = rng.u8(..5);
            [&[next, words][..], &vec![0; usize::from(words) * 4 + 6]].concat()
        }
        _ => {
            let words = rng.u8(..3);
            [&[next, words][..], &vec![1; usize::from(words) * 8 + 6]].concat()
        }
    };
    if rng.u8(..24) == 0 {
        header[1] = rng.u8(..);
    }
    header
}

/// A chain: up to four headers mostly, or about as many as are followed.
pub fn chain(rng: &mut Rng, from: Sender<'_>) -> Packet {
    let (last, upper) = match rng.u8(..8) {
        0 => (59, vec![]),
        1 => (6, [0, 80].repeat(10)),
        2 | 3 => (UDP, vec![2, pick(rng, &[34, 35]), 2, 34, 0, 16, 0, 0]),
        _ => (ICMP6, discovery::message(rng, from)),
    };
    let count = if rng.u8(..4) == 0 { rng.usize(6..11) } else { rng.usize(1..5) };
    // Nothing but options leads far: behind a fragment, or ESP, all is payload.
    let (count, kinds) = match rng.u8(..5) {
        0 => (1, &[FRAGMENT][..]),
        1 | 2 => (count, &KINDS[..]),
        _ => (count, &[0, 43, 60, 139][..]),
    };
    let kinds: Vec<u8> = (0..count).map(|_| pick(rng, kinds)).collect();
    let mut chain = Vec::new();
    for (index, kind) in kinds.iter().enumerate() {
        let next = kinds.get(index + 1).copied().unwrap_or(last);
        chain.extend(header(rng, *kind, next));
    }
    if rng.u8(..6) == 0 {
        // The upper layer is in the next fragment, or nowhere.
        chain.extend(&upper[..upper.len().min(rng.usize(..4))]);
    } else {
        chain.extend([&upper[..], &[0; 8], from.mark].concat());
    }
    (IPV6, ipv6_header(rng, kinds[0], &chain))
}
