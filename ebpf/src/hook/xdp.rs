//! A frame at XDP: its bytes are all that there is.

use aya_ebpf::{bindings::xdp_action, helpers::bpf_redirect_map};
use sillon_abi::{ClassKey, DropReason, PathEntry};

use super::{Egress, Hook, subprograms};
use crate::{
    frame::{Frame, Gso, XdpFrame},
    handoff::leave,
    maps::DEVICES,
    meta::{Front, Ingress, Inner},
    rewrite,
    verdict::Verdict,
    vxlan::encap::Outer,
};

impl Hook for XdpFrame {
    #[inline(always)]
    fn gso(&self, _: u16, _: usize, _: usize) -> Result<Gso, DropReason> {
        Ok(Gso::default())
    }

    #[inline(always)]
    fn make_front(&self, front: Front) -> Result<(), DropReason> {
        self.shift(front.by())
    }

    #[inline(always)]
    fn retag(
        &self,
        inner: &Inner,
        class: ClassKey,
        front: Front,
        priority: u16,
    ) -> Result<(), DropReason> {
        rewrite::to_attachment(self, inner, class, front, priority)
    }

    #[inline(always)]
    fn make_room(&self, ingress: &Ingress, inner: &Inner, header: usize) -> Result<(), DropReason> {
        rewrite::make_room(self, ingress, inner, header)
    }

    #[inline(always)]
    fn encapsulate(
        &self,
        ingress: &Ingress,
        inner: &Inner,
        outer: &Outer,
        path: &PathEntry,
    ) -> Result<(), DropReason> {
        rewrite::to_tunnel(self, ingress, inner, outer, path)
    }

    #[inline(always)]
    fn towards(&self, way: &Egress<'_>) -> Result<Verdict, DropReason> {
        let devices = (&raw const DEVICES).cast_mut().cast();
        // SAFETY: a map of devices, which begins with what the loader makes a map of.
        let verdict = unsafe {
            let pass = xdp_action::XDP_PASS.into();
            Verdict::from_xdp(bpf_redirect_map(devices, way.ifindex.into(), pass) as u32)
        };
        if verdict == Verdict::REDIRECTED {
            return Ok(verdict);
        }
        // The map has no such device, and the verdict is `pass`: TC sends it, by the handoff.
        leave::onward(self, way).map(|()| verdict)
    }

    #[inline(always)]
    fn hand_over(&self, ingress: &Ingress, inner: &Inner) -> Result<Verdict, DropReason> {
        leave::hand_over(self, ingress, inner)
    }

    #[inline(always)]
    fn to_peer(&self, ingress: &Ingress) -> Result<Verdict, DropReason> {
        leave::to_peer(self, ingress)
    }

    #[inline(always)]
    fn to_host(&self) -> Verdict {
        leave::to_host(self)
    }

    /// At XDP nothing is beside the bytes, so nothing is nested.
    #[inline(always)]
    fn take_apart(&self, _: u16) -> Result<Verdict, DropReason> {
        Err(DropReason::NoHeadroom)
    }

    #[inline(always)]
    fn came_apart(&self) -> Option<u16> {
        None
    }

    #[inline(always)]
    fn behind_tags(&self, tpid: u32, at: u32, priority: u32) -> u64 {
        subprograms::sillon_behind_tags(self.ctx(), tpid, at, priority)
    }

    #[inline(always)]
    fn kinds(&self, what: u32, attachment: u32, l3: u32) -> u32 {
        subprograms::sillon_kinds(self.ctx(), what, attachment, l3)
    }

    #[inline(always)]
    fn addresses(&self, what: u32, attachment: u32, l3: u32, src: u64) -> u32 {
        subprograms::sillon_addresses(self.ctx(), what, attachment, l3, src)
    }

    #[inline(always)]
    fn arp(&self, what: u32, segment: u32, ingress: u32, src: u64) -> u32 {
        subprograms::sillon_arp(self.ctx(), what, segment, ingress, src)
    }

    #[inline(always)]
    fn neighbour(&self, what: u32, segment: u32, ingress: u32, src: u64) -> u32 {
        subprograms::sillon_neighbour(self.ctx(), what, segment, ingress, src)
    }
}
