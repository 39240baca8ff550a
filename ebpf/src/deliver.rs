//! Out of a port, or to a remote. Before a frame leaves, its endpoint must belong to its segment:
//! whatever a table says, this is compared for every frame.

use sillon_abi::{ClassKey, DropReason, Endpoint, PathEntry};

use crate::{
    count,
    flow_hash::{self, FlowHash},
    hook::{Egress, Hook},
    maps::ATTACHMENTS,
    meta::{Front, Ingress, Inner, Question},
    own_tunnel, police, rewrite,
    verdict::Verdict,
    vxlan::encap::{self, Outer},
};

#[inline(always)]
pub fn deliver(
    frame: &impl Hook,
    ingress: &Ingress,
    inner: &Inner,
    endpoint: Endpoint,
) -> Result<Verdict, DropReason> {
    if endpoint.is_remote() && own_tunnel::is_due(frame, inner) {
        frame.take_apart(inner.eligible)
    } else if endpoint.is_remote() {
        let flow = flow_hash::of(frame, inner);
        let path = encap::path(endpoint.id(), flow.hash).ok_or(DropReason::Unreachable)?;
        ToRemote::through(frame, ingress, inner, NextHop { endpoint, path, flow })?
            .go(frame, ingress, inner)
    } else {
        let policed = |guards, len| police::egress(endpoint, guards, len);
        ToAttachment::out_of(frame, ingress, inner, endpoint, policed)?.go(frame, inner)
    }
}

/// A frame that will go to an attachment, and has room for its tags. Where it is refused,
/// this is not made, and the frame is as it was; once it is made, the frame is another.
pub struct ToAttachment {
    endpoint: Endpoint,
    class: ClassKey,
    front: Front,
    /// PCP and DEI of the tags that it gets.
    priority: u16,
    /// Bytes on the port.
    len: usize,
    verdict: Verdict,
}

impl ToAttachment {
    /// `policed` is told the attachment's guards and how long the frame will be there, and says
    /// whether it is yellow.
    #[inline(always)]
    pub fn out_of(
        frame: &impl Hook,
        ingress: &Ingress,
        inner: &Inner,
        endpoint: Endpoint,
        policed: impl FnOnce(u16, usize) -> Result<u16, DropReason>,
    ) -> Result<Self, DropReason> {
        let attachment = ATTACHMENTS.get(endpoint.id()).ok_or(DropReason::StaleExit)?;
        if attachment.segment != ingress.segment {
            return Err(DropReason::StaleExit);
        }
        if ingress.leaf && attachment.leaf != 0 {
            return Err(DropReason::LeafToLeaf);
        }
        // As one word, which takes one place on the stack.
        // SAFETY: eight bytes of a map value.
        let class = ClassKey::from_word(unsafe {
            (&raw const attachment.class).cast::<u64>().read_unaligned()
        });
        let front = rewrite::front(ingress, inner, class.encap())?;
        let len = inner.len - front.strip + front.push;
        let eligible = inner.eligible | policed(attachment.guards, len + inner.gso.headers)?;
        let way =
            Egress { endpoint, ifindex: class.ifindex, proof: ingress.segment, inner: Some(inner) };
        let verdict = frame.towards(&way)?;
        frame.make_front(front)?;
        Ok(Self { endpoint, class, front, priority: inner.priority | eligible, len, verdict })
    }

    #[inline(always)]
    pub fn go(self, frame: &impl Hook, inner: &Inner) -> Result<Verdict, DropReason> {
        frame.retag(inner, self.class, self.front, self.priority)?;
        count::sent_to_attachment(self.endpoint, self.len);
        Ok(self.verdict)
    }
}

/// Where a flow goes into a tunnel.
pub struct NextHop<'a> {
    pub endpoint: Endpoint,
    pub path: &'a PathEntry,
    pub flow: FlowHash,
}

/// As [`ToAttachment`], into a tunnel.
pub struct ToRemote<'a> {
    hop: NextHop<'a>,
    /// Bytes of the inner frame.
    len: usize,
    verdict: Verdict,
}

impl<'a> ToRemote<'a> {
    #[inline(always)]
    pub fn through(
        frame: &impl Hook,
        ingress: &Ingress,
        inner: &Inner,
        hop: NextHop<'a>,
    ) -> Result<Self, DropReason> {
        let len = rewrite::inner_len(ingress, inner);
        let header = hop.path.header_len as usize;
        if len - inner.gso.excess + header > hop.path.mtu as usize + 14 {
            return Err(DropReason::UnderlayMtu);
        }
        let way = Egress {
            endpoint: hop.endpoint,
            ifindex: hop.path.ifindex,
            proof: hop.flow.hash,
            inner: None,
        };
        let verdict = frame.towards(&way)?;
        frame.make_room(ingress, inner, header)?;
        Ok(Self { hop, len, verdict })
    }

    #[inline(always)]
    pub fn go(
        self,
        frame: &impl Hook,
        ingress: &Ingress,
        inner: &Inner,
    ) -> Result<Verdict, DropReason> {
        let Self { hop: NextHop { endpoint, path, flow }, len, verdict } = self;
        let is_yellow = inner.eligible != 0;
        let outer = Outer {
            vni: ingress.vni,
            hash: flow.hash,
            tos: flow.ecn | if is_yellow { encap::yellow(ingress.tos) } else { ingress.tos },
            marks: encap::marks(ingress.leaf, is_yellow),
            inner: len,
        };
        frame.encapsulate(ingress, inner, &outer, path)?;
        count::sent_to_remote(endpoint, len);
        Ok(verdict)
    }
}

/// Out of where it came from, tags and all: a frame that has become the answer to itself. It is the
/// node's own word, and not marked as yellow.
#[inline(always)]
pub fn answer(
    frame: &impl Hook,
    ingress: &Ingress,
    question: Question,
    len: usize,
) -> Result<Verdict, DropReason> {
    police::egress(ingress.endpoint, ingress.guards, len)?;
    let way = Egress {
        endpoint: ingress.endpoint,
        ifindex: frame.ifindex(),
        proof: ingress.segment,
        inner: None,
    };
    let verdict = frame.towards(&way)?;
    count::sent_to_attachment(ingress.endpoint, len);
    count::answered(ingress.endpoint.id(), question);
    Ok(verdict)
}
