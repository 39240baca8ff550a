//! Storm control: how many frames a second an attachment may have flooded, for broadcasts, other
//! multicasts and frames to addresses that are not known each by itself. What is beyond is dropped
//! before anything is copied (`storm-broadcast`, `storm-multicast`, `storm-unknown-unicast`), since
//! each copy costs the node as much as a frame. Up to a second's worth may come at once.
//!
//! The node counts at which a frame comes in; what comes out of a tunnel was counted there. A
//! `line` floods nothing.

use sillon_abi::{DropReason, Guards, Mac, Storm};

use crate::{
    bucket::{self, Bucket},
    maps::{METERS, RATES},
    meta::{Ingress, Inner},
};

const BROADCAST: Mac = Mac([0xffff; 3]);

/// A frame that will be flooded.
#[inline(always)]
pub fn allow(ingress: &Ingress, inner: &Inner) -> Result<(), DropReason> {
    let dst = inner.macs.dst();
    let (kind, guard, reason) = if dst == BROADCAST {
        (Storm::Broadcast, Guards::STORM_BROADCAST, DropReason::StormBroadcast)
    } else if dst.is_group() {
        (Storm::Multicast, Guards::STORM_MULTICAST, DropReason::StormMulticast)
    } else {
        (Storm::UnknownUnicast, Guards::STORM_UNKNOWN_UNICAST, DropReason::StormUnknownUnicast)
    };
    if ingress.guards & guard != 0
        && sillon_storm(ingress.endpoint.id(), kind as u32, inner.gso.extra_segments as u32) != 0
    {
        return Err(reason);
    }
    Ok(())
}

/// Counts a frame of a kind that is the number of a [`Storm`], and of `more` packets than one;
/// returns 1 if it is too much. A global function: see `hook::subprograms`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sillon_storm(attachment: u32, kind: u32, more: u32) -> u32 {
    u32::from(is_too_much(attachment, kind, more))
}

#[inline(always)]
fn is_too_much(attachment: u32, kind: u32, more: u32) -> bool {
    let (Some(rates), Some(meters)) = (RATES.get(attachment), METERS.get_ptr_mut(attachment))
    else {
        return false;
    };
    let Some(rate) = rates.storm.get(kind as usize) else { return false };
    if !rate.is_some() {
        // A limit that goes, or is not there yet.
        return false;
    }
    // SAFETY: an aligned word of a map value; `kind` is one of the three.
    let bucket =
        unsafe { Bucket::new((&raw mut (*meters).storm).cast::<u64>().add(kind as usize)) };
    !rate.take(&bucket, bucket::now(), 1 + u64::from(more))
}
