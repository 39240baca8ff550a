//! What a sender leaves to its device: a checksum, and the taking apart of a super-packet (`struct
//! virtio_net_hdr`, virtio 1.3 section 5.1.6).
//!
//! A container's raw socket says it in front of a frame (packet(7), PACKET_VNET_HDR), a virtual
//! machine's driver in front of what it writes to its tap. Both may say whatever they like.

use etherparse::checksum::Sum16BitWords;

/// Bytes of the header in front of a frame.
pub const HEADER: usize = 10;

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`.
pub const NEEDS_CHECKSUM: u8 = 1;
/// `VIRTIO_NET_HDR_GSO_*`.
pub const TCP4: u8 = 1;
/// UDP in fragments, as no kernel makes them any more.
pub const UDP_FRAGMENTS: u8 = 3;
/// TCP over IPv6.
pub const TCP6: u8 = 4;
/// UDP datagrams of one size (USO).
pub const UDP: u8 = 5;
/// Set with one of them: the first segment alone has CWR.
pub const ECN: u8 = 0x80;

/// The header in front of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    /// Whether there is a checksum to be made.
    pub flags: u8,
    /// How it is to be taken apart; 0 if it is one packet.
    pub gso_type: u8,
    /// Bytes of all headers.
    pub header: u16,
    /// Bytes that each segment carries.
    pub gso_size: u16,
    /// Where what is summed begins.
    pub start: u16,
    /// Where the sum goes, behind that.
    pub offset: u16,
}

impl Undone {
    /// A checksum over all from `start` on, to be written `offset` bytes behind that.
    pub const fn checksum(start: usize, offset: usize) -> Self {
        Self {
            flags: NEEDS_CHECKSUM,
            gso_type: 0,
            header: 0,
            gso_size: 0,
            start: start as u16,
            offset: offset as u16,
        }
    }

    /// And it is several packets, with so many bytes each behind `header` bytes of headers.
    #[must_use]
    pub const fn segments(self, gso_type: u8, header: usize, gso_size: u16) -> Self {
        Self { gso_type, header: header as u16, gso_size, ..self }
    }

    /// As the kernel reads it.
    pub fn bytes(self) -> [u8; HEADER] {
        let mut bytes = [self.flags, self.gso_type, 0, 0, 0, 0, 0, 0, 0, 0];
        for (at, word) in [(2, self.header), (4, self.gso_size), (6, self.start), (8, self.offset)]
        {
            bytes[at..at + 2].copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// The header in front of these bytes.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let head: &[u8; HEADER] = bytes.first_chunk()?;
        let word = |at| u16::from_ne_bytes([head[at], head[at + 1]]);
        let (header, gso_size, start, offset) = (word(2), word(4), word(6), word(8));
        Some(Self { flags: head[0], gso_type: head[1], header, gso_size, start, offset })
    }

    /// Whether there is a checksum to be made.
    pub const fn needs_checksum(self) -> bool {
        self.flags & NEEDS_CHECKSUM != 0
    }

    /// Whether it is several packets.
    pub const fn is_many(self) -> bool {
        self.gso_type != 0
    }

    /// The same of a frame that has `by` bytes more in front.
    #[must_use]
    pub const fn moved(self, by: usize) -> Self {
        if self.needs_checksum() { Self { start: self.start + by as u16, ..self } } else { self }
    }

    /// Makes the checksum, as a device does it: over all from `start` on, with what stands in its
    /// place. One that is out of bounds is not made.
    pub fn finish(self, frame: &mut [u8]) {
        let (start, at) =
            (usize::from(self.start), usize::from(self.start) + usize::from(self.offset));
        if !self.needs_checksum() || at + 2 > frame.len() {
            return;
        }
        // Zero would mean that there is none (`CSUM_MANGLED_0`).
        let sum = match Sum16BitWords::new().add_slice(&frame[start..]).ones_complement() {
            0 => u16::MAX,
            sum => sum,
        };
        frame[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
    }
}

/// Sets the 16-bit word at `free` (as far from `start` as a multiple of two) so that
/// [`Undone::finish`] writes `wanted`.
pub fn compensate(frame: &mut [u8], undone: Undone, free: usize, wanted: u16) {
    frame[free..free + 2].fill(0);
    let sum = Sum16BitWords::new().add_slice(&frame[usize::from(undone.start)..]).ones_complement();
    // The sum of all must be the complement of what is wanted.
    let (is, should) = (u32::from(!u16::from_be(sum)), u32::from(!wanted));
    let word = (should + 0xffff - is) % 0xffff;
    frame[free..free + 2].copy_from_slice(&(word as u16).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_word_makes_the_sum_what_one_likes() {
        for wanted in [1, 0x0064, 0x88a8, 0xfffe] {
            let mut frame: Vec<u8> = (0..77).map(|byte| byte * 3).collect();
            let undone = Undone::checksum(12, 4);
            compensate(&mut frame, undone, 30, wanted);
            undone.finish(&mut frame);
            assert_eq!(frame[16..18], u16::to_be_bytes(wanted));
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let undone = Undone::checksum(34, 16).segments(TCP4, 54, 1400);
        assert_eq!(Undone::read(&undone.bytes()), Some(undone));
    }
}
