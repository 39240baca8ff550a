//! What the steps find out of a frame, and tell each other.

use sillon_abi::Endpoint;

use crate::frame::{Gso, Macs};

/// Whose a frame is, from whichever side it came, and how its segment treats it. Fields stand in
/// such an order that what the compiler writes as one word is aligned, as the verifier wants it on
/// the stack.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Ingress {
    pub endpoint: Endpoint,
    pub segment: u32,
    /// In a `line`, the other point.
    pub cross: Endpoint,
    pub fdb_limit: u32,
    pub vni: u32,
    pub mtu: u16,
    /// What guards look at the frame: [`sillon_abi::Attachment::guards`].
    pub guards: u16,
    /// Bytes of the attachment's own tags, or of the tunnel's header: what is not of the inner
    /// frame.
    pub lead: u8,
    pub service: u8,
    /// DSCP for the outer header, where it stands in the traffic class.
    pub tos: u8,
    /// Whether tags inside are the operator's business.
    pub transparent: bool,
    pub leaf: bool,
}

impl Ingress {
    /// `lead`. The mask changes nothing, and tells the verifier the bounds.
    #[inline(always)]
    pub fn lead(&self) -> usize {
        self.lead as usize & 0x7f
    }
}

/// What tags a frame carries behind the attachment's own.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Carried(u8);

impl Carried {
    pub const NOTHING: Self = Self(0);
    /// One, whose VID is 0.
    pub const PRIORITY_TAG: Self = Self(1);
    /// Others, or more.
    pub const TAGS: Self = Self(2);

    #[inline(always)]
    pub const fn number(self) -> u8 {
        self.0
    }

    #[inline(always)]
    pub const fn from_number(number: u8) -> Self {
        Self(number)
    }
}

/// What is known of the inner frame.
pub struct Inner {
    pub macs: Macs,
    /// Offset of the addresses: in front of the attachment's tags, or behind the tunnel's header.
    pub start: usize,
    pub carried: Carried,
    /// PCP and DEI of the frame, whichever tag they stood in.
    pub priority: u16,
    /// `police::ELIGIBLE` if it is yellow, whatever `priority` says: for the tags that it gets,
    /// and for none that it carries.
    pub eligible: u16,
    /// Offset of the packet.
    pub l3: usize,
    /// What the packet is.
    pub ethertype: u16,
    /// Bytes, with all that is in front of the inner frame.
    pub len: usize,
    /// What they are on the wire.
    pub gso: Gso,
}

/// How many bytes in front of the packet go, and how many of tags come.
#[derive(Clone, Copy)]
pub struct Front {
    pub strip: usize,
    pub push: usize,
}

impl Front {
    /// How many bytes fewer there are.
    #[inline(always)]
    pub fn by(self) -> i32 {
        self.strip as i32 - self.push as i32
    }
}

/// What was asked.
#[derive(Clone, Copy)]
pub enum Question {
    Arp,
    Neighbour,
}
