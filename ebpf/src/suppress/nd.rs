//! Neighbour solicitations and advertisements (RFC 4861 sections 4.3, 4.4 and 7.1), as far as suppression needs them: those with the one
//! option that says the link-layer address, directly behind the IPv6 header.

use sillon_abi::Claim;

use super::{
    GoesOn, Speaker, addresses,
    bindings::{self, Ip, Weight},
};
use crate::frame::Frame;

const SOLICITATION: u64 = 135;
const ADVERTISEMENT: u64 = 136;
const ROUTER: u64 = 1 << 31;
const SOLICITED: u64 = 1 << 30;
const OVERRIDE: u64 = 1 << 29;
/// Type and length (in eights of bytes) of the options with the source's and the target's link-layer address.
const SOURCE_OPTION: u64 = 0x0101 << 48;
const TARGET_OPTION: u64 = 0x0201 << 48;
/// The last four bytes of an IPv6 header's first eight: 32 bytes of ICMPv6, hop limit 255. In front, the version.
const HEAD: u64 = 0x0020_3aff;
const VERSION: u64 = 6 << 60;
/// What the ICMPv6 checksum covers besides: length and protocol (RFC 8200 section 8.1).
const PSEUDO: u64 = 32 + 58;
/// ff02::1:ff00:0/104, the groups of solicited nodes (RFC 4291 section 2.7.1).
const SOLICITED_NODE: Ip = Ip { head: 0xff02 << 48, tail: 0x0000_0001_ff00_0000 };
const LOW_24: u64 = 0xff_ffff;

/// An IPv6 header and 32 bytes of ICMPv6, in words, as numbers.
type Packet = [u64; 9];

#[inline(always)]
pub fn answer(frame: &Frame, l3: usize, speaker: Speaker) -> Result<(), GoesOn> {
    let packet: Packet = frame.load(l3).map_err(|_| GoesOn)?;
    let [head, source_head, source_tail, to_head, to_tail, icmp, target_head, target_tail, option] =
        packet.map(u64::from_be);
    let (source, target) =
        (Ip { head: source_head, tail: source_tail }, Ip { head: target_head, tail: target_tail });
    if head >> 60 != VERSION >> 60 || head as u32 != HEAD as u32 || !is_a_hosts(source) || !is_a_hosts(target)
    {
        return Err(GoesOn);
    }
    let words = [source_head, source_tail, to_head, to_tail, icmp, target_head, target_tail, option];
    if sum(words) != 0xffff {
        return Err(GoesOn);
    }
    // Type and code.
    match icmp >> 48 {
        kind if kind == ADVERTISEMENT << 8 => {
            let is_for_all = to_head >> 56 == 0xff;
            if option == TARGET_OPTION | speaker.mac && !(is_for_all && icmp & SOLICITED != 0) {
                advertised(&speaker, target, icmp);
            }
            Err(GoesOn)
        }
        kind if kind == SOLICITATION << 8 => {
            if option != SOURCE_OPTION | speaker.mac {
                return Err(GoesOn);
            }
            bindings::hear(&speaker, source, 0, Weight::HINT);
            let group = SOLICITED_NODE.tail | target_tail & LOW_24;
            let is_question = (to_head, to_tail) == (SOLICITED_NODE.head, group);
            if !speaker.may_ask || !is_question {
                return Err(GoesOn);
            }
            let (owner, flags) = bindings::owner(&speaker, target).ok_or(GoesOn)?;
            reply(frame, l3, speaker.mac, source, target, (owner, flags))
        }
        _ => Err(GoesOn),
    }
}

#[inline(always)]
fn advertised(speaker: &Speaker, target: Ip, icmp: u64) {
    let mut flags = 0;
    if icmp & ROUTER != 0 {
        flags |= Claim::ROUTER;
    }
    let mut weight = Weight::OFFER;
    if icmp & OVERRIDE != 0 {
        flags |= Claim::OVERRIDE;
        weight = Weight::WORD;
    }
    bindings::hear(speaker, target, flags, weight);
}

#[inline(always)]
fn reply(
    frame: &Frame,
    l3: usize,
    asker: u64,
    source: Ip,
    target: Ip,
    (owner, flags): (u64, u16),
) -> Result<(), GoesOn> {
    let mut icmp = ADVERTISEMENT << 56 | SOLICITED;
    if flags & Claim::ROUTER != 0 {
        icmp |= ROUTER;
    }
    if flags & Claim::OVERRIDE != 0 {
        icmp |= OVERRIDE;
    }
    let option = TARGET_OPTION | owner;
    let words = [target.head, target.tail, source.head, source.tail, icmp, target.head, target.tail, option];
    icmp |= u64::from(!sum(words)) << 32;
    let packet: Packet = [
        VERSION | HEAD,
        target.head,
        target.tail,
        source.head,
        source.tail,
        icmp,
        target.head,
        target.tail,
        option,
    ];
    frame.store(l3, &packet.map(u64::to_be)).map_err(|_| GoesOn)?;
    frame.store(0, &addresses(asker, owner)).map_err(|_| GoesOn)
}

/// The ones' complement sum of these words and the rest of the pseudo-header (RFC 1071).
#[inline(always)]
fn sum(words: [u64; 8]) -> u16 {
    let mut sum = PSEUDO;
    for word in words {
        sum += (word & 0xffff_ffff) + (word >> 32);
    }
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// Whether a host may have this address: not a group's, nor ::, ::1, or one that means IPv4 (of ::/64 there are no others).
#[inline(always)]
fn is_a_hosts(ip: Ip) -> bool {
    ip.head >> 56 != 0xff && ip.head != 0
}
