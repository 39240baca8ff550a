//! The flood, at TC: what a pipeline handed over, here or at XDP, is copied to each place of the
//! segment's flood list but the one that it came from. Split horizon: what came out of a tunnel
//! never goes into one. A leaf's frames go to no leaf.
//!
//! Attachments stand first in the list, then IPv4 remotes, then IPv6 remotes: a frame can be grown
//! at TC, but not shrunk again, so each kind of copy builds on the last.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;
use sillon_abi::{Attachment, DropReason, Encap, Endpoint, FloodKey, Handoff, Segment};

use crate::{
    count::{self, Scope},
    frame::Gso,
    maps::{self, ATTACHMENTS, FLOOD, SEGMENTS},
    police,
    skb::{Skb, offloads::Whence},
    verdict::Verdict,
    vxlan::encap::{self, Outer},
    wire::{C_TPID, S_TPID, TAG},
};

/// What the copies of one frame have in common.
struct Copies {
    skb: Skb,
    handoff: Handoff,
    segment: &'static Segment,
    /// Bytes of the inner frame, without a priority tag.
    len: usize,
    /// What they are on the wire.
    gso: Gso,
    /// Bytes that the frame has been grown in front for tunnels.
    grown: usize,
    /// Whether any copy was sent. Not how many: the verifier would walk through every number.
    sent: bool,
}

#[inline(always)]
pub fn flood(skb: Skb, handoff: Handoff) -> Result<Verdict, DropReason> {
    // SAFETY: a map value, alive for the run of the program.
    let segment = SEGMENTS
        .get_ptr(handoff.segment)
        .map(|segment| unsafe { &*segment })
        .ok_or(DropReason::StaleExit)?;
    let len = skb.len() + if skb.has_hw_vlan() { TAG } else { 0 };
    let gso = skb.as_it_stands(if handoff.ingress.is_remote() {
        Whence::LEFT_TUNNEL
    } else {
        Whence::PORT
    })?;
    let mut copies = Copies { skb, handoff, segment, len, gso, grown: 0, sent: false };
    // SAFETY: `copies` outlives the loop, and `copy` takes a pointer to just that.
    unsafe { bpf_loop(segment.members, copy as *mut c_void, (&raw mut copies).cast(), 0) };
    if copies.sent { Ok(Verdict::GONE) } else { Err(DropReason::NoReceiver) }
}

/// One place of the flood list; 0 goes on to the next.
extern "C" fn copy(index: u32, copies: *mut Copies) -> i64 {
    // SAFETY: `bpf_loop` passes on the pointer that `flood` gave it.
    let copies = unsafe { &mut *copies };
    let Some(endpoint) = FLOOD.get_ptr(FloodKey { list: copies.segment.list, index }) else {
        return 0;
    };
    // SAFETY: one aligned word of a map value.
    let endpoint = unsafe { core::ptr::read_volatile(endpoint) };
    if endpoint == copies.handoff.ingress {
        return 0;
    }
    let result = if endpoint.is_remote() {
        copies.send_to_remote(endpoint)
    } else {
        copies.send_to_attachment(endpoint)
    };
    match result {
        Ok(()) => 0,
        Err(reason) => {
            count::dropped(Scope::of_handoff(&copies.handoff), reason);
            0
        }
    }
}

impl Copies {
    #[inline(always)]
    fn has(&self, flag: u16) -> bool {
        self.handoff.flags & flag != 0
    }

    #[inline(always)]
    fn send_to_attachment(&mut self, endpoint: Endpoint) -> Result<(), DropReason> {
        let attachment = ATTACHMENTS.get(endpoint.id()).ok_or(DropReason::StaleExit)?;
        if attachment.segment != self.handoff.segment {
            return Err(DropReason::StaleExit);
        }
        if self.has(Handoff::LEAF) && attachment.leaf != 0 {
            return Ok(());
        }
        if self.has(Handoff::CARRIES_TAGS) && !attachment.class.encap().is_transparent() {
            return Err(DropReason::NestedTag);
        }
        let pushed = self.tags(attachment.class.encap());
        let len = self.len + pushed * TAG;
        let eligible =
            self.eligible() | police::egress(endpoint, attachment.guards, len + self.gso.headers)?;
        self.push_tags(attachment, eligible)?;
        self.skb.set_mark(maps::mark_cookie());
        let copied = self.skb.copy_to(attachment.class.ifindex);
        if pushed > 0 {
            self.skb.pop_tag()?;
        }
        if pushed > 1 {
            self.skb.pop_tag()?;
        }
        copied?;
        count::sent_to_attachment(endpoint, len);
        self.sent = true;
        Ok(())
    }

    /// `police::ELIGIBLE` if the frame was yellow where it came in.
    #[inline(always)]
    fn eligible(&self) -> u16 {
        if self.has(Handoff::YELLOW) { police::ELIGIBLE } else { 0 }
    }

    /// How many tags the frame gets for an attachment.
    #[inline(always)]
    fn tags(&self, encap: Encap) -> usize {
        let own = encap.tags();
        if encap.is_transparent() && self.has(Handoff::PRIORITY_TAGGED) { own + 1 } else { own }
    }

    /// Gives the frame back the priority tag that it came with, if the attachment is transparent,
    /// and puts the attachment's own tags in front of it.
    #[inline(always)]
    fn push_tags(&self, attachment: &Attachment, eligible: u16) -> Result<(), DropReason> {
        let class = attachment.class;
        let encap = class.encap();
        let priority = self.handoff.priority | eligible;
        if encap.is_transparent() && self.has(Handoff::PRIORITY_TAGGED) {
            self.skb.push_tag(C_TPID, self.handoff.priority)?;
        }
        if matches!(encap, Encap::QinqSC) {
            self.skb.push_tag(C_TPID, priority | class.inner)?;
        }
        if matches!(encap, Encap::Dot1q) {
            self.skb.push_tag(C_TPID, priority | class.outer_vid())?;
        }
        if matches!(encap, Encap::QinqS | Encap::QinqSC) {
            self.skb.push_tag(S_TPID, priority | class.outer_vid())?;
        }
        Ok(())
    }

    /// Whether the inner frame travels with a priority tag.
    #[inline(always)]
    fn priority_tag(&self) -> usize {
        if self.has(Handoff::PRIORITY_TAGGED)
            || self.handoff.priority != 0 && !self.has(Handoff::CARRIES_TAGS)
        {
            TAG
        } else {
            0
        }
    }

    #[inline(always)]
    fn send_to_remote(&mut self, endpoint: Endpoint) -> Result<(), DropReason> {
        if self.handoff.ingress.is_remote() {
            return Ok(());
        }
        let path = encap::path(endpoint.id(), self.handoff.hash).ok_or(DropReason::Unreachable)?;
        let tag = self.priority_tag();
        let inner = self.len + tag;
        let header = path.header_len as usize;
        if inner - self.gso.excess + header > path.mtu as usize + 14 {
            return Err(DropReason::UnderlayMtu);
        }
        self.grow(header, tag)?;
        let outer = Outer {
            vni: self.segment.vni,
            hash: self.handoff.hash,
            tos: self.handoff.ecn
                | if self.has(Handoff::YELLOW) {
                    encap::yellow(self.segment.tos)
                } else {
                    self.segment.tos
                },
            marks: encap::marks(self.has(Handoff::LEAF), self.has(Handoff::YELLOW)),
            inner,
        };
        self.skb.write_outer(&outer, path)?;
        self.skb.set_mark(0);
        self.skb.copy_to(path.ifindex)?;
        count::sent_to_remote(endpoint, inner);
        self.sent = true;
        Ok(())
    }

    /// Makes room for the outer header, and the first time for the priority tag too.
    #[inline(always)]
    fn grow(&mut self, header: usize, tag: usize) -> Result<(), DropReason> {
        if header < self.grown {
            // The list is out of order.
            return Err(DropReason::CopyFailed);
        }
        if self.grown == 0 {
            self.skb.enter_tunnel(header, 0, (tag != 0).then_some(self.handoff.priority))?;
        } else if self.grown != header && self.skb.segment_size() != 0 {
            // The kernel would take the packets apart by the first header.
            return Err(DropReason::CopyFailed);
        } else {
            self.skb.grow(header - self.grown)?;
        }
        self.grown = header;
        Ok(())
    }
}
