//! What the programs have counted for each attachment, as a controller is told it.

use std::collections::BTreeMap;

use sillon_abi::{Answers, Colour, ScopeKind, Tally};

use super::Reconciler;
use crate::agent::node_index::Point;
use crate::{dataplane::DataplaneError, protocol::pb};

/// By attachment. An id is given to another one sometime, so that each says whose it is.
pub type Counters = BTreeMap<u32, pb::Counters>;

impl Reconciler {
    /// What the attachments have counted since they were made; nothing before addresses are
    /// exchanged.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn counters(&self) -> Result<Counters, DataplaneError> {
        let mut dropped: BTreeMap<u32, Vec<pb::Dropped>> = BTreeMap::new();
        for (key, reason, frames) in self.maps.drops()? {
            if key.scope == ScopeKind::Attachment as u32 {
                dropped
                    .entry(key.id)
                    .or_default()
                    .push(pb::Dropped { reason: reason as u32, frames });
            }
        }
        let mut macs = self.maps.mac_accounts()?;
        let index = self.index();
        let mut all = Counters::new();
        for (id, Point { segment, port, encap, policed }) in &index.points {
            let traffic = self.maps.attachment_counters(*id)?;
            let Answers { arp, nd } = self.maps.answers(*id)?;
            let (learned, not_learned) = macs.remove(id).unwrap_or_default();
            let [in_colours, out_colours] = self.colours(*id, *policed)?;
            let counters = pb::Counters {
                segment: segment.clone(),
                port: port.clone(),
                encap: encap.clone(),
                in_frames: traffic.in_frames,
                in_bytes: traffic.in_bytes,
                out_frames: traffic.out_frames,
                out_bytes: traffic.out_bytes,
                answered_arp: arp,
                answered_nd: nd,
                dropped: dropped.remove(id).unwrap_or_default(),
                in_colours,
                out_colours,
                learned,
                not_learned,
            };
            all.insert(*id, counters);
        }
        Ok(all)
    }

    /// What its profiles made of frames from and to an attachment; not looked for where it has
    /// none, as most have.
    fn colours(
        &self,
        id: u32,
        policed: [bool; 2],
    ) -> Result<[Option<pb::Colours>; 2], DataplaneError> {
        if policed == [false, false] {
            return Ok([None, None]);
        }
        let all = self.maps.colours(id)?;
        let [ingress, egress] = policed;
        Ok([ingress.then(|| colours(all.ingress)), egress.then(|| colours(all.egress))])
    }
}

fn colours(tallies: [Tally; 3]) -> pb::Colours {
    let tally = |colour: Colour| {
        let Tally { frames, bytes } = tallies[colour as usize];
        Some(pb::Tally { frames, bytes })
    };
    pb::Colours {
        green: tally(Colour::Green),
        yellow: tally(Colour::Yellow),
        red: tally(Colour::Red),
    }
}
