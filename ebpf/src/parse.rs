//! The inner frame: its addresses, the tags that it carries behind the attachment's own, and where
//! its packet starts.
//!
//! A carried tag passes only on a transparent attachment or out of a tunnel; elsewhere it is
//! dropped (`nested-tag`), or the endpoint's wire would show a tag that the attachment does not
//! own. The exception is one priority tag (VID 0) out of a tunnel, which is how PCP and DEI travel
//! between nodes.

use sillon_abi::DropReason;

use crate::{
    frame::{Frame, Macs},
    hook::Hook,
    meta::{Carried, Ingress, Inner},
    register::to_result,
    wire::{C_TPID, ETHERTYPE, PRIORITY, TAG, is_tpid},
};

#[inline(always)]
pub fn inner(
    frame: &impl Hook,
    ingress: &Ingress,
    macs: Macs,
    priority: u16,
    len: usize,
) -> Result<Inner, DropReason> {
    let (l3, ethertype) =
        (ETHERTYPE + ingress.lead() + 2, frame.read_tag(ETHERTYPE + ingress.lead())?);
    let packet = if is_tpid(ethertype) {
        if !ingress.transparent {
            return Err(DropReason::NestedTag);
        }
        BehindTags::from_word(frame.behind_tags(ethertype.into(), l3 as u32, priority.into()))?
    } else {
        BehindTags { ethertype, priority, l3, carried: Carried::NOTHING }
    };
    let BehindTags { ethertype, priority, l3, carried } = packet;
    let start = if ingress.endpoint.is_remote() { ingress.lead() } else { 0 };
    let gso = frame.gso(ethertype, l3, start)?;
    Ok(Inner { macs, start, carried, priority, eligible: 0, l3, ethertype, len, gso })
}

/// The packet, and what the tags in front of it say.
struct BehindTags {
    ethertype: u16,
    priority: u16,
    l3: usize,
    carried: Carried,
}

impl BehindTags {
    /// In one register, or why the frame is dropped.
    #[inline(always)]
    fn word(found: Result<Self, DropReason>) -> u64 {
        match found {
            Ok(Self { ethertype, priority, l3, carried }) => {
                u64::from(ethertype)
                    | u64::from(priority) << 16
                    | (l3 as u64) << 32
                    | u64::from(carried.number()) << 40
            }
            Err(reason) => (reason as u64) << 48,
        }
    }

    #[inline(always)]
    fn from_word(word: u64) -> Result<Self, DropReason> {
        to_result((word >> 48) as u32)?;
        let (l3, carried) =
            ((word >> 32) as usize & 0xff, Carried::from_number((word >> 40) as u8));
        Ok(Self { ethertype: word as u16, priority: (word >> 16) as u16, l3, carried })
    }
}

/// What is behind a tag with this TPID, whose control field is at `at`, as a word of
/// [`BehindTags`].
#[inline(always)]
pub fn behind_tags_word(frame: &impl Frame, tpid: u32, at: u32, priority: u32) -> u64 {
    BehindTags::word(behind_tags(frame, tpid as u16, at as usize & 0xff, priority as u16))
}

#[inline(always)]
fn behind_tags(
    frame: &impl Frame,
    tpid: u16,
    at: usize,
    priority: u16,
) -> Result<BehindTags, DropReason> {
    let (tci, ethertype) = (frame.read_tag(at)?, frame.read_tag(at + 2)?);
    let l3 = at + TAG;
    Ok(if is_tpid(ethertype) {
        let ethertype = frame.read_tag(l3 + 2)?;
        BehindTags { ethertype, priority, l3: l3 + TAG, carried: Carried::TAGS }
    } else if tpid == C_TPID && tci & !PRIORITY == 0 {
        BehindTags { ethertype, priority: tci, l3, carried: Carried::PRIORITY_TAG }
    } else {
        BehindTags { ethertype, priority, l3, carried: Carried::TAGS }
    })
}
