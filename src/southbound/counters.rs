//! What agents say of their attachments' counters, as values.
#![forbid(unsafe_code)]

use jiff::Timestamp;
use sillon_abi::DropReason;

use super::segment;
use crate::{
    controller::counters::{Answered, Colours, Counted, Counters, Macs, Tally},
    fabric::PortKey,
    model::Name,
    protocol::pb,
};

/// What a node says of one of its attachments; nothing, if it has no names that can be.
pub fn decode(node: &Name, at: Timestamp, said: pb::Counters) -> Option<Counted> {
    let reason = |dropped: &pb::Dropped| {
        DropReason::from_number(dropped.reason).map(|reason| (reason.name(), dropped.frames))
    };
    Some(Counted {
        port: PortKey { node: node.clone(), port: said.port.parse().ok()? },
        encap: said.encap.parse().ok()?,
        segment: segment(&said.segment)?,
        counters: Counters {
            at,
            in_frames: said.in_frames,
            in_bytes: said.in_bytes,
            out_frames: said.out_frames,
            out_bytes: said.out_bytes,
            answered: Answered { arp: said.answered_arp, nd: said.answered_nd },
            dropped: said.dropped.iter().filter_map(reason).collect(),
            in_colours: said.in_colours.map(colours),
            out_colours: said.out_colours.map(colours),
            macs: Macs { learned: said.learned, refused: said.not_learned },
        },
    })
}

fn colours(said: pb::Colours) -> Colours {
    let tally = |said: Option<pb::Tally>| {
        let pb::Tally { frames, bytes } = said.unwrap_or_default();
        Tally { frames, bytes }
    };
    Colours { green: tally(said.green), yellow: tally(said.yellow), red: tally(said.red) }
}
