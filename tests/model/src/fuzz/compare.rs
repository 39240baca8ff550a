//! Is what a program did with a frame what the model says?

use std::collections::HashMap;

use sillon_abi::{Handoff, MASKED_ETHERTYPE};

use super::{
    bed::{DROP, PASS, REDIRECT, Ran},
    ids::Ids,
};
use crate::forwarding::{Copy, Flood, Place, Verdict, flow::FlowKey};

/// UDP source ports are of the dynamic range.
const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;

/// The way and source port that each flow to each remote took: it must keep to them.
#[derive(Debug, Default)]
pub struct Flows(HashMap<(Place, FlowKey), (usize, u16)>);

/// Whether a run is what the model says; else what is wrong.
pub fn run(
    verdict: &Verdict,
    frame: &[u8],
    ran: &Ran,
    ids: &Ids,
    flows: &mut Flows,
) -> Result<(), String> {
    let action = match verdict {
        Verdict::Host | Verdict::Peer(_) | Verdict::Flooded(_) => PASS,
        Verdict::Dropped(..) => DROP,
        Verdict::Sent(_) | Verdict::Answered(..) => REDIRECT,
    };
    if ran.action != action {
        return Err(format!("the verdict is {}, not {action}", ran.action));
    }
    match verdict {
        Verdict::Dropped(..) => Ok(()),
        Verdict::Host if ran.handoff.is_some() => Err("the host's frame has a handoff".to_owned()),
        Verdict::Host if ran.bytes != frame => Err("the host's frame was changed".to_owned()),
        Verdict::Host => Ok(()),
        Verdict::Peer(_) if ran.bytes != frame => Err("the peer's frame was changed".to_owned()),
        Verdict::Peer(from) => match ran.handoff {
            Some(handoff)
                if handoff.flags == Handoff::FOR_HOST
                    && ids.place(handoff.ingress) == Some(*from) =>
            {
                Ok(())
            }
            handoff => Err(format!("the peer's frame has the handoff {handoff:?}")),
        },
        Verdict::Sent(copy) | Verdict::Answered(_, copy) => flows.holds(copy, None, &ran.bytes),
        Verdict::Flooded(flood) => handed_over(flood, ran, ids),
    }
}

impl Flows {
    /// Whether these bytes, which left by that device if it is known, are the copy.
    ///
    /// # Errors
    /// What is wrong.
    pub fn holds(
        &mut self,
        copy: &Copy,
        device: Option<usize>,
        bytes: &[u8],
    ) -> Result<(), String> {
        let Some((way, port)) = copy.explains(bytes) else { return Err("other bytes".to_owned()) };
        if device.is_some_and(|device| device != way) {
            return Err(format!("it left by another device than {way}"));
        }
        let Some((_, flow)) = &copy.tunnelled else { return Ok(()) };
        if !SOURCE_PORTS.contains(&port) {
            return Err(format!("source port {port} is not of the dynamic range"));
        }
        let before = *self.0.entry((copy.to, flow.clone())).or_insert((way, port));
        if before != (way, port) {
            return Err(format!(
                "the flow left by {:?} before, and now by {:?}",
                before,
                (way, port)
            ));
        }
        Ok(())
    }
}

fn handed_over(flood: &Flood, ran: &Ran, ids: &Ids) -> Result<(), String> {
    let Some(handoff) = ran.handoff else { return Err("no handoff for TC".to_owned()) };
    if ran.bytes.get(12..14) != Some(&MASKED_ETHERTYPE.to_be_bytes()) {
        return Err("the ethertype is not masked".to_owned());
    }
    let mut bytes = ran.bytes.clone();
    bytes[12..14].copy_from_slice(&handoff.ethertype.to_ne_bytes());
    if bytes != flood.frame {
        return Err("other bytes for TC".to_owned());
    }
    let has = |flag| handoff.flags & flag != 0;
    let told =
        (ids.segment(handoff.segment), ids.place(handoff.ingress), handoff.priority, handoff.ecn);
    let wanted = (Some(flood.segment), Some(flood.from), flood.priority, flood.ecn);
    if told != wanted {
        return Err(format!("the handoff says {told:?}, not {wanted:?}"));
    }
    let flags = [Handoff::LEAF, Handoff::PRIORITY_TAGGED, Handoff::CARRIES_TAGS, Handoff::YELLOW];
    let (told, wanted) =
        (flags.map(has), [flood.leaf, flood.priority_tagged, flood.carries_tags, flood.yellow]);
    if told != wanted {
        return Err(format!(
            "leaf, priority tagged, carries tags, yellow: {told:?}, not {wanted:?}"
        ));
    }
    Ok(())
}
