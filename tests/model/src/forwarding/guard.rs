//! What no operator may send, wherever it is attached. A further guard is a further line here; one that remembers something gets a field of
//! the node.

use sillon_abi::DropReason;

use super::frame::{Inner, Mac};

/// Whether a frame may pass in a segment whose packets are up to `mtu` bytes.
///
/// # Errors
/// The first reason why not.
pub fn check(inner: &Inner, mtu: u16) -> Result<(), DropReason> {
    // IEEE 802.3 clause 3.2.3: a source is an individual address.
    if inner.src[0] & 1 == 1 {
        return Err(DropReason::SourceGroup);
    }
    if inner.src == Mac::default() {
        return Err(DropReason::SourceZero);
    }
    // IEEE 802.1Q table 8-1.
    if inner.dst[..5] == [0x01, 0x80, 0xc2, 0, 0] && inner.dst[5] < 0x10 {
        return Err(DropReason::LinkLocalControl);
    }
    if inner.packet.len() > usize::from(mtu) {
        return Err(DropReason::TooBig);
    }
    Ok(())
}
