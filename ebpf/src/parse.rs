//! The inner frame: its addresses, the tags that it carries behind the attachment's own, and where its packet starts.
//!
//! A carried tag passes only on a transparent attachment or out of a tunnel; elsewhere it is dropped (`nested-tag`), or the
//! exit's wire would show a tag that the attachment does not own. The exception is one priority tag (VID 0) out of a
//! tunnel, which is how PCP and DEI travel between nodes.

use sillon_abi::DropReason;

use crate::{
    classify::{Origin, PRIORITY},
    frame::{Frame, Macs, Shape},
};

pub const C_TPID: u16 = 0x8100;
pub const S_TPID: u16 = 0x88a8;
/// Bytes of a VLAN tag.
pub const TAG: usize = 4;
/// Offset of the ethertype, or of the first tag.
pub const ETHERTYPE: usize = 12;
pub const IPV4: u16 = 0x0800;
pub const IPV6: u16 = 0x86dd;

/// Whether an ethertype announces a tag, by the standards (0x8100, 0x88a8) or by old habit (0x9100, 0x9200, 0x9300).
#[inline(always)]
pub fn is_tpid(ethertype: u16) -> bool {
    matches!(ethertype, C_TPID | S_TPID | 0x9100 | 0x9200 | 0x9300)
}

/// What tags a frame carries behind the attachment's own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    Nothing,
    /// One, whose VID is 0.
    PriorityTag,
    /// Others, or more.
    Tags,
}

/// What is known of the inner frame.
pub struct Inner {
    pub macs: Macs,
    /// Offset of the addresses: in front of the attachment's tags, or behind the tunnel's header.
    pub start: usize,
    pub carried: Carried,
    /// PCP and DEI of the frame, whichever tag they stood in.
    pub priority: u16,
    /// `police::ELIGIBLE` if it is yellow, whatever `priority` says: for the tags that it gets, and for none that it carries.
    pub eligible: u16,
    /// Offset of the packet.
    pub l3: usize,
    /// What the packet is.
    pub ethertype: u16,
    /// Bytes, with all that is in front of the inner frame.
    pub len: usize,
    /// What they are on the wire.
    pub shape: Shape,
}

#[inline(always)]
pub fn inner(
    frame: &impl Frame,
    origin: &Origin,
    macs: Macs,
    priority: u16,
    len: usize,
) -> Result<Inner, DropReason> {
    let mut inner = Inner {
        macs,
        start: if origin.ingress.is_remote() { origin.lead() } else { 0 },
        carried: Carried::Nothing,
        priority,
        eligible: 0,
        l3: ETHERTYPE + origin.lead() + 2,
        ethertype: frame.read_tag(ETHERTYPE + origin.lead())?,
        len,
        shape: Shape::default(),
    };
    if is_tpid(inner.ethertype) {
        if !origin.transparent {
            return Err(DropReason::NestedTag);
        }
        carried(frame, &mut inner)?;
    }
    inner.shape = frame.shape(inner.ethertype, inner.l3);
    Ok(inner)
}

#[inline(always)]
fn carried(frame: &impl Frame, inner: &mut Inner) -> Result<(), DropReason> {
    let tci = frame.read_tag(inner.l3)?;
    let tpid = inner.ethertype;
    inner.ethertype = frame.read_tag(inner.l3 + 2)?;
    inner.l3 += TAG;
    inner.carried = Carried::Tags;
    if is_tpid(inner.ethertype) {
        inner.ethertype = frame.read_tag(inner.l3 + 2)?;
        inner.l3 += TAG;
    } else if tpid == C_TPID && tci & !PRIORITY == 0 {
        inner.carried = Carried::PriorityTag;
        inner.priority = tci;
    }
    Ok(())
}
