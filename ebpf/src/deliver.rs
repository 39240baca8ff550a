//! Out of a port, or to a remote. Before a frame leaves, its exit must belong to its segment: whatever a table says, this is
//! compared for every frame.

use sillon_abi::{ClassKey, DropReason, Exit};

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
pub fn to_attachment(frame: &impl Frame, origin: &Origin, inner: &Inner, exit: Exit) -> Result<u32, DropReason> {
    let attachment = ATTACHMENTS.get(exit.id()).ok_or(DropReason::StaleExit)?;
    if attachment.segment != origin.segment {
        return Err(DropReason::StaleExit);
    }
    if origin.leaf && attachment.leaf != 0 {
        return Err(DropReason::LeafToLeaf);
    }
    // As one word, which takes one place on the stack.
    // SAFETY: eight bytes of a map value.
    let class = ClassKey::from_word(unsafe { (&raw const attachment.class).cast::<u64>().read_unaligned() });
    let front = rewrite::front(origin, inner, class.encap())?;
    let len = inner.len - front.strip + front.push;
    let eligible = inner.eligible | police::egress(exit, attachment.guards, len + inner.shape.repeated)?;
    let action = frame.towards(&Way { exit, ifindex: class.ifindex, proof: origin.segment })?;
    frame.retag(inner, class, front, inner.priority | eligible)?;
    count::sent(exit, len);
    Ok(action)
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
    let action = frame.towards(&Way { exit, ifindex: path.ifindex, proof: flow.hash })?;
    frame.make_room(origin, inner, header)?;
    let outer = Outer {
        vni: origin.vni,
        hash: flow.hash,
        tos: flow.ecn | if inner.eligible != 0 { outer::yellow(origin.tos) } else { origin.tos },
        marks: outer::marks(origin.leaf, inner.eligible != 0),
        inner: inner_len,
    };
    frame.encapsulate(origin, inner, &outer, path)?;
    count::sent(exit, inner_len);
    Ok(action)
}

/// Out of where it came from, tags and all: a frame that has become the answer to itself. It is the node's own word, and not marked as yellow.
#[inline(always)]
pub fn back(frame: &impl Frame, origin: &Origin, question: Question, len: usize) -> Result<u32, DropReason> {
    police::egress(origin.ingress, origin.guards, len)?;
    let way = Way { exit: origin.ingress, ifindex: frame.ifindex(), proof: origin.segment };
    let action = frame.towards(&way)?;
    count::sent(origin.ingress, len);
    count::answered(origin.ingress.id(), question);
    Ok(action)
}
