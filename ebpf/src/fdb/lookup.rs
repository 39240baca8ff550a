//! Where does the frame go? A `line` goes to its other point, whatever the address. In a `lan` or
//! `tree` a known unicast address goes where it was last seen, never back to where the frame came
//! from, and never out of one tunnel into another (split horizon). A group address, or one not seen
//! yet, is flooded.

use sillon_abi::{DropReason, Endpoint, Service};

use crate::{
    fdb::{learn, moves},
    flow_cache::Miss,
    meta::{Inner, Origin},
};

/// Where a frame goes.
pub enum Route {
    To(Endpoint),
    Flood,
}

#[inline(always)]
pub fn lookup(origin: &Origin, inner: &Inner, miss: &Miss) -> Result<Route, DropReason> {
    if origin.service == Service::Line as u8 {
        moves::on_line(origin, inner.macs.src())?;
        return if origin.cross.is_none() {
            Err(DropReason::LineIncomplete)
        } else {
            Ok(Route::To(origin.cross))
        };
    }
    let epoch = miss.epoch(origin.segment);
    let is_learned = learn::learn(origin, inner)?;
    if inner.macs.dst().is_group() {
        return Ok(Route::Flood);
    }
    let Some(endpoint) = learn::find(origin.segment, inner.macs.dst()) else {
        return if moves::is_own(inner.macs.dst()) {
            Err(DropReason::DestinationIsNode)
        } else {
            Ok(Route::Flood)
        };
    };
    if endpoint == origin.ingress {
        return Err(DropReason::SameExit);
    }
    if endpoint.is_remote() && origin.ingress.is_remote() {
        return Err(DropReason::SplitHorizon);
    }
    // The frames of one that is not learned are counted.
    if is_learned {
        miss.insert(epoch, origin, endpoint);
    }
    Ok(Route::To(endpoint))
}
