//! What a device's MTU has to be for what a segment promises: one arithmetic, for the node and for
//! the controller.

use super::Encap;

/// Bytes of the Ethernet header inside the tunnel, and of the IP, UDP and VXLAN headers around it.
const V4_OVERHEAD: u32 = 14 + 20 + 8 + 8;
const V6_OVERHEAD: u32 = 14 + 40 + 8 + 8;
const TAG: u32 = 4;

/// The least MTU of a port at which a segment of this MTU has this encapsulation. A device takes
/// frames of its MTU, an Ethernet header and one tag; what an encapsulation has beyond that counts.
pub const fn at_port(mtu: u16, encap: Encap) -> u32 {
    mtu as u32 + if matches!(encap, Encap::QinqS(_) | Encap::QinqSC { .. }) { TAG } else { 0 }
}

/// The least MTU of an uplink by which a segment of this MTU is tunnelled. A transparent
/// attachment's frames have a tag inside the tunnel.
pub const fn on_uplink(mtu: u16, is_over_v6: bool, carries_tags: bool) -> u32 {
    let overhead = if is_over_v6 { V6_OVERHEAD } else { V4_OVERHEAD };
    mtu as u32 + overhead + if carries_tags { TAG } else { 0 }
}
