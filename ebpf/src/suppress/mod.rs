//! Who has this address? In a segment with `suppress`, the edge listens to ARP (RFC 826) and
//! neighbour discovery (RFC 4861), and answers a question itself when it knows, instead of flooding
//! it (as RFC 9161 has it for EVPN).
//!
//! **What is heard.** Claims that hosts would believe: the sender of an ARP request or reply, and
//! the target of a neighbour advertisement, for the frame's own source MAC, which must be in the
//! FDB where the frame came in. So whatever a guard drops, and whoever is not learned, claims
//! nothing. They are heard out of tunnels, too. A solicitation's source only refreshes what is
//! known: it does not say whether it is a router, and a host that is told "no router" by mistake
//! drops its default route (RFC 4861 section 7.2.5). The last claim counts, as it does for hosts;
//! one for an address that is configured counts nothing. A segment has at most as many bindings as
//! `mac_limit`; others are flooded as ever, and never displace one.
//!
//! **What is answered.** An ARP request to all, or a solicitation to the target's group, from an
//! attachment, for an address whose MAC is in the FDB at another place of the segment, but not a
//! leaf's for a leaf. Only where the frame comes in: out of a tunnel it has been asked for there.
//! The frame is turned into the answer and goes back; it is counted and policed as any other that
//! is sent there.
//!
//! **What goes on as before**, unheard and unanswered: probes (ARP from 0.0.0.0, RFC 5227 section
//! 2.1.1; solicitations from ::, RFC 4862 section 5.4), which only the owner must answer; what is
//! malformed; what has options besides the link-layer address (SEND, RFC 3971, asks for
//! signatures); and what is inside tags of the operator. Heard, but not answered: announcements
//! (ARP whose sender is the target), and unicast questions, which ask whether the owner is still
//! there (RFC 1122 section 2.3.2.1, RFC 4861 section 7.3).

mod arp;
mod bindings;
mod nd;

use sillon_abi::{Endpoint, Guards};

use crate::{
    arp::ARP,
    frame::Frame,
    hook::Hook,
    meta::{Carried, Ingress, Inner, Question},
    wire::IPV6,
};

/// Offset of the next header and the hop limit in an IPv6 header, and what they are for neighbour
/// discovery (RFC 4861 section 7.1).
const NEXT_AND_HOPS: usize = 6;
const ICMPV6_OF_A_NEIGHBOUR: u16 = u16::from_ne_bytes([58, 255]);

/// Listens; and if this frame asks for what is known, turns it into the answer and says so.
#[inline(always)]
pub fn answer(frame: &impl Hook, ingress: &Ingress, inner: &Inner) -> Option<Question> {
    if ingress.guards & Guards::SUPPRESS == 0 {
        return None;
    }
    let question = if inner.ethertype == ARP {
        Question::Arp
    } else if inner.ethertype == IPV6
        && frame.read::<u16>(inner.l3 + NEXT_AND_HOPS) == Ok(ICMPV6_OF_A_NEIGHBOUR)
    {
        Question::Neighbour
    } else {
        return None;
    };
    // What is in the operator's own VLAN is not what is beside it. A priority tag out of a tunnel
    // is the fabric's.
    match inner.carried {
        Carried::NOTHING => {}
        Carried::PRIORITY_TAG if ingress.endpoint.is_remote() => {}
        _ => return None,
    }
    let mut what = inner.l3 as u32 & L3;
    if ingress.leaf {
        what |= FROM_LEAF;
    }
    if !ingress.endpoint.is_remote() && inner.macs.dst().is_group() {
        what |= MAY_ASK;
    }
    let (segment, ingress, src) =
        (ingress.segment, ingress.endpoint.word(), inner.macs.src_number());
    let is_answer = match question {
        Question::Arp => frame.arp(what, segment, ingress, src),
        Question::Neighbour => frame.neighbour(what, segment, ingress, src),
    };
    (is_answer != 0).then_some(question)
}

/// In `what`: where the packet starts.
const L3: u32 = 0xff;
/// In `what`: a leaf of a `tree` sent the frame.
const FROM_LEAF: u32 = 1 << 8;
/// In `what`: the frame came from an attachment, for all or for a group.
const MAY_ASK: u32 = 1 << 9;

/// Who speaks, and where.
#[derive(Clone, Copy)]
struct Speaker {
    segment: u32,
    ingress: Endpoint,
    /// The frame's source, as a number.
    mac: u64,
    is_leaf: bool,
    may_ask: bool,
}

impl Speaker {
    #[inline(always)]
    fn new(what: u32, segment: u32, ingress: u32, mac: u64) -> Self {
        let (is_leaf, may_ask) = (what & FROM_LEAF != 0, what & MAY_ASK != 0);
        Self { segment, ingress: Endpoint::from_word(ingress), mac, is_leaf, may_ask }
    }
}

/// Listens to ARP, and says whether the frame has become the answer.
#[inline(always)]
pub fn arp(frame: &impl Frame, what: u32, segment: u32, ingress: u32, src: u64) -> u32 {
    let speaker = Speaker::new(what, segment, ingress, src);
    u32::from(arp::answer(frame, (what & L3) as usize, speaker).is_ok())
}

/// The same of neighbour discovery.
#[inline(always)]
pub fn neighbour(frame: &impl Frame, what: u32, segment: u32, ingress: u32, src: u64) -> u32 {
    let speaker = Speaker::new(what, segment, ingress, src);
    u32::from(nd::answer(frame, (what & L3) as usize, speaker).is_ok())
}

/// Why a frame goes on as it is; nobody asks further.
struct GoesOn;

/// The addresses of an answer, as the first words of its frame.
#[inline(always)]
fn addresses(to: u64, from: u64) -> [u32; 3] {
    [(to >> 16) as u32, (to << 16) as u32 | (from >> 32) as u32, from as u32].map(u32::to_be)
}
