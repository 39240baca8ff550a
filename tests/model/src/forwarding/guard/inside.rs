//! The packet in a frame, where hosts would find it: behind priority tags, and not in LLC/SNAP
//! (CVE-2021-27853 and its kin).

use sillon_abi::DropReason;

use super::super::frame::{IPV4, IPV6, Inner, be16, is_tpid};

pub const ARP: u16 = 0x0806;
/// Tags behind the attachment's own that are looked through.
const TAGS: usize = 6;
/// Below is a length (IEEE 802.3 clause 3.2.6), and LLC follows.
const LEAST_ETHERTYPE: u16 = 0x0600;
/// Service access points of SNAP (individual and group) and of IP (RFC 948).
const SNAP: [u8; 2] = [0xaa, 0xab];
const IP: u8 = 0x06;
/// OUIs under which SNAP's number is an ethertype, or a length like that of a frame: RFC 1042, IEEE
/// 802.1H.
const OUIS: [[u8; 3]; 2] = [[0, 0, 0], [0, 0, 0xf8]];

/// A packet.
pub struct Packet<'a> {
    /// What it is; a length where the frame has one.
    pub ethertype: u16,
    /// Its bytes, and what is behind it in the frame.
    pub bytes: &'a [u8],
}

/// Looks for the packet.
pub fn packet(inner: &Inner) -> Result<Packet<'_>, DropReason> {
    let (mut ethertype, mut bytes) = (inner.ethertype, &inner.packet[..]);
    let mut tags = inner.carried.len();
    while is_tpid(ethertype) {
        // A tag is a TCI, and what follows it.
        let [_, _, a, b, ..] = bytes else { return Err(DropReason::Wrapped) };
        if tags == TAGS {
            return Err(DropReason::Wrapped);
        }
        ethertype = u16::from_be_bytes([*a, *b]);
        bytes = &bytes[4..];
        tags += 1;
    }
    if ethertype < LEAST_ETHERTYPE && hides_a_packet(bytes) {
        return Err(DropReason::Wrapped);
    }
    Ok(Packet { ethertype, bytes })
}

/// Whether an LLC header announces IP, ARP or another tag.
fn hides_a_packet(llc: &[u8]) -> bool {
    match llc {
        [IP, _, ..] | [_, IP, ..] => true,
        [point, _, _, a, b, c, ..] if SNAP.contains(point) => {
            let Ok(announced) = be16(llc, 6) else { return false };
            let is_packet = [IPV4, IPV6, ARP].contains(&announced) || is_tpid(announced);
            // A length here leads to the next LLC header, and so on.
            is_packet || (announced < LEAST_ETHERTYPE && OUIS.contains(&[*a, *b, *c]))
        }
        _ => false,
    }
}
