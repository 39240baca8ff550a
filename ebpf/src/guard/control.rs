//! Link-local control frames: BPDUs, LACP, LLDP, EAPOL and their like go to 01-80-C2-00-00-0x,
//! which no bridge forwards (IEEE 802.1Q table 8-1); Cisco's CDP, VTP and PVST+ to
//! 01-00-0C-CC-CC-CC and -CD. They speak of a link, and in a segment there is none: an operator's
//! BPDU must not reach another's switch. They are dropped (`link-local-control`), unless the file
//! says otherwise, in MEF 45's words:
//!
//! - `control = "tunnel"` lets them cross a `line` whose attachments all say so, as for private
//!   lines: then both ends are one operator's own, and the line is the link;
//! - `control = "peer"` gives those without a tag, and of a protocol of the link, to the node's own
//!   stack, where the owner runs LLDP or LACP with the operator's device, and lets that stack's own
//!   out (`tc.rs`). They count against the bandwidth profile and the limit for multicasts, and
//!   nothing is learned of them.
//!
//! PAUSE and other MAC control (ethertype 0x8808, IEEE 802.3 annex 31) stops the sender at the
//! other end of one cable; it is never carried (`mac-control`).

use sillon_abi::{DropReason, Guards, Mac};

use crate::{
    meta::{Ingress, Inner},
    wire::ETHERTYPE,
};

const MAC_CONTROL: u16 = 0x8808;

#[inline(always)]
pub fn is_control(dst: Mac) -> bool {
    dst.is_link_local_control() || dst.is_cisco_control()
}

#[inline(always)]
pub fn address(ingress: &Ingress, dst: Mac) -> Result<(), DropReason> {
    if !is_control(dst) || ingress.guards & (Guards::CONTROL | Guards::PEER) != 0 {
        return Ok(());
    }
    Err(DropReason::LinkLocalControl)
}

/// Whether a frame is for the node's own stack.
#[inline(always)]
pub fn is_peers(ingress: &Ingress, inner: &Inner) -> Result<bool, DropReason> {
    if ingress.guards & Guards::PEER == 0 || !is_control(inner.macs.dst()) {
        return Ok(false);
    }
    // What has a tag is not of the link.
    if inner.l3 == ETHERTYPE + 2 && is_of_the_link(inner.ethertype) {
        Ok(true)
    } else {
        Err(DropReason::LinkLocalControl)
    }
}

/// Whether a protocol is one of the link itself: LLC (spanning tree, CDP), slow protocols (LACP),
/// LLDP, EAPOL, MACsec, MVRP, MMRP, CFM and PTP. What has another, and above all IP and ARP, would
/// speak with the node's own stack.
#[inline(always)]
fn is_of_the_link(ethertype: u16) -> bool {
    matches!(
        ethertype,
        ..0x0600 | 0x8809 | 0x88cc | 0x888e | 0x88e5 | 0x88f5 | 0x88f6 | 0x8902 | 0x88f7
    )
}

#[inline(always)]
pub fn ethertype(ethertype: u16) -> Result<(), DropReason> {
    if ethertype == MAC_CONTROL { Err(DropReason::MacControl) } else { Ok(()) }
}
