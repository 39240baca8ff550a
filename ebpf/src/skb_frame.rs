//! A frame at TC, as the pipeline sees it: with the tag that the kernel has lifted out of it, in its place.
//!
//! Tags are taken off and put on by the kernel's helpers, so that it knows where each header is; it needs that to take packets apart that
//! travel as one (GSO), and to finish checksums that were left to the device.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_UNSPEC};
use sillon_abi::{Attachment, ClassKey, DropReason, ETHERNET, Encap, Exit, Handoff, PathEntry};

use crate::{
    classify::Origin,
    flood, flow,
    frame::{Frame, Macs, Shape, Wire, halves},
    guard,
    maps::{HANDOFFS, PORTS},
    outer::Outer,
    parse::{C_TPID, ETHERTYPE, Inner, S_TPID, TAG},
    rewrite,
    skb::{COPY_MARK, Skb, pop_tags, verdict},
};

/// A frame at TC.
pub struct SkbFrame {
    skb: Skb,
    /// Bytes of the tag that the kernel holds beside the data.
    lifted: usize,
}

impl SkbFrame {
    /// A frame that has just come in.
    #[inline(always)]
    pub fn new(ctx: *mut __sk_buff) -> Self {
        let skb = Skb::of(ctx);
        skb.pull();
        Self::of(ctx)
    }

    /// Where in the data an offset is. Those that are not known beforehand are never in front of the ethertype. What is read behind the ethertype is behind the tag that is beside the data, too, if there is one.
    #[inline(always)]
    fn place(&self, offset: usize) -> usize {
        let is_in_front = core::intrinsics::is_val_statically_known(offset) && offset < ETHERNET;
        if is_in_front { offset } else { offset - self.lifted }
    }

    /// Takes `strip` bytes off in front of the inner packet, and whatever tunnel it is in; then gives the frame the tags of `class`.
    #[inline(always)]
    fn change(&self, inner: &Inner, strip: usize, class: ClassKey) -> Result<(), DropReason> {
        let Macs { head, tail } = inner.macs;
        let mut what = u64::from(inner.ethertype) << 16 | (inner.l3 as u64 & 0xff) << 8 | strip as u64 & 0xff;
        if inner.start != 0 {
            what |= FROM_TUNNEL;
        }
        let tags = u64::from(inner.priority) << 32 | u64::from(class.inner) << 16 | u64::from(class.outer);
        verdict(sillon_retag(self.ctx(), what, tags, head, tail))
    }

    /// Leaves word for the program behind the pipeline.
    #[inline(always)]
    fn leave_word(&self, handoff: Handoff) -> Result<u32, DropReason> {
        let word = HANDOFFS.get_ptr_mut(0).ok_or(DropReason::NoHeadroom)?;
        // SAFETY: a per-CPU value, which only this frame's programs touch until they are done.
        unsafe { *word = handoff };
        Ok(TC_ACT_UNSPEC as u32)
    }
}

impl Frame for SkbFrame {
    type Context = __sk_buff;

    #[inline(always)]
    fn of(ctx: *mut __sk_buff) -> Self {
        let skb = Skb::of(ctx);
        Self { skb, lifted: skb.lifted() }
    }

    #[inline(always)]
    fn ctx(&self) -> *mut __sk_buff {
        self.skb.ctx()
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.skb.ifindex()
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.skb.len() + self.lifted
    }

    #[inline(always)]
    fn shape(&self, ethertype: u16, l3: usize) -> Shape {
        self.skb.shape(ethertype, self.place(l3))
    }

    #[inline(always)]
    fn at<T: Wire>(&self, offset: usize) -> Result<*mut T, DropReason> {
        self.skb.at(core::hint::black_box(self.place(offset)))
    }

    #[inline(always)]
    fn read_tag(&self, offset: usize) -> Result<u16, DropReason> {
        if self.lifted == 0 || offset > ETHERTYPE + 2 {
            return Ok(u16::from_be(self.skb.read(core::hint::black_box(offset - self.lifted))?));
        }
        let tag = self.skb.lifted_tag();
        Ok(if offset == ETHERTYPE { tag.tpid } else { tag.tci })
    }

    #[inline(always)]
    fn load<T: Wire>(&self, offset: usize) -> Result<T, DropReason> {
        self.skb.load(self.place(offset))
    }

    #[inline(always)]
    fn store<T: Wire>(&self, offset: usize, value: &T) -> Result<(), DropReason> {
        self.skb.write(self.place(offset), value)
    }

    #[inline(always)]
    fn trim(&self, by: usize) -> Result<(), DropReason> {
        self.skb.trim(by)
    }

    #[inline(always)]
    fn retag(&self, inner: &Inner, strip: usize, class: ClassKey) -> Result<(), DropReason> {
        self.change(inner, strip, class)
    }

    #[inline(always)]
    fn encapsulate(
        &self,
        origin: &Origin,
        inner: &Inner,
        outer: &Outer,
        path: &PathEntry,
    ) -> Result<(), DropReason> {
        let priority = rewrite::needs_priority_tag(origin, inner).then_some(inner.priority);
        self.skb.enter_tunnel(path.header_len as usize, origin.lead() / TAG, priority)?;
        self.skb.write_outer(outer, path)
    }

    #[inline(always)]
    fn leave(&self, exit: Exit, ifindex: u32) -> Option<u32> {
        // SAFETY: a map value, alive for the run of the program.
        PORTS.get_ptr(ifindex).filter(|port| unsafe { (**port).role != 0 })?;
        self.skb.set_mark(if exit.is_remote() { 0 } else { COPY_MARK });
        Some(self.skb.redirect(ifindex) as u32)
    }

    #[inline(always)]
    fn must_become_skb(&self, _: &Attachment) -> bool {
        false
    }

    #[inline(always)]
    fn hand_over(&self, origin: &Origin, inner: &Inner, to: Exit) -> Result<u32, DropReason> {
        let flow = flow::of(self, inner);
        let strip = origin.lead() + if inner.priority_tag { TAG } else { 0 };
        self.change(inner, strip, ClassKey::untagged(0))?;
        let mut handoff = flood::note(origin, inner);
        handoff.hash = flow.hash;
        handoff.ecn = flow.ecn;
        handoff.ethertype = inner.ethertype.to_be();
        handoff.to = to;
        self.leave_word(handoff)
    }

    #[inline(always)]
    fn to_peer(&self, origin: &Origin) -> Result<u32, DropReason> {
        let ingress = origin.ingress;
        self.leave_word(Handoff {
            magic: Handoff::MAGIC,
            ingress,
            flags: Handoff::FOR_HOST,
            ..Handoff::default()
        })
    }

    #[inline(always)]
    fn to_host(&self) -> u32 {
        let word = Handoff { magic: Handoff::MAGIC, flags: Handoff::FOR_HOST, ..Handoff::default() };
        self.leave_word(word).unwrap_or(TC_ACT_UNSPEC as u32)
    }

    #[inline(always)]
    fn kinds(&self, what: u32, attachment: u32, l3: u32) -> u32 {
        guard::sillon_kinds_skb(self.ctx(), what, attachment, l3)
    }

    #[inline(always)]
    fn addresses(&self, what: u32, attachment: u32, l3: u32, src: u64) -> u32 {
        guard::sillon_addresses_skb(self.ctx(), what, attachment, l3, src)
    }

    #[inline(always)]
    fn arp(&self, _: u32, _: u32, _: u32, _: u64) -> u32 {
        // Not yet: with what suppression needs, the stack would be 528 bytes. Questions are flooded.
        0
    }

    #[inline(always)]
    fn neighbour(&self, _: u32, _: u32, _: u32, _: u64) -> u32 {
        // Not yet: with what suppression needs, the stack would be 528 bytes. Questions are flooded.
        0
    }
}

/// In `what`: the frame is in a tunnel.
const FROM_TUNNEL: u64 = 1 << 32;

/// A global function, which the verifier walks through once (see `guard::sillon_kinds`). `what` is the inner ethertype, where its packet
/// starts, and how many bytes in front of it go for good; `tags` are the priority and the class of the way out.
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
    change().map_or_else(|reason| reason as u32, |()| 0)
}

/// All in front of the inner packet goes; the tags that it keeps, two at most, are put back.
#[inline(always)]
fn leave_tunnel(skb: Skb, what: u64, head: u64, tail: u32) -> Result<(), DropReason> {
    let (ethertype, l3, strip) = ((what >> 16) as u16, (what >> 8) as usize & 0xff, what as usize & 0xff);
    if l3 < ETHERNET {
        return Err(DropReason::Truncated);
    }
    let by = l3 - ETHERNET;
    let tag = |at: usize, is_there: bool| if is_there { skb.load::<u32>(at).unwrap_or(0) } else { 0 };
    let (outer, second) =
        (tag(strip + ETHERTYPE, by > strip), tag(strip + ETHERTYPE + TAG, by > strip + TAG));
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
