//! What the programs have counted for each attachment, as a controller is told it.

use std::collections::BTreeMap;

use sillon_abi::{Answers, ScopeKind};

use super::Reconciler;
use super::places::Point;
use crate::dataplane::DataplaneError;
use crate::protocol::pb;

/// By attachment. An id is given to another one sometime, so that each says whose it is.
pub type Counters = BTreeMap<u32, pb::Counters>;

impl Reconciler {
    /// What the attachments have counted since they were made; nothing before [`Self::share`].
    ///
    /// # Errors
    /// A map can't be read.
    pub fn counters(&self) -> Result<Counters, DataplaneError> {
        let mut dropped: BTreeMap<u32, Vec<pb::Dropped>> = BTreeMap::new();
        for (key, reason, frames) in self.maps.drops()? {
            if key.scope == ScopeKind::Attachment as u32 {
                dropped.entry(key.id).or_default().push(pb::Dropped { reason: reason as u32, frames });
            }
        }
        let places = self.places();
        let mut all = Counters::new();
        for (id, Point { segment, port, encap }) in &places.points {
            let traffic = self.maps.attachment_counters(*id)?;
            let Answers { arp, nd } = self.maps.answers(*id)?;
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
            };
            all.insert(*id, counters);
        }
        Ok(all)
    }
}
