//! IEEE 802.3 frames with LLC and SNAP, which may hide a packet or a tag.

use fastrand::Rng;

use super::{Packet, Sender, pick};

/// A length, right or not, with LLC behind it.
pub fn llc(rng: &mut Rng, from: Sender<'_>) -> Packet {
    let points = pick(
        rng,
        &[
            [0xaa, 0xaa],
            [0xaa, 0xaa],
            [0xaa, 0xaa],
            [0xab, 0xaa],
            [0xaa, 0],
            [0x42, 0x42],
            [6, 6],
            [6, 0],
            [0, 6],
            [0, 0xaa],
        ],
    );
    let oui = pick(rng, &[[0, 0, 0], [0, 0, 0xf8], [0, 0, 0x0c], [0, 0x40, 0x96]]);
    let announced = pick(
        rng,
        &[
            0x0800_u16, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x9100, 0x0003, 0x05ff, 0x0600, 0x010b,
            0x8847,
        ],
    );
    let body = [&points[..], &[3], &oui, &announced.to_be_bytes(), from.mark].concat();
    let length =
        if rng.u8(..4) == 0 { pick(rng, &[0, 1, 0x5dc, 0x5ff]) } else { body.len() as u16 };
    (length, body)
}
