//! Out of a port, or to a remote. Before a frame leaves, its exit must belong to its segment: whatever a table says, this is
//! compared for every frame.

use sillon_abi::{DropReason, Exit};

use crate::{
    classify::Origin,
    count, flow,
    frame::Frame,
    maps::ATTACHMENTS,
    outer::{self, Outer},
    parse::Inner,
    police, rewrite,
    suppress::Question,
};

#[inline(always)]
pub fn deliver(
    frame: &impl Frame,
    origin: &Origin,
    inner: &Inner,
    exit: Exit,
    len: usize,
) -> Result<u32, DropReason> {
    if exit.is_remote() {
        to_remote(frame, origin, inner, exit, len)
    } else {
        to_attachment(frame, origin, inner, exit, len)
    }
}

#[inline(always)]
fn to_attachment(
    frame: &impl Frame,
    origin: &Origin,
    inner: &Inner,
    exit: Exit,
    len: usize,
) -> Result<u32, DropReason> {
    let attachment = ATTACHMENTS.get(exit.id()).ok_or(DropReason::StaleExit)?;
    if attachment.segment != origin.segment {
        return Err(DropReason::StaleExit);
    }
    if origin.leaf && attachment.leaf != 0 {
        return Err(DropReason::LeafToLeaf);
    }
    if frame.must_become_skb(attachment) {
        return frame.hand_over(origin, inner, exit);
    }
    let class = attachment.class;
    let len = rewrite::to_attachment(frame, origin, inner, class, len)?;
    police::egress(exit, attachment.guards, len + inner.shape.repeated)?;
    leave(frame, exit, class.ifindex, len)
}

#[inline(always)]
fn to_remote(
    frame: &impl Frame,
    origin: &Origin,
    inner: &Inner,
    exit: Exit,
    len: usize,
) -> Result<u32, DropReason> {
    let flow = flow::of(frame, inner);
    let path = outer::path(exit.id(), flow.hash).ok_or(DropReason::Unreachable)?;
    let inner_len = rewrite::inner_len(origin, inner, len);
    let header = path.header_len as usize;
    if inner_len - inner.shape.surplus + header > path.mtu as usize + 14 {
        return Err(DropReason::UnderlayMtu);
    }
    let outer = Outer {
        vni: origin.vni,
        hash: flow.hash,
        tos: origin.tos | flow.ecn,
        leaf: origin.leaf,
        inner: inner_len,
    };
    frame.encapsulate(origin, inner, &outer, path)?;
    leave(frame, exit, path.ifindex, inner_len)
}

/// Out of where it came from, tags and all: a frame that has become the answer to itself.
#[inline(always)]
pub fn back(frame: &impl Frame, origin: &Origin, question: Question, len: usize) -> Result<u32, DropReason> {
    police::egress(origin.ingress, origin.guards, len)?;
    let action = leave(frame, origin.ingress, frame.ifindex(), len)?;
    count::answered(origin.ingress.id(), question);
    Ok(action)
}

#[inline(always)]
fn leave(frame: &impl Frame, exit: Exit, ifindex: u32, len: usize) -> Result<u32, DropReason> {
    let action = frame.leave(exit, ifindex).ok_or(DropReason::NoDevice)?;
    count::sent(exit, len);
    Ok(action)
}
