//! Neighbour solicitations and advertisements (RFC 4861 sections 4.3, 4.4 and 7.1), as far as
//! suppression needs them: those with the one option that says the link-layer address, directly
//! behind the IPv6 header.

use sillon_abi::{Claim, DropReason};

use super::{
    GoesOn, Speaker, addresses, bindings,
    bindings::{Ip, Weight},
};
use crate::frame::Frame;

const SOLICITATION: u64 = 135;
const ADVERTISEMENT: u64 = 136;
const ROUTER: u64 = 1 << 31;
const SOLICITED: u64 = 1 << 30;
const OVERRIDE: u64 = 1 << 29;
/// Type and length (in eights of bytes) of the options with the source's and the target's
/// link-layer address.
const SOURCE_OPTION: u64 = 0x0101 << 48;
const TARGET_OPTION: u64 = 0x0201 << 48;
/// The last four bytes of an IPv6 header's first eight: 32 bytes of ICMPv6, hop limit 255. In
/// front, the version.
const HEAD: u64 = 0x0020_3aff;
const VERSION: u64 = 6 << 60;
/// What the ICMPv6 checksum covers besides: length and protocol (RFC 8200 section 8.1).
const PSEUDO: u64 = 32 + 58;
/// ff02::1:ff00:0/104, the groups of solicited nodes (RFC 4291 section 2.7.1).
const SOLICITED_NODE: Ip = Ip { head: 0xff02 << 48, tail: 0x0000_0001_ff00_0000 };
const LOW_24: u64 = 0xff_ffff;

/// An IPv6 header and 32 bytes of ICMPv6, in words. They are read where they are: the stack has no
/// room for them.
#[derive(Clone, Copy)]
struct Neighbour(*mut [u64; WORDS]);

const WORDS: usize = 9;
/// Places of words.
const SOURCE: usize = 1;
const DESTINATION: usize = 3;
const ICMP: usize = 5;
const TARGET: usize = 6;
const OPTION: usize = 8;

impl Neighbour {
    #[inline(always)]
    fn word(self, place: usize) -> u64 {
        // SAFETY: `Frame::at` has compared that all of the words are there; `place` is one of the
        // above.
        u64::from_be(unsafe { self.0.cast::<u64>().add(place).read_unaligned() })
    }

    #[inline(always)]
    fn address(self, place: usize) -> Ip {
        Ip { head: self.word(place), tail: self.word(place + 1) }
    }

    /// The ones' complement sum of what the checksum covers.
    #[inline(always)]
    fn sum(self) -> u16 {
        let mut sum = Sum(PSEUDO);
        for place in SOURCE..WORDS {
            sum.add(self.word(place));
        }
        sum.folded()
    }
}

/// A ones' complement sum (RFC 1071).
struct Sum(u64);

impl Sum {
    #[inline(always)]
    fn add(&mut self, word: u64) {
        self.0 += (word & 0xffff_ffff) + (word >> 32);
    }

    #[inline(always)]
    fn folded(self) -> u16 {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        sum as u16
    }
}

#[inline(always)]
pub fn answer(frame: &impl Frame, l3: usize, speaker: Speaker) -> Result<(), GoesOn> {
    let packet = Neighbour(frame.at(l3).map_err(|_| GoesOn)?);
    let head = packet.word(0);
    let is_one = head >> 60 == VERSION >> 60 && head as u32 == HEAD as u32;
    if !is_one || !is_a_hosts(packet.address(SOURCE)) || !is_a_hosts(packet.address(TARGET)) {
        return Err(GoesOn);
    }
    if packet.sum() != 0xffff {
        return Err(GoesOn);
    }
    let (icmp, option) = (packet.word(ICMP), packet.word(OPTION));
    // Type and code.
    match icmp >> 48 {
        kind if kind == ADVERTISEMENT << 8 => {
            let is_for_all = packet.word(DESTINATION) >> 56 == 0xff;
            if option == TARGET_OPTION | speaker.mac && !(is_for_all && icmp & SOLICITED != 0) {
                advertised(&speaker, packet.address(TARGET), icmp);
            }
            Err(GoesOn)
        }
        kind if kind == SOLICITATION << 8 && option == SOURCE_OPTION | speaker.mac => {
            let mut key = packet.address(SOURCE).in_segment(speaker.segment);
            bindings::hear(&speaker, &key, 0, Weight::HINT);
            let Ip { head, tail } = packet.address(DESTINATION);
            let group = SOLICITED_NODE.tail | packet.word(TARGET + 1) & LOW_24;
            if !speaker.may_ask || head != SOLICITED_NODE.head || tail != group {
                return Err(GoesOn);
            }
            key = packet.address(TARGET).in_segment(speaker.segment);
            let (owner, flags) = bindings::owner(&speaker, &key).ok_or(GoesOn)?;
            turn(frame, l3, packet, owner, flags).map_err(|_| GoesOn)?;
            frame.write_words(0, addresses(speaker.mac, owner)).map_err(|_| GoesOn)
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
    bindings::hear(speaker, &target.in_segment(speaker.segment), flags, weight);
}

/// Turns a solicitation, whose packet starts at `l3`, into the advertisement that answers it.
#[inline(always)]
fn turn(
    frame: &impl Frame,
    l3: usize,
    packet: Neighbour,
    owner: u64,
    flags: u16,
) -> Result<(), DropReason> {
    let mut icmp = ADVERTISEMENT << 56 | SOLICITED;
    if flags & Claim::ROUTER != 0 {
        icmp |= ROUTER;
    }
    if flags & Claim::OVERRIDE != 0 {
        icmp |= OVERRIDE;
    }
    let (asker, target) = (packet.address(SOURCE), packet.address(TARGET));
    let put = |place: usize, word: u64| frame.write(l3 + 8 * place, word.to_be());
    put(0, VERSION | HEAD)?;
    put(DESTINATION, asker.head)?;
    put(DESTINATION + 1, asker.tail)?;
    put(SOURCE, target.head)?;
    put(SOURCE + 1, target.tail)?;
    put(OPTION, TARGET_OPTION | owner)?;
    let mut sum = Sum(PSEUDO);
    for word in [asker.head, asker.tail, target.head, target.tail, target.head, target.tail, icmp] {
        sum.add(word);
    }
    sum.add(TARGET_OPTION | owner);
    put(ICMP, icmp | u64::from(!sum.folded()) << 32)
}

/// Whether a host may have this address: not a group's, nor ::, ::1, or one that means IPv4 (of
/// ::/64 there are no others).
#[inline(always)]
fn is_a_hosts(ip: Ip) -> bool {
    ip.head >> 56 != 0xff && ip.head != 0
}
