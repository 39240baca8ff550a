//! What no operator may send, whatever it is attached to: a group or zero source address (IEEE 802.3 clause 3.2.3), and
//! link-local control frames (IEEE 802.1Q table 8-1), which belong to the link and not to the segment. Nor may a packet be
//! larger than what the segment promises its points.

use sillon_abi::DropReason;

use crate::{classify::Origin, parse::Inner};

#[inline(always)]
pub fn guard(origin: &Origin, inner: &Inner, len: usize) -> Result<(), DropReason> {
    if inner.src.is_group() {
        return Err(DropReason::SourceGroup);
    }
    if inner.src.is_zero() {
        return Err(DropReason::SourceZero);
    }
    if inner.dst.is_link_local_control() {
        return Err(DropReason::LinkLocalControl);
    }
    if len > inner.l3 + origin.mtu as usize {
        return Err(DropReason::TooBig);
    }
    Ok(())
}
