//! What senders say beside a frame, and whether it is so. A checksum may be left to the device
//! where it is that of the TCP, UDP or SCTP header that stands in the frame; a super-packet must be
//! one of TCP or UDP directly behind an IP header, and its packets no smaller than [`LEAST`].
//! Whatever else is said, the frame is dropped for it, since the kernel would do as it says after
//! everybody has looked.

use fastrand::Rng;
use sillon_rig::{
    Undone,
    undone::{ECN, TCP4, TCP6, UDP, UDP_FRAGMENTS},
};

use crate::forwarding::frame::be16;

/// The least payload of a packet of several that travel as one.
pub const LEAST: u16 = 48;
/// What the kernel takes for the beginning of a transport header at the earliest.
const FIRST: usize = 20;

/// What is to be thought of what is said beside a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It is so.
    Right,
    /// It is not so.
    Wrong,
    /// It may be dropped, or not: how far one looks for a transport header is not told.
    Open,
}

/// Where a frame has a transport header, if it is one of those that have a checksum: its place, the
/// place of the checksum in it, and whether nobody can overlook it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Transport {
    start: usize,
    offset: usize,
    is_plain: bool,
}

/// The bytes in front of a checksum, and of the header that it is in.
fn checksum_of(protocol: u8) -> Option<(usize, usize)> {
    match protocol {
        6 => Some((16, 20)),
        17 => Some((6, 8)),
        132 => Some((8, 12)),
        _ => None,
    }
}

fn transport(frame: &[u8]) -> Option<Transport> {
    let (protocol, start, is_plain) = upper(frame, 12)?;
    let (offset, header) = checksum_of(protocol)?;
    Some(Transport { start, offset, is_plain: is_plain && frame.len() >= start + header })
}

/// What stands behind an IP header and its extensions, where that starts, and whether nobody can
/// overlook it; `at` is the place of the ethertype.
fn upper(frame: &[u8], mut at: usize) -> Option<(u8, usize, bool)> {
    let mut tags = 0;
    while is_tag(frame, at) {
        (at, tags) = (at + 4, tags + 1);
    }
    let (ethertype, ip) = (be16(frame, at).ok()?, at + 2);
    let first = *frame.get(ip)?;
    let (mut protocol, mut start, mut is_plain) = match ethertype {
        0x0800 => {
            let fragment = be16(frame, ip + 6).ok()?;
            let is_plain = first >> 4 == 4 && first & 0xf >= 5 && fragment & 0x3fff == 0;
            (*frame.get(ip + 9)?, ip + usize::from(first & 0xf) * 4, is_plain)
        }
        0x86dd => (*frame.get(ip + 6)?, ip + 40, first >> 4 == 6),
        _ => return None,
    };
    // Extension headers, for as long as there are any.
    while ethertype == 0x86dd && matches!(protocol, 0 | 43 | 44 | 60 | 51 | 135 | 139 | 140) {
        let length = usize::from(*frame.get(start + 1)?);
        let bytes = match protocol {
            44 => 8,
            51 => (length + 2) * 4,
            _ => (length + 1) * 8,
        };
        (protocol, start, is_plain) = (*frame.get(start)?, start + bytes, false);
    }
    // Attachments have two tags at most; of what an operator carries inside, one.
    Some((protocol, start, is_plain && tags <= 3))
}

/// Whether there is a checksum inside of something that can be taken for a tunnel of the operator's
/// own: a datagram with a frame in it, GRE, IP in IP. It covers nothing but what is inside.
fn is_of_inner(frame: &[u8], (start, offset): (usize, usize)) -> bool {
    let Some((protocol, outer, _)) = upper(frame, 12) else { return false };
    if !matches!(protocol, 4 | 17 | 41 | 47) || start <= outer {
        return false;
    }
    // Wherever an IP header may begin in there.
    let is_it = |ip: usize| {
        [[0x08, 0x00], [0x86, 0xdd]].iter().any(|ethertype| {
            let inner = [&[0; 12][..], ethertype, frame.get(ip..).unwrap_or(&[])].concat();
            transport(&inner)
                .is_some_and(|there| (there.start - 14 + ip, there.offset) == (start, offset))
        })
    };
    (outer..start).any(is_it)
}

/// What is to be thought of this beside a frame, from a container or over a tap.
pub fn judge(frame: &[u8], undone: Undone, is_tap: bool) -> Word {
    // What is for the node's own stack, which shares control frames with some, is its own to look
    // at.
    if frame.starts_with(&[0x01, 0x80, 0xc2]) || frame.starts_with(&[0x01, 0x00, 0x0c]) {
        return Word::Open;
    }
    if undone.is_many() {
        return judge_many(frame, undone, is_tap);
    }
    if !undone.needs_checksum() {
        return Word::Right;
    }
    let said = (usize::from(undone.start), usize::from(undone.offset));
    match transport(frame) {
        Some(there) if (there.start, there.offset) == said => {
            if there.is_plain {
                Word::Right
            } else {
                Word::Open
            }
        }
        _ if is_of_inner(frame, said) => Word::Open,
        _ => Word::Wrong,
    }
}

/// Super-packets are only ever sent that no kernel takes for one packet, and that are wrong. A
/// container's own kernel takes some apart before they leave: what has more than one tag, and
/// fragments.
fn judge_many(frame: &[u8], undone: Undone, is_tap: bool) -> Word {
    let payload = frame.len().saturating_sub(usize::from(undone.start) + 20);
    let is_several = undone.needs_checksum() && payload > usize::from(undone.gso_size);
    let has_tags = is_tag(frame, 12) && is_tag(frame, 16);
    let is_whole = is_tap || !has_tags && undone.gso_type != UDP_FRAGMENTS;
    if is_several && is_whole && undone.gso_size < LEAST { Word::Wrong } else { Word::Open }
}

fn is_tag(frame: &[u8], at: usize) -> bool {
    matches!(be16(frame, at), Ok(0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300))
}

/// Something to say beside a frame: now and then what is so.
pub fn said(rng: &mut Rng, frame: &[u8]) -> Undone {
    let there = transport(frame);
    let near = |rng: &mut Rng| rng.usize(FIRST..frame.len().clamp(FIRST + 1, 120));
    let right = there.map(|there| Undone::checksum(there.start, there.offset));
    let undone = match (rng.u8(..8), right) {
        (0..4, Some(right)) => right,
        // The right header, and something else in it, or a byte beside it.
        (4, Some(right)) => Undone { offset: rng.u16(..24), ..right },
        (5, Some(right)) => Undone { start: right.start - 2 + rng.u16(..5), ..right },
        // The same place from elsewhere.
        (6, Some(right)) if usize::from(right.start) > FIRST => {
            let earlier = rng.u16(1..=right.start - FIRST as u16);
            Undone { start: right.start - earlier, offset: right.offset + earlier, ..right }
        }
        _ => Undone::checksum(near(rng), [0, 0, 2, 6, 8, 16][rng.usize(..6)]),
    };
    if rng.u8(..4) > 0 {
        return undone;
    }
    let kind = [TCP4, TCP6, UDP, UDP_FRAGMENTS, TCP4 | ECN, TCP6 | ECN][rng.usize(..6)];
    let header = (usize::from(undone.start) + 20).min(frame.len());
    undone.segments(kind, header, rng.u16(1..LEAST))
}

/// What the kernel writes into a frame in the end: how far from its end, and what.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    from_end: usize,
    sum: [u8; 2],
}

impl Made {
    /// Of a frame with this left to do.
    pub fn new(undone: Undone, frame: &[u8]) -> Option<Self> {
        let mut whole = frame.to_vec();
        undone.finish(&mut whole);
        let at = usize::from(undone.start) + usize::from(undone.offset);
        let sum = whole.get(at..at + 2).filter(|_| undone.needs_checksum())?;
        Some(Self { from_end: frame.len() - at, sum: [sum[0], sum[1]] })
    }

    /// Writes it into the same frame, whatever is in front of it now.
    pub fn write(self, frame: &mut [u8]) {
        if let Some(at) = frame.len().checked_sub(self.from_end) {
            frame[at..at + 2].copy_from_slice(&self.sum);
        }
    }
}
