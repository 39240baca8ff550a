//! ARP, as far as suppression needs it.

use super::{
    GoesOn, Speaker, addresses, bindings,
    bindings::{Ip, Weight},
};
use sillon_abi::DropReason;

use crate::{
    arp::{Arp, HEAD, REPLY, REQUEST},
    frame::Frame,
};

const BROADCAST: u64 = 0xffff_ffff_ffff;

#[inline(always)]
pub fn answer(frame: &impl Frame, l3: usize, speaker: Speaker) -> Result<(), GoesOn> {
    let Said { operation, sender_mac, sender, target } =
        said(Arp { frame, l3 }).map_err(|_| GoesOn)?;
    if !matches!(operation, Some(REQUEST | REPLY))
        || sender_mac != speaker.mac
        || !is_a_hosts(sender)
    {
        return Err(GoesOn);
    }
    let mut key = Ip::v4(sender).in_segment(speaker.segment);
    bindings::hear(&speaker, &key, 0, Weight::WORD);
    let is_question = operation == Some(REQUEST) && sender != target && is_a_hosts(target);
    if !speaker.may_ask
        || !is_question
        || frame.load(0).map_err(|_| GoesOn).map(u64::from_be)? >> 16 != BROADCAST
    {
        return Err(GoesOn);
    }
    key = Ip::v4(target).in_segment(speaker.segment);
    let (owner, _) = bindings::owner(&speaker, &key).ok_or(GoesOn)?;
    let reply = [
        (HEAD >> 32) as u32,
        HEAD as u32 | u32::from(REPLY),
        (owner >> 16) as u32,
        (owner << 16) as u32 | target >> 16,
        target << 16 | (speaker.mac >> 32) as u32,
        speaker.mac as u32,
        sender,
    ];
    // In place, since there is no room on the stack for a packet; the packet first, which is behind
    // the addresses and may not be there.
    frame.write_words(l3, reply.map(u32::to_be)).map_err(|_| GoesOn)?;
    frame.write_words(0, addresses(speaker.mac, owner)).map_err(|_| GoesOn)
}

/// What a packet says.
struct Said {
    /// None where it is not of IPv4 on Ethernet.
    operation: Option<u16>,
    sender_mac: u64,
    sender: u32,
    target: u32,
}

#[inline(always)]
fn said(packet: Arp<'_, impl Frame>) -> Result<Said, DropReason> {
    Ok(Said {
        operation: packet.operation()?,
        sender_mac: packet.sender_mac()?,
        sender: packet.sender()?,
        target: packet.target()?,
    })
}

/// Whether a host may have this address: neither of "this network" or loopback (RFC 1122 section
/// 3.2.1.3) nor a group's or broadcast.
#[inline(always)]
fn is_a_hosts(ip: u32) -> bool {
    let first = ip >> 24;
    first != 0 && first != 127 && (first < 224 || first >= 240 && ip != u32::MAX)
}
