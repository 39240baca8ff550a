//! Out of a port, or to a remote. Before a frame leaves, its exit must belong to its segment: whatever a table says, this is
//! compared for every frame.

use sillon_abi::{DropReason, Exit};

use crate::{
    classify::Origin,
    count,
    flow::Flow,
    frame::{Frame, Way},
    maps::ATTACHMENTS,
    outer::{self, Outer},
    parse::Inner,
    police, rewrite,
    suppress::Question,
};

/// `flow` is asked for only where it is needed.
#[inline(always)]
pub fn deliver(
    frame: &impl Frame,
    origin: &Origin,
    inner: &Inner,
    exit: Exit,
    flow: impl FnOnce() -> Flow,
) -> Result<u32, DropReason> {
    if exit.is_remote() {
        to_remote(frame, origin, inner, exit, flow())
    } else {
        to_attachment(frame, origin, inner, exit)
    }
}

#[inline(always)]
fn to_attachment(frame: &impl Frame, origin: &Origin, inner: &Inner, exit: Exit) -> Result<u32, DropReason> {
    let attachment = ATTACHMENTS.get(exit.id()).ok_or(DropReason::StaleExit)?;
    if attachment.segment != origin.segment {
        return Err(DropReason::StaleExit);
    }
    if origin.leaf && attachment.leaf != 0 {
        return Err(DropReason::LeafToLeaf);
    }
    let class = attachment.class;
    let front = rewrite::front(origin, inner, class.encap())?;
    let len = inner.len - front.strip + front.push;
    let eligible = inner.eligible | police::egress(exit, attachment.guards, len + inner.shape.repeated)?;
    frame.retag(inner, class, front, inner.priority | eligible)?;
    leave(frame, &Way { segment: origin.segment, exit, ifindex: class.ifindex, hash: 0 }, len)
}

#[inline(always)]
fn to_remote(
    frame: &impl Frame,
    origin: &Origin,
    inner: &Inner,
    exit: Exit,
    flow: Flow,
) -> Result<u32, DropReason> {
    let path = outer::path(exit.id(), flow.hash).ok_or(DropReason::Unreachable)?;
    let inner_len = rewrite::inner_len(origin, inner);
    let header = path.header_len as usize;
    if inner_len - inner.shape.surplus + header > path.mtu as usize + 14 {
        return Err(DropReason::UnderlayMtu);
    }
    let outer = Outer {
        vni: origin.vni,
        hash: flow.hash,
        tos: flow.ecn | if inner.eligible != 0 { outer::yellow(origin.tos) } else { origin.tos },
        marks: outer::marks(origin.leaf, inner.eligible != 0),
        inner: inner_len,
    };
    frame.encapsulate(origin, inner, &outer, path)?;
    let way = Way { segment: origin.segment, exit, ifindex: path.ifindex, hash: outer.hash };
    leave(frame, &way, inner_len)
}

/// Out of where it came from, tags and all: a frame that has become the answer to itself. It is the node's own word, and not marked as yellow.
#[inline(always)]
pub fn back(frame: &impl Frame, origin: &Origin, question: Question, len: usize) -> Result<u32, DropReason> {
    police::egress(origin.ingress, origin.guards, len)?;
    let way = Way { segment: origin.segment, exit: origin.ingress, ifindex: frame.ifindex(), hash: 0 };
    let action = leave(frame, &way, len)?;
    count::answered(origin.ingress.id(), question);
    Ok(action)
}

#[inline(always)]
fn leave(frame: &impl Frame, way: &Way, len: usize) -> Result<u32, DropReason> {
    let action = frame.leave(way)?;
    count::sent(way.exit, len);
    Ok(action)
}
