//! What is told of a frame that must be copied, or leave at TC, and the lists of who gets a copy.

use crate::{Endpoint, pod};

/// The ethertype that a frame carries from XDP to TC instead of its own (IEEE 802 local
/// experimental ethertype 1).
///
/// It does two things: the kernel does not lift a carried VLAN tag out of the frame on the way, and
/// a frame that TC does not pick up (no program there) has no protocol handler in the host and
/// dies, instead of reaching the node's own stack.
pub const MASKED_ETHERTYPE: u16 = 0x88b5;

/// One place in a flood list.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FloodKey {
    /// The list; a changed list is a new one, and the segment is switched to it in one write.
    pub list: u32,
    /// Place in the list, from 0. Attachments stand first, then IPv4 remotes, then IPv6 remotes.
    pub index: u32,
}

/// XDP metadata of a frame on its way to TC.
///
/// After generic XDP some kernels (6.18 is one) call TC with the frame at its payload, and with the
/// metadata as far behind: they forget the length of the MAC header when they copy the frame to
/// make headroom. The lead is there so that TC sees the whole of the handoff in both cases, and
/// tells them apart by bytes that only XDP has written: as the lead is zero, a seal stands at
/// [`HandoffMetadata::BEHIND`] only when TC looks from [`ETHERNET`] bytes behind.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandoffMetadata {
    /// Zero.
    pub lead: [u16; 8],
    /// What XDP hands over; all zero for a frame that goes to the host.
    pub handoff: Handoff,
}

impl HandoffMetadata {
    /// Where the handoff is, in 16-bit words, when TC looks from the frame's first byte.
    pub const AHEAD: usize = 8;
    /// Where the handoff is, in 16-bit words, when TC looks from behind the MAC header.
    pub const BEHIND: usize = Self::AHEAD - ETHERNET / 2;
}

/// Bytes of a MAC header.
pub const ETHERNET: usize = 14;

/// What the flood needs to know of a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handoff {
    /// [`Handoff::seal`] of what XDP leaves in front of a frame; [`Handoff::AT_TC`] of what the
    /// pipeline at TC says; zero of what is none.
    pub seal: [u32; 2],
    /// Segment uid.
    pub segment: u32,
    /// Where the frame came in; of one that goes [`Handoff::ONWARD`], where it goes.
    pub ingress: Endpoint,
    /// Hash of the inner flow, for the outer source port and the choice among equal paths.
    pub hash: u32,
    /// The ethertype that [`MASKED_ETHERTYPE`] stands for, as on the wire.
    pub ethertype: u16,
    /// PCP and DEI (the top four bits) of the frame, host order; the VID bits are zero.
    pub priority: u16,
    /// [`Handoff::LEAF`] | [`Handoff::PRIORITY_TAGGED`] | [`Handoff::CARRIES_TAGS`] |
    /// [`Handoff::YELLOW`], or [`Handoff::FOR_HOST`], or [`Handoff::ONWARD`]; and
    /// [`Handoff::HW_VLAN`].
    pub flags: u16,
    /// ECN field of the inner packet, 0–3 (RFC 3168).
    pub ecn: u8,
    /// Zero.
    pub pad: u8,
}

impl Handoff {
    /// In place of a seal, where nobody else can write: the pipeline at TC has said something.
    pub const AT_TC: [u32; 2] = [1, 0];
    /// The frame came in at a leaf of a `tree`.
    pub const LEAF: u16 = 1;
    /// The frame had a priority tag (VID 0) of its own, which XDP lifted out.
    pub const PRIORITY_TAGGED: u16 = 2;
    /// The frame carries VLAN tags, so only transparent attachments and tunnels may have it.
    pub const CARRIES_TAGS: u16 = 4;
    /// The frame is not to be flooded: it is for the node's own stack, as it is.
    pub const FOR_HOST: u16 = 8;
    /// A bandwidth profile found the frame yellow.
    pub const YELLOW: u16 = 16;
    /// The frame is not to be flooded: it is as it shall leave by one port, which XDP has no way
    /// to.
    pub const ONWARD: u16 = 32;
    /// The tag that the kernel still keeps beside the data was put into the data at XDP, and has
    /// been seen to there: TC takes it away before all else.
    pub const HW_VLAN: u16 = 64;
}

/// What the programs know each other by, random for each node: metadata and marks can be set by
/// others, too, and a constant can be read in any copy of the programs. Kept as long as the node's
/// maps, so that programs of two loads understand each other while one takes over from the other.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cookies {
    /// Key of the seals by which TC knows that XDP has left a [`Handoff`]. Never zero.
    pub key: [u64; 2],
    /// `skb->mark` of a frame that TC sends out of a port. Never zero.
    pub mark: u32,
    /// Zero.
    pub pad: u32,
}

pod!(FloodKey = 8, Handoff = 28, HandoffMetadata = 44, Cookies = 24);
