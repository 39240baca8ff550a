//! The node's own tables: ports, classes, attachments, segments.

use crate::{Endpoint, Mac, pod};

/// What is the node's as a whole: what its agent gives out next, and what is known of its own
/// addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeEntry {
    /// The next segment uid to give out; for userspace only.
    pub next_uid: u32,
    /// The next flood list to give out; for userspace only.
    pub next_list: u32,
    /// A bit ([`Mac::own_bit`]) for each of the node's own addresses: most others need not be
    /// looked up.
    pub own_macs: u32,
}

/// What a port faces.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A rented server.
    Access = 1,
    /// An operator's own router (MEF 26 ENNI).
    Handover = 2,
    /// The underlay.
    Uplink = 3,
}

/// A port, by ifindex.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortEntry {
    /// The whole-port attachment, or 0 where tags decide.
    pub whole: u32,
    /// The port's own address: an underlay frame for another one is not ours.
    pub mac: Mac,
    /// A [`Role`].
    pub role: u8,
    /// [`PortEntry::PEERS`] | [`PortEntry::AT_TC`] | [`PortEntry::HAS_FAR_END`] |
    /// [`PortEntry::VETH`] | [`PortEntry::HW_VLAN`].
    pub flags: u8,
    /// On an uplink: the node's IPv4 VTEP as on the wire; zero where there is none.
    pub vtep4: [u8; 4],
    /// On an uplink: the node's IPv6 VTEP as on the wire; zero where there is none.
    pub vtep6: [u16; 8],
}

impl PortEntry {
    /// In `flags`: an attachment of it has [`crate::Guards::PEER`], so that the node's own stack
    /// may answer.
    pub const PEERS: u8 = 1;
    /// In `flags`: the pipeline is at TC here, and not at XDP.
    pub const AT_TC: u8 = 2;
    /// In `flags`, beside [`PortEntry::AT_TC`]: the device is one end of a veth pair whose other
    /// end is in another network namespace.
    pub const HAS_FAR_END: u8 = 4;
    /// In `flags`, never beside [`PortEntry::AT_TC`]: the device is one end of a veth pair, so that
    /// a frame's outermost tag may be beside the data, where XDP does not see it.
    pub const VETH: u8 = 8;
    /// In `flags`, beside [`PortEntry::VETH`]: that tag decides whose a frame is, or is carried.
    /// So it is put into the data of each frame before anything else.
    pub const HW_VLAN: u8 = 16;

    /// Whether the pipeline is at TC here.
    #[inline(always)]
    pub const fn is_at_tc(&self) -> bool {
        self.flags & Self::AT_TC != 0
    }
}

/// What userspace remembers of a port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRecord {
    /// Interface name, zero-padded.
    pub name: [u8; 16],
    /// Device features that the agent turned off, as bits in the order of its list; restored on
    /// flush.
    pub features: u32,
    /// 1 native XDP, 2 generic XDP, 3 TC.
    pub mode: u32,
}

/// A segment's and its operator's name, for people who ask a node without its agent.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Segment name, UTF-8, zero-padded.
    pub segment: [u8; 64],
    /// Operator name, UTF-8, zero-padded.
    pub operator: [u8; 64],
}

/// How a frame of an attachment looks on its port.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encap {
    /// No tag, or a priority tag (VID 0).
    Untagged = 1,
    /// One 802.1Q tag.
    Dot1q = 2,
    /// One 802.1ad S-tag; tags inside it are the operator's.
    QinqS = 3,
    /// An 802.1ad S-tag and an 802.1Q C-tag.
    QinqSC = 4,
    /// Everything on the port, tags and all.
    Port = 5,
}

impl Encap {
    /// Whether frames with tags of their own pass.
    #[inline(always)]
    pub const fn is_transparent(self) -> bool {
        matches!(self, Self::QinqS | Self::Port)
    }

    /// How many tags of its own a frame has with it.
    #[inline(always)]
    pub const fn tags(self) -> usize {
        match self {
            Self::Untagged | Self::Port => 0,
            Self::Dot1q | Self::QinqS => 1,
            Self::QinqSC => 2,
        }
    }
}

/// What a frame's port and tags say, before it is known whose they are.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassKey {
    /// The port.
    pub ifindex: u32,
    /// VID of the outer tag, with [`ClassKey::S_TAG`] where its TPID is 0x88a8; 0 where there is
    /// none.
    pub outer: u16,
    /// VID of the inner C-tag, [`ClassKey::ANY`] where the attachment takes all, 0 where there is
    /// none.
    pub inner: u16,
}

impl ClassKey {
    /// In `outer`: the tag is an S-tag.
    pub const S_TAG: u16 = 0x8000;
    /// In `inner`: whatever is inside.
    pub const ANY: u16 = 0xffff;
    /// In `outer`: the whole port. Not looked up ([`PortEntry::whole`] is), but tells an attachment
    /// what it is.
    pub const WHOLE: u16 = 0x7fff;

    /// All of it in one word: `ifindex` in the lower half, then `outer`, then `inner`.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.ifindex as u64 | (self.outer as u64) << 32 | (self.inner as u64) << 48
    }

    /// The class that is this word.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self { ifindex: word as u32, outer: (word >> 32) as u16, inner: (word >> 48) as u16 }
    }

    /// Frames without a tag, or with a priority tag.
    #[inline(always)]
    pub const fn untagged(ifindex: u32) -> Self {
        Self { ifindex, outer: 0, inner: 0 }
    }

    /// Frames with one C-tag.
    #[inline(always)]
    pub const fn dot1q(ifindex: u32, vid: u16) -> Self {
        Self { ifindex, outer: vid, inner: 0 }
    }

    /// Frames with an S-tag, and what is inside.
    #[inline(always)]
    pub const fn qinq(ifindex: u32, s_vid: u16, inner: u16) -> Self {
        Self { ifindex, outer: Self::S_TAG | s_vid, inner }
    }

    /// All frames of a port.
    #[inline(always)]
    pub const fn whole(ifindex: u32) -> Self {
        Self { ifindex, outer: Self::WHOLE, inner: 0 }
    }

    /// The encapsulation that this class is.
    #[inline(always)]
    pub const fn encap(self) -> Encap {
        if self.outer == 0 {
            Encap::Untagged
        } else if self.outer == Self::WHOLE {
            Encap::Port
        } else if self.outer & Self::S_TAG == 0 {
            Encap::Dot1q
        } else if self.inner == Self::ANY {
            Encap::QinqS
        } else {
            Encap::QinqSC
        }
    }

    /// VID of the outer tag, host order.
    #[inline(always)]
    pub const fn outer_vid(self) -> u16 {
        self.outer & 0x0fff
    }
}

/// How a segment connects its points (MEF 6.3).
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Two points, cross-connected; nothing is learned.
    Line = 1,
    /// Many points, all alike.
    Lan = 2,
    /// Roots reach all, leaves reach only roots.
    Tree = 3,
}

/// One segment on one port under one encapsulation. Never changed while it is referred to: another
/// attachment is made, the referrers are switched, and the id is used again only after no program
/// can still hold it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attachment {
    /// Segment uid; 0 in a free slot. Every delivery compares it with the segment of the frame.
    pub segment: u32,
    /// Where it is and how its frames look there. Every classification compares it with what the
    /// frame showed.
    pub class: ClassKey,
    /// The segment's VNI.
    pub vni: u32,
    /// In a `line`: the other point.
    pub cross: Endpoint,
    /// FDB entries that the segment may have.
    pub fdb_limit: u32,
    /// Largest layer-3 packet that the segment carries, bytes.
    pub mtu: u16,
    /// A [`Service`].
    pub service: u8,
    /// 1 for a leaf of a `tree`, else 0.
    pub leaf: u8,
    /// DSCP of the outer header, already shifted to its place in the traffic class.
    pub tos: u8,
    /// An [`crate::OverLimit`].
    pub over_limit: u8,
    /// Which guards look at its frames, so that those that it does not have cost it nothing:
    /// [`crate::Guards`].
    pub guards: u16,
    /// FDB entries that it may have.
    pub mac_limit: u32,
}

/// How often what was decided on flows became void.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epochs {
    /// For all. Only the agent adds to it, and the programs read it with every frame.
    pub node: u64,
    /// So that no program's writing slows that.
    pub pad: [u64; 7],
    /// For a segment, by its uid; some share one. Only the programs add to it.
    pub segments: [u64; Self::SEGMENTS],
}

impl Epochs {
    /// A power of two.
    pub const SEGMENTS: usize = 4096;
}

/// A segment, by uid.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Its VNI.
    pub vni: u32,
    /// Its flood list.
    pub list: u32,
    /// Places in the flood list.
    pub members: u32,
    /// Largest layer-3 packet that it carries, bytes.
    pub mtu: u16,
    /// A [`Service`].
    pub service: u8,
    /// DSCP of the outer header, already shifted to its place in the traffic class.
    pub tos: u8,
    /// Seconds after which an FDB entry that was not seen is removed; for userspace only.
    pub ageing: u32,
    /// FDB entries that it may have, and as many bindings.
    pub fdb_limit: u32,
    /// The move of an address within `move_window` that freezes it; 0 where none does.
    pub move_limit: u16,
    /// Seconds in which moves count.
    pub move_window: u16,
    /// Seconds for which a frozen address stays.
    pub freeze: u32,
}

/// Frames and bytes, in and out. Bytes are of the frame as it is on the port, without FCS.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames received.
    pub in_frames: u64,
    /// Bytes received.
    pub in_bytes: u64,
    /// Frames sent.
    pub out_frames: u64,
    /// Bytes sent.
    pub out_bytes: u64,
}

pod!(
    NodeEntry = 12,
    PortEntry = 32,
    PortRecord = 24,
    Label = 128,
    ClassKey = 8,
    Attachment = 36,
    Segment = 32,
    Counters = 32,
    Epochs = 32832,
);
