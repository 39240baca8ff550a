//! A frame at TC.
//!
//! Tags are taken off and put on by the kernel's helpers, so that it knows where each header is; it
//! needs that to take packets apart that travel as one (GSO), and to finish checksums that were
//! left to the device.

use aya_ebpf::bindings::__sk_buff;
use sillon_abi::{ClassKey, DropReason, ETHERNET, Encap, Handoff, PathEntry};

use super::{Egress, Hook, subprograms};
use crate::{
    frame::{Frame, Gso, Macs, halves},
    handoff::leave,
    maps::{self, HANDOFFS},
    meta::{Carried, Front, Ingress, Inner},
    own_tunnel,
    register::{to_number, to_result},
    rewrite,
    skb::{
        Skb,
        frame::SkbFrame,
        offloads::{self, Whence},
        pop_tags,
        tunnel::is_hw_vlan,
    },
    verdict::Verdict,
    vxlan::encap::Outer,
    wire::{C_TPID, ETHERTYPE, IPV4, IPV4_HEADER, IPV6, IPV6_HEADER, S_TPID, TAG},
};

impl SkbFrame {
    /// Takes `strip` bytes off in front of the inner packet, and whatever tunnel it is in; then
    /// gives the frame the tags of `class`.
    #[inline(always)]
    fn change(
        &self,
        inner: &Inner,
        strip: usize,
        class: ClassKey,
        priority: u16,
    ) -> Result<(), DropReason> {
        let Macs { head, tail } = inner.macs;
        let mut what =
            u64::from(inner.ethertype) << 16 | (inner.l3 as u64 & 0xff) << 8 | strip as u64 & 0xff;
        if inner.start != 0 {
            what |= FROM_TUNNEL;
        }
        let tags =
            u64::from(priority) << 32 | u64::from(class.inner) << 16 | u64::from(class.outer);
        to_result(sillon_retag(self.ctx(), what, tags, head, tail))
    }

    /// Whether the kernel will take a frame to an attachment for what it is without looking at it
    /// anew: for a frame to one address, and by its ethertype. Of what leaves a tunnel it knows
    /// of IP alone, by what it is told there ([`Skb::shrink`]).
    #[inline(always)]
    fn is_understood(&self, inner: &Inner) -> bool {
        let is_known = if inner.start == 0 {
            self.skb.protocol() == inner.ethertype.to_be()
        } else {
            let has_header = match inner.ethertype {
                IPV4 => inner.len >= inner.l3 + IPV4_HEADER,
                IPV6 => inner.len >= inner.l3 + IPV6_HEADER,
                _ => false,
            };
            has_header && inner.carried == Carried::NOTHING
        };
        is_known && !inner.macs.dst().is_group()
    }

    /// Leaves a handoff for the program behind the pipeline.
    #[inline(always)]
    fn say(&self, handoff: Handoff) -> Result<Verdict, DropReason> {
        let slot = HANDOFFS.get_ptr_mut(0).ok_or(DropReason::NoHeadroom)?;
        // SAFETY: a per-CPU value, which only this frame's programs touch until they are done.
        unsafe { *slot = handoff };
        Ok(Verdict::PASSED)
    }
}

impl Hook for SkbFrame {
    #[inline(always)]
    fn gso(&self, ethertype: u16, l3: usize, tunnel: usize) -> Result<Gso, DropReason> {
        let whence = if tunnel == 0 { Whence::PORT } else { Whence::in_tunnel(tunnel) };
        offloads::gso(self.ctx(), ethertype, l3, whence)
    }

    /// The kernel's helpers make room as they write.
    #[inline(always)]
    fn make_front(&self, _: Front) -> Result<(), DropReason> {
        Ok(())
    }

    #[inline(always)]
    fn retag(
        &self,
        inner: &Inner,
        class: ClassKey,
        front: Front,
        priority: u16,
    ) -> Result<(), DropReason> {
        self.change(inner, front.strip, class, priority)
    }

    #[inline(always)]
    fn make_room(&self, _: &Ingress, _: &Inner, _: usize) -> Result<(), DropReason> {
        Ok(())
    }

    #[inline(always)]
    fn encapsulate(
        &self,
        ingress: &Ingress,
        inner: &Inner,
        outer: &Outer,
        path: &PathEntry,
    ) -> Result<(), DropReason> {
        let priority = rewrite::needs_priority_tag(ingress, inner).then_some(inner.priority);
        self.skb.enter_tunnel(path.header_len as usize, ingress.lead() / TAG, priority)?;
        self.skb.write_outer(outer, path)
    }

    #[inline(always)]
    fn towards(&self, way: &Egress<'_>) -> Result<Verdict, DropReason> {
        let port = maps::port(way.ifindex).ok_or(DropReason::NoDevice)?;
        if way.endpoint.is_remote() {
            let verdict = self.skb.redirect(way.ifindex)?;
            self.skb.set_mark(0);
            Ok(verdict)
        } else {
            let is_understood = way.inner.is_some_and(|inner| self.is_understood(inner));
            self.skb.hand_to_port(way.ifindex, port, is_understood)
        }
    }

    #[inline(always)]
    fn hand_over(&self, ingress: &Ingress, inner: &Inner) -> Result<Verdict, DropReason> {
        let handoff = leave::handoff(self, ingress, inner);
        let strip = ingress.lead() + if inner.carried == Carried::PRIORITY_TAG { TAG } else { 0 };
        self.change(inner, strip, ClassKey::untagged(0), 0)?;
        self.say(handoff)
    }

    #[inline(always)]
    fn to_peer(&self, ingress: &Ingress) -> Result<Verdict, DropReason> {
        let ingress = ingress.endpoint;
        self.say(Handoff {
            seal: Handoff::AT_TC,
            ingress,
            flags: Handoff::FOR_HOST,
            ..Handoff::default()
        })
    }

    #[inline(always)]
    fn to_host(&self) -> Verdict {
        let handoff =
            Handoff { seal: Handoff::AT_TC, flags: Handoff::FOR_HOST, ..Handoff::default() };
        self.say(handoff).unwrap_or(Verdict::PASSED)
    }

    #[inline(always)]
    fn take_apart(&self, eligible: u16) -> Result<Verdict, DropReason> {
        own_tunnel::send(self.skb, eligible)
    }

    #[inline(always)]
    fn came_apart(&self) -> Option<u16> {
        own_tunnel::came_apart(self.skb)
    }

    #[inline(always)]
    fn behind_tags(&self, tpid: u32, at: u32, priority: u32) -> u64 {
        subprograms::sillon_behind_tags_skb(self.ctx(), tpid, at, priority)
    }

    #[inline(always)]
    fn kinds(&self, what: u32, attachment: u32, l3: u32) -> u32 {
        subprograms::sillon_kinds_skb(self.ctx(), what, attachment, l3)
    }

    #[inline(always)]
    fn addresses(&self, what: u32, attachment: u32, l3: u32, src: u64) -> u32 {
        subprograms::sillon_addresses_skb(self.ctx(), what, attachment, l3, src)
    }

    #[inline(always)]
    fn arp(&self, what: u32, segment: u32, ingress: u32, src: u64) -> u32 {
        subprograms::sillon_arp_skb(self.ctx(), what, segment, ingress, src)
    }

    #[inline(always)]
    fn neighbour(&self, what: u32, segment: u32, ingress: u32, src: u64) -> u32 {
        subprograms::sillon_neighbour_skb(self.ctx(), what, segment, ingress, src)
    }
}

/// In `what`: the frame is in a tunnel.
const FROM_TUNNEL: u64 = 1 << 32;

/// A global function, which the verifier walks through once (see `hook::subprograms`). `what` is
/// the inner ethertype, where its packet starts, and how many bytes in front of it go for good;
/// `tags` are the priority and the class of the way out.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sillon_retag(ctx: *mut __sk_buff, what: u64, tags: u64, head: u64, tail: u32) -> u32 {
    let (skb, strip) = (Skb::of(ctx), what as usize & 0xff);
    let class = ClassKey { ifindex: 0, outer: tags as u16, inner: (tags >> 16) as u16 };
    let change = || {
        if what & FROM_TUNNEL != 0 {
            leave_tunnel(skb, what, head, tail)?;
        } else {
            pop_tags(skb, strip / TAG)?;
        }
        push_tags(skb, class, (tags >> 32) as u16)
    };
    to_number(change())
}

/// All in front of the inner packet goes; the tags that it keeps, two at most, are put back. The
/// kernel knows two TPIDs: a tag of another one stays in the data, and what is behind it.
#[inline(always)]
fn leave_tunnel(skb: Skb, what: u64, head: u64, tail: u32) -> Result<(), DropReason> {
    let (mut ethertype, l3, strip) =
        ((what >> 16) as u16, (what >> 8) as usize & 0xff, what as usize & 0xff);
    if l3 < ETHERNET {
        return Err(DropReason::Truncated);
    }
    let mut by = l3 - ETHERNET;
    let tag =
        |at: usize, is_there: bool| if is_there { skb.load::<u32>(at).unwrap_or(0) } else { 0 };
    let (mut outer, mut second) =
        (tag(strip + ETHERTYPE, by > strip), tag(strip + ETHERTYPE + TAG, by > strip + TAG));
    if outer != 0 && !is_hw_vlan(halves(outer)[0]) {
        ethertype = u16::from_be(halves(outer)[0]);
        (by, outer, second) = (strip, 0, 0);
    } else if second != 0 && !is_hw_vlan(halves(second)[0]) {
        ethertype = u16::from_be(halves(second)[0]);
        (by, second) = (strip + TAG, 0);
    }
    skb.shrink(by, ethertype)?;
    skb.write(0, &head)?;
    skb.write(8, &tail)?;
    skb.write(ETHERTYPE, &ethertype.to_be())?;
    for tag in [second, outer] {
        if tag != 0 {
            let [tpid, tci] = halves(tag).map(u16::from_be);
            skb.push_tag(tpid, tci)?;
        }
    }
    Ok(())
}

#[inline(always)]
fn push_tags(skb: Skb, class: ClassKey, priority: u16) -> Result<(), DropReason> {
    let outer = priority | class.outer_vid();
    match class.encap() {
        Encap::Untagged | Encap::Port => Ok(()),
        Encap::Dot1q => skb.push_tag(C_TPID, outer),
        Encap::QinqS => skb.push_tag(S_TPID, outer),
        Encap::QinqSC => {
            skb.push_tag(C_TPID, priority | class.inner)?;
            skb.push_tag(S_TPID, outer)
        }
    }
}
