//! What no operator may send, whatever it is attached to: a group or zero source address (IEEE 802.3 clause 3.2.3), and
//! link-local control frames (IEEE 802.1Q table 8-1), which belong to the link and not to the segment. Nor may a packet be
//! larger than what the segment promises its points.

use sillon_abi::DropReason;

use crate::{classify::Origin, frame::Macs, parse::Inner};

/// Of the addresses. What passed is not looked at again as long as its decision is recalled.
#[inline(always)]
pub fn addresses(macs: Macs) -> Result<(), DropReason> {
    let (dst, src) = (macs.dst(), macs.src());
    if src.is_group() {
        return Err(DropReason::SourceGroup);
    }
    if src.is_zero() {
        return Err(DropReason::SourceZero);
    }
    if dst.is_link_local_control() {
        return Err(DropReason::LinkLocalControl);
    }
    Ok(())
}

/// Of each frame.
#[inline(always)]
pub fn size(origin: &Origin, inner: &Inner, len: usize) -> Result<(), DropReason> {
    if len > inner.l3 + origin.mtu as usize {
        return Err(DropReason::TooBig);
    }
    Ok(())
}
