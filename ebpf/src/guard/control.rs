//! Link-local control frames: BPDUs, LACP, LLDP, EAPOL and their like go to 01-80-C2-00-00-0x, which no bridge forwards (IEEE 802.1Q
//! table 8-1); Cisco's CDP, VTP and PVST+ to 01-00-0C-CC-CC-CC and -CD. They speak of a link, and in a segment there is none: an
//! operator's BPDU must not reach another's switch. They are dropped (`link-local-control`), unless they cross a `line` whose
//! attachments say `control = "tunnel"`, as MEF 45 has it for private lines: then both ends are one operator's own, and the line is
//! the link.
//!
//! PAUSE and other MAC control (ethertype 0x8808, IEEE 802.3 annex 31) stops the sender at the other end of one cable; it is never
//! carried (`mac-control`).

use sillon_abi::{DropReason, Guards, Mac};

use crate::classify::Origin;

const MAC_CONTROL: u16 = 0x8808;

#[inline(always)]
pub fn address(origin: &Origin, dst: Mac) -> Result<(), DropReason> {
    if !dst.is_link_local_control() && !dst.is_cisco_control() || origin.guards & Guards::CONTROL != 0 {
        return Ok(());
    }
    Err(DropReason::LinkLocalControl)
}

#[inline(always)]
pub fn ethertype(ethertype: u16) -> Result<(), DropReason> {
    if ethertype == MAC_CONTROL { Err(DropReason::MacControl) } else { Ok(()) }
}
