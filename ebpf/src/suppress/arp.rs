//! ARP for IPv4 on Ethernet (RFC 826), as far as suppression needs it.

use super::{
    GoesOn, Speaker, addresses,
    bindings::{self, Ip, Weight},
};
use crate::frame::Frame;

const REQUEST: u16 = 1;
const REPLY: u16 = 2;
/// Hardware type Ethernet, protocol IPv4, lengths 6 and 4, and the operation.
const HEAD: u64 = 0x0001_0800_0604_0000;
/// The last six of eight bytes.
const MAC: u64 = 0xffff_ffff_ffff;
const OPERATION: usize = 6;
const SENDER: usize = 14;
const TARGET: usize = 24;
const BROADCAST: u64 = MAC;

#[inline(always)]
pub fn answer(frame: &Frame, l3: usize, speaker: Speaker) -> Result<(), GoesOn> {
    let head = u64::from_be(load(frame, l3)?);
    let operation = head as u16;
    let sender_mac = u64::from_be(load(frame, l3 + OPERATION)?) & MAC;
    let sender = u32::from_be(load(frame, l3 + SENDER)?);
    let target = u32::from_be(load(frame, l3 + TARGET)?);
    if head & !0xffff != HEAD || !matches!(operation, REQUEST | REPLY) || sender_mac != speaker.mac {
        return Err(GoesOn);
    }
    if !is_a_hosts(sender) {
        return Err(GoesOn);
    }
    bindings::hear(&speaker, Ip::v4(sender), 0, Weight::WORD);
    let is_question = operation == REQUEST && sender != target && is_a_hosts(target);
    if !speaker.may_ask || !is_question || u64::from_be(load(frame, 0)?) >> 16 != BROADCAST {
        return Err(GoesOn);
    }
    let (owner, _) = bindings::owner(&speaker, Ip::v4(target)).ok_or(GoesOn)?;
    let reply = [
        (HEAD >> 32) as u32,
        HEAD as u32 | u32::from(REPLY),
        (owner >> 16) as u32,
        (owner << 16) as u32 | target >> 16,
        target << 16 | (speaker.mac >> 32) as u32,
        speaker.mac as u32,
        sender,
    ];
    frame.store(l3, &reply.map(u32::to_be)).map_err(|_| GoesOn)?;
    frame.store(0, &addresses(speaker.mac, owner)).map_err(|_| GoesOn)
}

#[inline(always)]
fn load<T: crate::frame::Wire>(frame: &Frame, offset: usize) -> Result<T, GoesOn> {
    frame.load(offset).map_err(|_| GoesOn)
}

/// Whether a host may have this address: neither of "this network" or loopback (RFC 1122 section 3.2.1.3) nor a group's or broadcast.
#[inline(always)]
fn is_a_hosts(ip: u32) -> bool {
    let first = ip >> 24;
    first != 0 && first != 127 && (first < 224 || first >= 240 && ip != u32::MAX)
}
