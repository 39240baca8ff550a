//! A frame at TC, as the pipeline sees it: with the tag that the kernel has lifted out of it, in its place.
//!
//! Tags are taken off and put on by the kernel's helpers, so that it knows where each header is; it needs that to take packets apart that
//! travel as one (GSO), and to finish checksums that were left to the device.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_UNSPEC};
use sillon_abi::{Attachment, ClassKey, DropReason, ETHERNET, Encap, Exit, Handoff, PathEntry};

use crate::{
    classify::Origin,
    flood, flow,
    frame::{Frame, Macs, Shape, Wire},
    guard,
    maps::{HANDOFFS, PORTS},
    outer::Outer,
    parse::{C_TPID, ETHERTYPE, Inner, S_TPID, TAG},
    rewrite,
    skb::{COPY_MARK, Skb},
    suppress,
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

    /// Where in the data an offset is.
    #[inline(always)]
    fn place(&self, offset: usize) -> usize {
        if offset >= ETHERTYPE + TAG { offset - (self.lifted & TAG) } else { offset }
    }

    /// Takes `strip` bytes off in front of the inner packet, and whatever tunnel it is in.
    #[inline(always)]
    fn strip(&self, inner: &Inner, strip: usize) -> Result<(), DropReason> {
        if inner.start != 0 {
            return self.leave_tunnel(inner, strip);
        }
        for tag in 0..3 {
            if strip > tag * TAG {
                self.skb.pop_tag()?;
            }
        }
        Ok(())
    }

    /// All in front of the inner packet goes; the tags that it carries are put back.
    #[inline(always)]
    fn leave_tunnel(&self, inner: &Inner, strip: usize) -> Result<(), DropReason> {
        let by = inner.l3 - ETHERNET;
        let (outer, second) =
            (self.tag(strip + ETHERTYPE, by > strip), self.tag(strip + ETHERTYPE + TAG, by > strip + TAG));
        self.skb.shrink(by, inner.ethertype)?;
        let Macs { head, tail } = inner.macs;
        self.skb.write(0, &head)?;
        self.skb.write(8, &tail)?;
        self.skb.write(ETHERTYPE, &inner.ethertype.to_be())?;
        for tag in [second?, outer?].into_iter().flatten() {
            let [tpid, tci] = crate::frame::halves(tag).map(u16::from_be);
            self.skb.push_tag(tpid, tci)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn tag(&self, at: usize, is_there: bool) -> Result<Option<u32>, DropReason> {
        if is_there { Ok(Some(self.skb.load(at)?)) } else { Ok(None) }
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
        Self { skb, lifted: if skb.has_lifted_tag() { TAG } else { 0 } }
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
        self.skb.at(self.place(offset))
    }

    #[inline(always)]
    fn read_be16(&self, offset: usize) -> Result<u16, DropReason> {
        if self.lifted != 0 && offset == ETHERTYPE {
            return Ok(self.skb.lifted_tag().tpid);
        }
        if self.lifted != 0 && offset == ETHERTYPE + 2 {
            return Ok(self.skb.lifted_tag().tci);
        }
        Ok(u16::from_be(self.read(offset)?))
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
        self.strip(inner, strip)?;
        let outer = inner.priority | class.outer_vid();
        match class.encap() {
            Encap::Untagged | Encap::Port => Ok(()),
            Encap::Dot1q => self.skb.push_tag(C_TPID, outer),
            Encap::QinqS => self.skb.push_tag(S_TPID, outer),
            Encap::QinqSC => {
                self.skb.push_tag(C_TPID, inner.priority | class.inner)?;
                self.skb.push_tag(S_TPID, outer)
            }
        }
    }

    #[inline(always)]
    fn encapsulate(
        &self,
        origin: &Origin,
        inner: &Inner,
        outer: &Outer,
        path: &PathEntry,
    ) -> Result<(), DropReason> {
        self.strip(inner, origin.lead())?;
        let priority = rewrite::needs_priority_tag(origin, inner).then_some(inner.priority);
        self.skb.enter_tunnel(path.header_len as usize, priority)?;
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
        self.strip(inner, origin.lead() + if inner.priority_tag { TAG } else { 0 })?;
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
    fn arp(&self, what: u32, segment: u32, ingress: u32, src: u64) -> u32 {
        suppress::sillon_arp_skb(self.ctx(), what, segment, ingress, src)
    }

    #[inline(always)]
    fn neighbour(&self, what: u32, segment: u32, ingress: u32, src: u64) -> u32 {
        suppress::sillon_neighbour_skb(self.ctx(), what, segment, ingress, src)
    }
}
