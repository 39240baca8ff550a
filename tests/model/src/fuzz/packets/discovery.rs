//! Neighbour and router discovery (RFC 4861), and reports of listeners.

use fastrand::Rng;

use super::{ICMP6, IPV6, Packet, Sender, host6, ipv6_header, named, pick};

/// Mostly of the five messages of RFC 4861, else an echo or a listener's.
pub fn message(rng: &mut Rng, from: Sender<'_>) -> Vec<u8> {
    let kind = match rng.u8(..8) {
        0 => pick(rng, &[131, 132, 143, 130, 128, 132, 138]),
        1 => 134,
        _ => rng.u8(133..138),
    };
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    match kind {
        134 => message.extend([0; 8]),
        135 | 136 => message.extend(host6(rng)),
        137 => message.extend([host6(rng), host6(rng)].concat()),
        _ => {}
    }
    message.extend(options(rng, from));
    message
}

fn options(rng: &mut Rng, from: Sender<'_>) -> Vec<u8> {
    let count = if rng.u8(..8) == 0 { rng.usize(10..15) } else { rng.usize(..4) };
    let mut options = Vec::new();
    for _ in 0..count {
        // Link-layer addresses, prefix, MTU, nonce.
        let (kind, words) = match rng.u8(..16) {
            0 => (pick(rng, &[1, 2]), 2),
            1 => (rng.u8(..), rng.u8(..)),
            2..8 => (1, 1),
            8..12 => (2, 1),
            12 => (3, 4),
            13 => (14, 1),
            _ => (5, 1),
        };
        options.extend([kind, words]);
        options.extend(named(rng, from));
        options.extend(vec![0; usize::from(words.clamp(1, 5) - 1) * 8]);
    }
    options
}

/// A message with nothing before it.
pub fn neighbour(rng: &mut Rng, from: Sender<'_>) -> Packet {
    let mut body = message(rng, from);
    // Behind options, the mark would be one of them.
    if rng.bool() {
        body.extend([0; 8]);
        body.extend(from.mark);
    }
    (IPV6, ipv6_header(rng, ICMP6, &body))
}
