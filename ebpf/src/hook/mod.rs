//! What the steps ask of the hook that a frame is at: to change its front, to send it on, and to
//! run the functions that are programs of their own. XDP and TC do that in different ways.

mod skb;
mod subprograms;
mod xdp;

use sillon_abi::{ClassKey, DropReason, Endpoint, PathEntry};

use crate::{
    frame::{Frame, Gso},
    meta::{Front, Ingress, Inner},
    verdict::Verdict,
    vxlan::encap::Outer,
};

/// The way out that was found for a frame.
pub struct Egress<'a> {
    pub endpoint: Endpoint,
    pub ifindex: u32,
    /// What TC finds or checks the way out by: the flow's hash for a remote's path, or the segment
    /// that an attachment must belong to.
    pub proof: u32,
    /// What is inside, of a frame that goes to an attachment and is not an answer.
    pub inner: Option<&'a Inner>,
}

/// A frame at a hook: the pipeline is written over this, and compiled for XDP (`hook/xdp.rs`) and
/// for TC (`hook/skb.rs`).
pub trait Hook: Frame {
    /// How many packets on the wire the frame is. Its packet, of this ethertype, starts at `l3`;
    /// `tunnel` bytes of headers are in front of it, if it is in a tunnel. A frame is refused whose
    /// sender left work to the kernel (a checksum, segmentation) that does not fit that packet.
    fn gso(&self, ethertype: u16, l3: usize, tunnel: usize) -> Result<Gso, DropReason>;

    /// Makes room for the tags of an attachment. Where that is refused, the frame is as it was.
    fn make_front(&self, front: Front) -> Result<(), DropReason>;
    /// Gives the frame the tags of an attachment, with this PCP and DEI, once there is room.
    fn retag(
        &self,
        inner: &Inner,
        class: ClassKey,
        front: Front,
        priority: u16,
    ) -> Result<(), DropReason>;
    /// Makes room for a tunnel's header. Where that is refused, the frame is as it was.
    fn make_room(&self, ingress: &Ingress, inner: &Inner, header: usize) -> Result<(), DropReason>;
    /// Puts the frame into a tunnel, once there is room.
    fn encapsulate(
        &self,
        ingress: &Ingress,
        inner: &Inner,
        outer: &Outer,
        path: &PathEntry,
    ) -> Result<(), DropReason>;

    /// Has the kernel send it out of a device. This comes before the frame is changed, so that the
    /// verdict is all that has to be kept over the change.
    fn towards(&self, way: &Egress<'_>) -> Result<Verdict, DropReason>;
    /// Hands it on to the flood.
    fn hand_over(&self, ingress: &Ingress, inner: &Inner) -> Result<Verdict, DropReason>;
    /// Passes a control frame of an attachment to the host's own stack, past the flood.
    fn to_peer(&self, ingress: &Ingress) -> Result<Verdict, DropReason>;
    /// Passes it to the host's own stack.
    fn to_host(&self) -> Verdict;
    /// Sends a frame that is in a tunnel of its own and shall go into one of ours on the way on
    /// which the kernel takes it apart: its packets come back one by one (`own_tunnel`).
    /// `eligible` is what they were found to be.
    fn take_apart(&self, eligible: u16) -> Result<Verdict, DropReason>;
    /// Of a packet that came back from there, which was counted and charged before: what it was
    /// found to be.
    fn came_apart(&self) -> Option<u16>;

    /// Global functions, each for its kind of context: see `parse`, `guard` and `suppress`.
    fn behind_tags(&self, tpid: u32, at: u32, priority: u32) -> u64;
    fn kinds(&self, what: u32, attachment: u32, l3: u32) -> u32;
    fn addresses(&self, what: u32, attachment: u32, l3: u32, src: u64) -> u32;
    fn arp(&self, what: u32, segment: u32, ingress: u32, src: u64) -> u32;
    fn neighbour(&self, what: u32, segment: u32, ingress: u32, src: u64) -> u32;
}
