//! At TC: the pipeline of virtual ports, and the flood: what a pipeline handed over, here or at
//! XDP, is copied to each place of the segment's flood list but the one that it came from. Split
//! horizon: what came out of a tunnel never goes into one. A leaf's frames go to no leaf.
//!
//! Attachments stand first in the list, then IPv4 remotes, then IPv6 remotes: a frame can be grown
//! at TC, but not shrunk again, so each kind of copy builds on the last.
//!
//! On ports that serve operators nothing else passes TC in either direction: not a frame that XDP
//! has not seen, nor one of the node's own stack (router solicitations, LLDP, a mistaken route).

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    helpers::generated::bpf_loop,
    macros::{classifier, map},
    maps::PerCpuArray,
    programs::TcContext,
};
use sillon_abi::{
    Attachment, DropReason, Encap, Endpoint, FloodKey, Handoff, MASKED_ETHERTYPE, PortEntry, Role,
    Segment,
};

use crate::{
    classify::Origin,
    count::{self, Scope},
    fast_path,
    frame::{Frame, Gso},
    guard::control,
    maps::{self, ATTACHMENTS, FLOOD, HANDOFFS, SEGMENTS},
    parse::{C_TPID, ETHERTYPE, S_TPID, TAG},
    police,
    skb::{Skb, frame::SkbFrame, offloads::Whence},
    vxlan::encap::{self, Outer},
    xdp,
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

/// Where the pipeline keeps whose a frame is: there is no room for it on the stack.
#[map]
static ORIGIN: PerCpuArray<MaybeUninit<Origin>> = PerCpuArray::with_max_entries(1, 0);

/// The pipeline, on ports that have it at TC. What is to be copied goes on to `sillon_ingress`,
/// which comes next.
#[classifier]
pub fn sillon_tc(ctx: TcContext) -> i32 {
    pipeline(Skb::new(&ctx))
}

/// What becomes of a frame, in the kernel's words.
#[inline(always)]
pub fn pipeline(skb: Skb) -> i32 {
    skb.pull();
    let mut action = sillon_fast_path_skb(skb.ctx());
    if action == NOT_FAST_PATH {
        action = sillon_in_full_skb(skb.ctx());
    }
    if action == xdp_action::XDP_DROP { TC_ACT_SHOT } else { action as i32 }
}

/// No action: the frame is not plain.
const NOT_FAST_PATH: u32 = 1 << 16;

/// What it needs of the stack is free again when a frame is looked at in full.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sillon_fast_path_skb(ctx: *mut __sk_buff) -> u32 {
    let frame = SkbFrame::of(ctx);
    let forwarded = frame.port().and_then(|port| fast_path::forward(&frame, port, frame.len()));
    forwarded.unwrap_or(NOT_FAST_PATH)
}

/// See `xdp::sillon_in_full`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sillon_in_full_skb(ctx: *mut __sk_buff) -> u32 {
    let frame = SkbFrame::of(ctx);
    // SAFETY: a per-CPU value, which only this frame's program touches; it is written before it is
    // read.
    match ORIGIN.get_ptr_mut(0).map(|origin| unsafe { &mut *origin }) {
        Some(origin) => xdp::in_full(&frame, frame.len(), origin),
        None => xdp::dropped(Scope::port(frame.ifindex()), DropReason::Unclassified),
    }
}

#[classifier]
pub fn sillon_ingress(ctx: TcContext) -> i32 {
    let skb = Skb::new(&ctx);
    flooded(skb, skb.ifindex())
}

/// What becomes of a frame that the pipeline of the port `ifindex` left to be copied.
#[inline(always)]
pub fn flooded(skb: Skb, ifindex: u32) -> i32 {
    let port = Scope::port(ifindex);
    // Zero, since the verifier wants to see every word of it written.
    let mut handoff = Handoff::default();
    let is_at_tc = maps::port(ifindex).is_some_and(PortEntry::is_at_tc);
    let (scope, result) = match handoff_on(skb, is_at_tc, &mut handoff) {
        Ok(true) if handoff.ingress.is_none() => (port, send(skb, is_at_tc, handoff)),
        Ok(true) => (scope_of(&handoff), send(skb, is_at_tc, handoff)),
        Ok(false) => (port, without_handoff(skb)),
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
    if skb.mark() == maps::mark_cookie() {
        skb.set_mark(0);
        return TC_ACT_UNSPEC;
    }
    if is_for_peer(skb) {
        return TC_ACT_UNSPEC;
    }
    count::dropped(Scope::port(skb.ifindex()), DropReason::HostEgress);
    TC_ACT_SHOT
}

/// Whether a frame of the node's own stack is a control frame, on a port where that takes part in
/// them.
#[inline(always)]
fn is_for_peer(skb: Skb) -> bool {
    maps::port(skb.ifindex()).is_some_and(|port| port.flags & PortEntry::PEERS != 0)
        && !skb.has_hw_vlan()
        && skb.destination().is_some_and(control::is_control)
}

#[inline(always)]
fn scope_of(handoff: &Handoff) -> Scope {
    if handoff.ingress.is_remote() {
        Scope::segment(handoff.segment)
    } else {
        Scope::attachment(handoff.ingress.id())
    }
}

/// On an uplink, what is for the host passes. Elsewhere there is nothing that XDP would have let
/// through.
#[inline(always)]
fn without_handoff(skb: Skb) -> Result<i32, DropReason> {
    let is_uplink = maps::port(skb.ifindex()).is_some_and(|port| port.role == Role::Uplink as u8);
    if is_uplink && skb.protocol() != MASKED_ETHERTYPE.to_be() {
        Ok(TC_ACT_UNSPEC)
    } else {
        Err(DropReason::Unclassified)
    }
}

/// What the pipeline said of a frame, wherever it ran, if it said anything. What it left at TC is
/// said once: it must not speak for a later frame.
#[inline(always)]
fn handoff_on(skb: Skb, is_at_tc: bool, handoff: &mut Handoff) -> Result<bool, DropReason> {
    if !is_at_tc {
        let Some(taken) = skb.take_handoff()? else { return Ok(false) };
        *handoff = taken;
        return Ok(true);
    }
    let left = HANDOFFS.get_ptr_mut(0).ok_or(DropReason::Unclassified)?;
    // SAFETY: a per-CPU value, which only this frame's programs touch until they are done.
    *handoff = unsafe { core::mem::take(&mut *left) };
    if handoff.seal == Handoff::SAID { Ok(true) } else { Err(DropReason::Unclassified) }
}

#[inline(always)]
fn send(skb: Skb, is_at_tc: bool, handoff: Handoff) -> Result<i32, DropReason> {
    let is_onward = handoff.flags & Handoff::ONWARD != 0;
    let has_hw_vlan = skb.has_hw_vlan();
    if handoff.flags & Handoff::HW_VLAN != 0 {
        // XDP has it in the data, or took it off there. No other frame's handoff says so.
        if !has_hw_vlan {
            return Err(DropReason::Unclassified);
        }
        skb.pop_tag()?;
    } else if !is_at_tc && !is_onward && has_hw_vlan {
        // XDP has not seen it. Of a frame that is as it shall leave, it is the kernel that has
        // taken XDP's own tag out of the data.
        return Err(DropReason::NestedTag);
    }
    if handoff.flags & Handoff::FOR_HOST != 0 {
        // A peer's has an attachment. Of others, the same is the host's as behind XDP.
        return if handoff.ingress.is_none() { without_handoff(skb) } else { Ok(TC_ACT_UNSPEC) };
    }
    if !is_at_tc && !is_onward {
        skb.store(ETHERTYPE, handoff.ethertype)?;
    }
    if is_onward { onward(skb, &handoff) } else { flood(skb, handoff) }
}

/// Out of the one port that XDP found, and has no way to.
#[inline(always)]
fn onward(skb: Skb, handoff: &Handoff) -> Result<i32, DropReason> {
    let endpoint = handoff.ingress;
    // What the sender's kernel left to the device is still with the frame: XDP has not seen it.
    skb.as_it_stands(Whence::PORT)?;
    if endpoint.is_remote() {
        let path = encap::path(endpoint.id(), handoff.hash).ok_or(DropReason::Unreachable)?;
        skb.set_mark(0);
        return skb.redirect(path.ifindex);
    }
    let attachment = ATTACHMENTS.get(endpoint.id()).ok_or(DropReason::StaleExit)?;
    if attachment.segment != handoff.segment {
        return Err(DropReason::StaleExit);
    }
    let ifindex = attachment.class.ifindex;
    let port = maps::port(ifindex).ok_or(DropReason::NoDevice)?;
    // The kernel has looked at it as it leaves.
    let is_understood = skb.destination().is_some_and(|to| !to.is_group());
    skb.hand_to_port(ifindex, port, is_understood)
}

#[inline(always)]
fn flood(skb: Skb, handoff: Handoff) -> Result<i32, DropReason> {
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
    if copies.sent { Ok(TC_ACT_SHOT) } else { Err(DropReason::NoReceiver) }
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
            count::dropped(scope_of(&copies.handoff), reason);
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

    /// Gives the frame the tags of an attachment, and in front of them back the one that it
    /// carried.
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
