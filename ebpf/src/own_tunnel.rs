//! A tunnel of the operator's own that shall go into one of ours. The kernel tells a packet of one
//! tunnel only: by that it takes packets apart that travel as one, and finishes checksums. So it
//! has to be done with the operator's before ours comes.
//!
//! It does that for a device that can do none of it, and the loopback device is one for frames in
//! tunnels: the frame goes out there, and comes in one packet by the other. `sillon_apart` knows
//! them by their mark, which says the port, and has the pipeline look at them as if they came in
//! there. The mark is the programs' own word: one of a container's ends at its network namespace,
//! and the node's own stack sends nothing there that is for another host. If this program were not
//! there, the node's own stack would drop them for just that.
//!
//! The frame is looked at as any other both times. It is counted and charged the first time alone,
//! as a whole.

use sillon_abi::{DropReason, PORT_SLOTS};

use crate::{
    hook::Hook,
    maps,
    meta::Inner,
    police,
    skb::{LOOPBACK, Skb},
    verdict::Verdict,
};

/// In a mark, over the ifindex of a port: the frame is yellow.
const YELLOW: u32 = 1 << 31;
const _: () = assert!(PORT_SLOTS <= YELLOW);

/// Whether a frame has to take this way into a tunnel. What is for many does not: if `sillon_apart`
/// were not there, the node's own stack would take it.
#[inline(always)]
pub fn is_due(frame: &impl Hook, inner: &Inner) -> bool {
    inner.gso.nested && frame.came_apart().is_none() && !inner.macs.dst().is_group()
}

#[inline(always)]
pub fn send(skb: Skb, eligible: u16) -> Result<Verdict, DropReason> {
    let colour = if eligible == 0 { 0 } else { YELLOW };
    skb.set_mark(maps::mark_cookie() ^ (skb.ifindex() | colour));
    skb.loop_back()
}

/// The port that a frame came in at.
#[inline(always)]
pub fn port(skb: Skb) -> u32 {
    match skb.ifindex() {
        LOOPBACK => (skb.mark() ^ maps::mark_cookie()) & !YELLOW,
        ifindex => ifindex,
    }
}

/// Of a packet that came back apart, `police::ELIGIBLE` if it is yellow.
#[inline(always)]
pub fn came_apart(skb: Skb) -> Option<u16> {
    if skb.ifindex() != LOOPBACK {
        return None;
    }
    Some(if (skb.mark() ^ maps::mark_cookie()) & YELLOW == 0 { 0 } else { police::ELIGIBLE })
}
