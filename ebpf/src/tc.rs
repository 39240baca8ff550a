//! The flood: what XDP handed over is copied to each place of the segment's flood list but the one that it came from. Split
//! horizon: what came out of a tunnel never goes into one. A leaf's frames go to no leaf.
//!
//! Attachments stand first in the list, then IPv4 remotes, then IPv6 remotes: a frame can be grown at TC, but not shrunk again, so
//! each kind of copy builds on the last.
//!
//! On ports that serve operators nothing else passes TC in either direction: not a frame that XDP has not seen, nor one of the node's
//! own stack (router solicitations, LLDP, a mistaken route).

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::generated::bpf_loop,
    macros::classifier,
    programs::TcContext,
};
use sillon_abi::{
    Attachment, DropReason, Encap, Exit, FloodKey, Handoff, MASKED_ETHERTYPE, PortEntry, Role, Segment,
};

use crate::{
    count::{self, Scope},
    guard::control,
    maps::{ATTACHMENTS, FLOOD, PORTS, SEGMENTS},
    outer::{self, Outer},
    parse::{C_TPID, ETHERTYPE, S_TPID, TAG},
    police,
    skb::Skb,
};

/// Tells the copies that we send out of a port from what the node's own stack sends.
const COPY_MARK: u32 = 0x5111_0417;

/// What the copies of one frame have in common.
struct Copies {
    skb: Skb,
    note: Handoff,
    segment: &'static Segment,
    /// Bytes of the inner frame, without a priority tag.
    len: usize,
    /// Bytes that the frame has been grown in front for tunnels.
    grown: usize,
    /// Whether any copy was sent. Not how many: the verifier would walk through every number.
    sent: bool,
}

#[classifier]
pub fn sillon_ingress(ctx: TcContext) -> i32 {
    let skb = Skb::new(&ctx);
    let port = Scope::port(skb.ifindex());
    let (scope, result) = match skb.take_handoff() {
        Ok(Some(note)) => (scope_of(&note), flood(skb, note)),
        Ok(None) => (port, without_note(skb)),
        Err(reason) => (port, Err(reason)),
    };
    match result {
        Ok(action) => action,
        Err(reason) => {
            count::dropped(scope, reason);
            TC_ACT_SHOT
        }
    }
}

#[classifier]
pub fn sillon_egress(ctx: TcContext) -> i32 {
    let skb = Skb::new(&ctx);
    if skb.mark() == COPY_MARK {
        skb.set_mark(0);
        return TC_ACT_UNSPEC;
    }
    if is_for_peer(skb) {
        return TC_ACT_UNSPEC;
    }
    count::dropped(Scope::port(skb.ifindex()), DropReason::HostEgress);
    TC_ACT_SHOT
}

/// Whether a frame of the node's own stack is a control frame, on a port where that takes part in them.
#[inline(always)]
fn is_for_peer(skb: Skb) -> bool {
    // SAFETY: a map value, alive for the run of the program.
    let flags = PORTS.get_ptr(skb.ifindex()).map_or(0, |port| unsafe { (*port).flags });
    flags & PortEntry::PEERS != 0
        && !skb.has_lifted_tag()
        && skb.destination().is_some_and(control::is_control)
}

#[inline(always)]
fn scope_of(note: &Handoff) -> Scope {
    if note.ingress.is_remote() { Scope::segment(note.segment) } else { Scope::attachment(note.ingress.id()) }
}

/// On an uplink, what is for the host passes. Elsewhere there is nothing that XDP would have let through.
#[inline(always)]
fn without_note(skb: Skb) -> Result<i32, DropReason> {
    // SAFETY: a map value, alive for the run of the program.
    let role = PORTS.get_ptr(skb.ifindex()).map_or(0, |port| unsafe { (*port).role });
    if role == Role::Uplink as u8 && skb.protocol() != MASKED_ETHERTYPE.to_be() {
        Ok(TC_ACT_UNSPEC)
    } else {
        Err(DropReason::Unclassified)
    }
}

#[inline(always)]
fn flood(skb: Skb, note: Handoff) -> Result<i32, DropReason> {
    // A tag beside the data is one that XDP has not seen: the sender's device put it there (a veth with VLAN offload).
    if skb.has_lifted_tag() {
        return Err(DropReason::NestedTag);
    }
    if note.flags & Handoff::FOR_HOST != 0 {
        return Ok(TC_ACT_UNSPEC);
    }
    // SAFETY: a map value, alive for the run of the program.
    let segment =
        SEGMENTS.get_ptr(note.segment).map(|segment| unsafe { &*segment }).ok_or(DropReason::StaleExit)?;
    skb.store(ETHERTYPE, note.ethertype)?;
    let mut copies = Copies { skb, note, segment, len: skb.len(), grown: 0, sent: false };
    // SAFETY: `copies` outlives the loop, and `copy` takes a pointer to just that.
    unsafe { bpf_loop(segment.members, copy as *mut c_void, (&raw mut copies).cast(), 0) };
    if copies.sent { Ok(TC_ACT_SHOT) } else { Err(DropReason::NoReceiver) }
}

/// One place of the flood list; 0 goes on to the next.
extern "C" fn copy(index: u32, copies: *mut Copies) -> i64 {
    // SAFETY: `bpf_loop` passes on the pointer that `flood` gave it.
    let copies = unsafe { &mut *copies };
    let Some(exit) = FLOOD.get_ptr(FloodKey { list: copies.segment.list, index }) else { return 0 };
    // SAFETY: one aligned word of a map value.
    let exit = unsafe { core::ptr::read_volatile(exit) };
    if exit == copies.note.ingress {
        return 0;
    }
    let result = if exit.is_remote() { copies.send_to_remote(exit) } else { copies.send_to_attachment(exit) };
    match result {
        Ok(()) => 0,
        Err(reason) => {
            count::dropped(scope_of(&copies.note), reason);
            0
        }
    }
}

impl Copies {
    #[inline(always)]
    fn has(&self, flag: u16) -> bool {
        self.note.flags & flag != 0
    }

    #[inline(always)]
    fn send_to_attachment(&mut self, exit: Exit) -> Result<(), DropReason> {
        let attachment = ATTACHMENTS.get(exit.id()).ok_or(DropReason::StaleExit)?;
        if attachment.segment != self.note.segment {
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
        let eligible = self.eligible() | police::egress(exit, attachment.guards, len)?;
        self.push_tags(attachment, eligible)?;
        self.skb.set_mark(COPY_MARK);
        let copied = self.skb.copy_to(attachment.class.ifindex);
        if pushed > 0 {
            self.skb.pop_tag()?;
        }
        if pushed > 1 {
            self.skb.pop_tag()?;
        }
        copied?;
        count::sent_to_attachment(exit, len);
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

    /// Gives the frame the tags of an attachment, and in front of them back the one that it carried.
    #[inline(always)]
    fn push_tags(&self, attachment: &Attachment, eligible: u16) -> Result<(), DropReason> {
        let class = attachment.class;
        let encap = class.encap();
        let priority = self.note.priority | eligible;
        if encap.is_transparent() && self.has(Handoff::PRIORITY_TAGGED) {
            self.skb.push_tag(C_TPID, self.note.priority)?;
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
        if self.has(Handoff::PRIORITY_TAGGED) || self.note.priority != 0 && !self.has(Handoff::CARRIES_TAGS) {
            TAG
        } else {
            0
        }
    }

    #[inline(always)]
    fn send_to_remote(&mut self, exit: Exit) -> Result<(), DropReason> {
        if self.note.ingress.is_remote() {
            return Ok(());
        }
        let path = outer::path(exit.id(), self.note.hash).ok_or(DropReason::Unreachable)?;
        let tag = self.priority_tag();
        let inner = self.len + tag;
        let header = path.header_len as usize;
        if inner + header > path.mtu as usize + 14 {
            return Err(DropReason::UnderlayMtu);
        }
        self.grow(header, tag)?;
        let outer = Outer {
            vni: self.segment.vni,
            hash: self.note.hash,
            tos: self.note.ecn
                | if self.has(Handoff::YELLOW) { outer::yellow(self.segment.tos) } else { self.segment.tos },
            marks: outer::marks(self.has(Handoff::LEAF), self.has(Handoff::YELLOW)),
            inner,
        };
        self.skb.write_outer(&outer, path)?;
        self.skb.set_mark(0);
        self.skb.copy_to(path.ifindex)?;
        count::sent_to_remote(exit, inner);
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
        let first = self.grown == 0;
        self.skb.grow(header - self.grown + if first { tag } else { 0 })?;
        self.grown = header;
        if first && tag != 0 {
            self.skb.tag_at(header, C_TPID, self.note.priority)?;
        }
        Ok(())
    }
}
