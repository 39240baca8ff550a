//! Out of a port, or to a remote. Before a frame leaves, its exit must belong to its segment: whatever a table says, this is
//! compared for every frame.

use aya_ebpf::{bindings::xdp_action, helpers::bpf_redirect_map};
use sillon_abi::{ClassKey, DropReason, Exit, PathEntry};

use crate::{
    classify::Origin,
    count,
    flow::Flow,
    frame::Frame,
    maps::{ATTACHMENTS, DEVICES},
    outer::{self, Outer},
    parse::Inner,
    police,
    rewrite::{self, Front},
    suppress::Question,
};

/// `flow` is asked for only where it is needed.
#[inline(always)]
pub fn deliver(
    frame: &Frame,
    origin: &Origin,
    inner: &Inner,
    exit: Exit,
    flow: impl FnOnce() -> Flow,
) -> Result<u32, DropReason> {
    if exit.is_remote() {
        let flow = flow();
        let path = outer::path(exit.id(), flow.hash).ok_or(DropReason::Unreachable)?;
        ToRemote::through(frame, origin, inner, exit, path)?.go(frame, origin, inner, &flow)
    } else {
        let policed = |guards, len| police::egress(exit, guards, len);
        ToAttachment::out_of(frame, origin, inner, exit, policed)?.go(frame, inner)
    }
}

/// A frame that will go to an attachment, and has room for its tags. Up to here it may be refused; from here on, it is another.
pub struct ToAttachment {
    exit: Exit,
    class: ClassKey,
    front: Front,
    /// PCP and DEI of the tags that it gets.
    priority: u16,
    /// Bytes on the port.
    len: usize,
    action: u32,
}

impl ToAttachment {
    /// `policed` is told the attachment's guards and how long the frame will be there, and says whether it is yellow.
    #[inline(always)]
    pub fn out_of(
        frame: &Frame,
        origin: &Origin,
        inner: &Inner,
        exit: Exit,
        policed: impl FnOnce(u16, usize) -> Result<u16, DropReason>,
    ) -> Result<Self, DropReason> {
        let attachment = ATTACHMENTS.get(exit.id()).ok_or(DropReason::StaleExit)?;
        if attachment.segment != origin.segment {
            return Err(DropReason::StaleExit);
        }
        if origin.leaf && attachment.leaf != 0 {
            return Err(DropReason::LeafToLeaf);
        }
        // As one word, which takes one place on the stack.
        // SAFETY: eight bytes of a map value.
        let class =
            ClassKey::from_word(unsafe { (&raw const attachment.class).cast::<u64>().read_unaligned() });
        let front = rewrite::front(origin, inner, class.encap())?;
        let len = inner.len - front.strip + front.push;
        let eligible = inner.eligible | policed(attachment.guards, len)?;
        let action = towards(class.ifindex)?;
        frame.shift(front.by())?;
        Ok(Self { exit, class, front, priority: inner.priority | eligible, len, action })
    }

    #[inline(always)]
    pub fn go(self, frame: &Frame, inner: &Inner) -> Result<u32, DropReason> {
        rewrite::to_attachment(frame, inner, self.class, self.front, self.priority)?;
        count::sent_to_attachment(self.exit, self.len);
        Ok(self.action)
    }
}

/// The same into a tunnel.
pub struct ToRemote<'a> {
    exit: Exit,
    path: &'a PathEntry,
    /// Bytes of the inner frame.
    len: usize,
    action: u32,
}

impl<'a> ToRemote<'a> {
    #[inline(always)]
    pub fn through(
        frame: &Frame,
        origin: &Origin,
        inner: &Inner,
        exit: Exit,
        path: &'a PathEntry,
    ) -> Result<Self, DropReason> {
        let len = rewrite::inner_len(origin, inner);
        let header = path.header_len as usize;
        if len + header > path.mtu as usize + 14 {
            return Err(DropReason::UnderlayMtu);
        }
        let action = towards(path.ifindex)?;
        rewrite::make_room(frame, origin, inner, header)?;
        Ok(Self { exit, path, len, action })
    }

    #[inline(always)]
    pub fn go(self, frame: &Frame, origin: &Origin, inner: &Inner, flow: &Flow) -> Result<u32, DropReason> {
        let is_yellow = inner.eligible != 0;
        let outer = Outer {
            vni: origin.vni,
            hash: flow.hash,
            tos: flow.ecn | if is_yellow { outer::yellow(origin.tos) } else { origin.tos },
            marks: outer::marks(origin.leaf, is_yellow),
            inner: self.len,
        };
        rewrite::to_tunnel(frame, origin, inner, &outer, self.path)?;
        count::sent_to_remote(self.exit, self.len);
        Ok(self.action)
    }
}

/// Out of where it came from, tags and all: a frame that has become the answer to itself. It is the node's own word, and not marked as yellow.
#[inline(always)]
pub fn back(frame: &Frame, origin: &Origin, question: Question, len: usize) -> Result<u32, DropReason> {
    police::egress(origin.ingress, origin.guards, len)?;
    let action = towards(frame.ifindex())?;
    count::sent_to_attachment(origin.ingress, len);
    count::answered(origin.ingress.id(), question);
    Ok(action)
}

/// The action that sends a frame out of a device. Asked for before the frame is changed: then nothing that is decided is needed after it.
#[inline(always)]
fn towards(ifindex: u32) -> Result<u32, DropReason> {
    let devices = (&raw const DEVICES).cast_mut().cast();
    // SAFETY: a map of devices, which begins with what the loader makes a map of.
    let action = unsafe { bpf_redirect_map(devices, ifindex.into(), xdp_action::XDP_DROP.into()) } as u32;
    if action == xdp_action::XDP_REDIRECT { Ok(action) } else { Err(DropReason::NoDevice) }
}
