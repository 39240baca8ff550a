//! Where does the frame go? A `line` goes to its other point, whatever the address. In a `lan` or
//! `tree` a known unicast address goes where it was last seen, never back to where the frame came
//! from, and never out of one tunnel into another (split horizon). A group address, or one not seen
//! yet, is flooded.

use sillon_abi::{DropReason, Endpoint, Service};

use crate::{
    fdb::{learn, moves},
    flow_cache::Miss,
    meta::{Ingress, Inner},
};

/// Where a frame goes.
pub enum Route {
    To(Endpoint),
    Flood,
}

#[inline(always)]
pub fn lookup(ingress: &Ingress, inner: &Inner, miss: &Miss) -> Result<Route, DropReason> {
    if ingress.service == Service::Line as u8 {
        moves::on_line(ingress, inner.macs.src())?;
        return if ingress.cross.is_none() {
            Err(DropReason::LineIncomplete)
        } else {
            Ok(Route::To(ingress.cross))
        };
    }
    let epoch = miss.epoch(ingress.segment);
    let is_learned = learn::learn(ingress, inner)?;
    if inner.macs.dst().is_group() {
        return Ok(Route::Flood);
    }
    let Some(endpoint) = learn::find(ingress.segment, inner.macs.dst()) else {
        return if moves::is_own(inner.macs.dst()) {
            Err(DropReason::DestinationIsNode)
        } else {
            Ok(Route::Flood)
        };
    };
    if endpoint == ingress.endpoint {
        return Err(DropReason::SameExit);
    }
    if endpoint.is_remote() && ingress.endpoint.is_remote() {
        return Err(DropReason::SplitHorizon);
    }
    // A source that is not learned is counted with each frame (`refused`), which a hit would skip.
    if is_learned {
        miss.insert(epoch, ingress, endpoint);
    }
    Ok(Route::To(endpoint))
}
