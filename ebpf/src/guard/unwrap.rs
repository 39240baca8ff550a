//! Where is the packet? What a host takes for IP need not look like it: hosts skip any number of
//! priority tags (VID 0), and take packets out of LLC/SNAP headers, whatever length those claim
//! (CVE-2021-27853, -27854, -27861, -27862). So for the guards
//!
//! - up to [`DEPTH`] tags more are looked through than the pipeline itself does; behind more the
//!   frame is dropped (`wrapped`);
//! - a frame with a length in place of an ethertype is dropped if its LLC/SNAP header announces IP,
//!   ARP or another tag, or its LLC header IP (RFC 948). Nobody needs that on Ethernet (RFC 1122
//!   section 2.3.3). Other LLC passes.

use sillon_abi::DropReason;

use crate::{
    arp::ARP,
    frame::Frame,
    wire::{IPV4, IPV6, TAG, is_tpid},
};

/// How many tags are looked through beyond the two that the pipeline knows of.
const DEPTH: usize = 4;
/// From here on it is an ethertype; below, a length.
const LEAST_ETHERTYPE: u16 = 0x0600;
/// LLC service access points (IEEE 802.2): SNAP's two, and IP's.
const SNAP: u8 = 0xaa;
const SNAP_GROUP: u8 = 0xab;
const LLC_IP: u8 = 0x06;
/// OUIs under which SNAP has an ethertype (RFC 1042, IEEE 802.1H); under others it has numbers of
/// their owners'.
const ETHERNET: u32 = 0;
const BRIDGE_TUNNEL: u32 = 0xf8;
/// Bytes of LLC and SNAP in front of the ethertype.
const SNAP_ETHERTYPE: usize = 6;

/// Whether there is more to a frame than its ethertype says, or headers of headers.
#[inline(always)]
pub fn may_hide(ethertype: u16) -> bool {
    ethertype == IPV6 || ethertype < LEAST_ETHERTYPE || is_tpid(ethertype)
}

/// The packet in a frame.
pub struct Packet {
    pub ethertype: u16,
    /// Where it starts.
    pub l3: usize,
}

#[inline(always)]
pub fn packet<F: Frame>(frame: &F, ethertype: u16, l3: usize) -> Result<Packet, DropReason> {
    // The mask changes nothing, and tells the verifier the bounds.
    let (mut ethertype, mut l3) = (ethertype, l3 & 0xff);
    if is_tpid(ethertype) {
        l3 = behind_tags::<F>(frame.ctx(), l3 as u32) as usize;
        if l3 < TAG {
            return Err(DropReason::Wrapped);
        }
        l3 &= 0xff;
        ethertype = frame.load_be16(l3 - 2)?;
    }
    if ethertype < LEAST_ETHERTYPE && hides_a_packet::<F>(frame.ctx(), l3 as u32) {
        return Err(DropReason::Wrapped);
    }
    Ok(Packet { ethertype, l3 })
}

/// Where the packet starts behind the tag whose TCI is at `at`; 0 if it is out of sight.
#[inline(never)]
fn behind_tags<F: Frame>(ctx: *mut F::Context, at: u32) -> u32 {
    let frame = F::of(ctx);
    let mut at = at as usize;
    for _ in 0..DEPTH {
        let Ok(next) = frame.load_be16(at + 2) else { return 0 };
        at += TAG;
        if !is_tpid(next) {
            return at as u32;
        }
    }
    0
}

/// The OUI of a SNAP header; what is none where there is none to be seen.
#[inline(always)]
fn oui(frame: &impl Frame, at: usize) -> u32 {
    frame.load::<u32>(at + 2).map_or(u32::MAX, |word| u32::from_be(word) & 0xff_ffff)
}

/// Whether an LLC header at `at` announces what hosts would take for a packet.
#[inline(never)]
fn hides_a_packet<F: Frame>(ctx: *mut F::Context, at: u32) -> bool {
    let frame = &F::of(ctx);
    let at = at as usize;
    let Ok(points) = frame.load_be16(at) else { return false };
    let [destination, source] = points.to_be_bytes();
    if destination == LLC_IP || source == LLC_IP {
        return true;
    }
    if !matches!(destination, SNAP | SNAP_GROUP) {
        return false;
    }
    // Whoever makes frames of 802.11 out of it looks at the ethertype alone, whatever the OUI.
    let Ok(ethertype) = frame.load_be16(at + SNAP_ETHERTYPE) else { return false };
    let is_nested =
        ethertype < LEAST_ETHERTYPE && matches!(oui(frame, at), ETHERNET | BRIDGE_TUNNEL);
    is_nested || matches!(ethertype, IPV4 | IPV6 | ARP) || is_tpid(ethertype)
}
