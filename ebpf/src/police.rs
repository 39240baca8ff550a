//! Bandwidth profiles: how much an attachment may send into the fabric, and how much it is sent
//! (MEF 10.3 section 12; RFC 4115 in colour-blind mode). Each direction has two buckets: a frame
//! that CIR and CBS cover is green, one that they do not and EIR and EBS do is yellow, and any
//! other is red. Green and yellow pass, red is dropped (`policed-ingress`, `policed-egress`). All
//! are counted.
//!
//! Yellow is what may be dropped first where there is no room, further down. So it is told there:
//! by DEI in the tags that an attachment has of its own (`deliver`), between nodes by a bit behind
//! the VXLAN flags, and to the underlay by the drop precedence of the outer DSCP, if the segment's
//! has one (both `vxlan::encap`). Tags that an operator carries inside are its own business, and
//! are left alone.
//!
//! A frame counts with its bytes on the port of the attachment, tags and all, without FCS, and with
//! 60 at least. Whatever it is counts: a fragment, a control packet, one that goes nowhere in the
//! end. What an earlier step drops does not, nor what comes out of a tunnel: the node that it came
//! in at has counted it. The way out counts each copy, also of a flood.
//!
//! An attachment without a profile has no bit in its `guards`, and costs a comparison.

use sillon_abi::{Colour, DropReason, Endpoint, Guards, SMALLEST_CHARGE, Tally};

use crate::{
    bucket::{self, Bucket},
    maps::{COLOURS, METERS, RATES},
    meta::Ingress,
};

/// DEI in a tag control field (IEEE 802.1Q clause 6.9.3): the frame may be dropped first.
pub const ELIGIBLE: u16 = 0x1000;

/// A frame from an attachment; returns [`ELIGIBLE`] if it is yellow, and 0 if it is not.
#[inline(always)]
pub fn ingress(ingress: &Ingress, len: usize) -> Result<u16, DropReason> {
    if ingress.guards & Guards::POLICED_IN == 0 {
        return Ok(0);
    }
    mark(sillon_colour(ingress.endpoint.id(), INGRESS, len as u32), DropReason::PolicedIngress)
}

/// The same for a frame, as long as it will be on the port, to an attachment with these `guards`.
#[inline(always)]
pub fn egress(endpoint: Endpoint, guards: u16, len: usize) -> Result<u16, DropReason> {
    if guards & Guards::POLICED_OUT == 0 {
        return Ok(0);
    }
    mark(sillon_colour(endpoint.id(), EGRESS, len as u32), DropReason::PolicedEgress)
}

/// What [`sillon_colour`] says of a red frame; of another it says what it is marked with.
const RED: u32 = u32::MAX;

/// The mark as it is, and not one of two that are known: the verifier would walk through all that
/// follows for each of them.
#[inline(always)]
fn mark(colour: u32, red: DropReason) -> Result<u16, DropReason> {
    if colour == RED { Err(red) } else { Ok(colour as u16) }
}

const INGRESS: u32 = 0;
const EGRESS: u32 = 1;

/// Colours a frame and counts it; `way` is [`INGRESS`] or [`EGRESS`]. A profile that says nothing
/// is one that goes or is not there yet: it lets everything pass.
///
/// A global function: see `hook::subprograms`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sillon_colour(attachment: u32, way: u32, len: u32) -> u32 {
    let (Some(rates), Some(meters), Some(colours)) =
        (RATES.get(attachment), METERS.get_ptr_mut(attachment), COLOURS.get_ptr_mut(attachment))
    else {
        return 0;
    };
    // SAFETY: map values, of which only addresses are taken.
    let (profile, buckets, tallies) = unsafe {
        if way == EGRESS {
            (&rates.egress, &raw mut (*meters).egress, &raw mut (*colours).egress)
        } else {
            (&rates.ingress, &raw mut (*meters).ingress, &raw mut (*colours).ingress)
        }
    };
    if !profile.is_some() {
        return 0;
    }
    let charge = u64::from(len).max(SMALLEST_CHARGE);
    let buckets = buckets.cast::<u64>();
    // SAFETY: the two aligned words of a direction's buckets.
    let (committed, excess) = unsafe { (Bucket::new(buckets), Bucket::new(buckets.add(1))) };
    let colour = profile.colour(&committed, &excess, bucket::now(), charge);
    // SAFETY: a per-CPU value, and XDP and TC of one CPU do not interrupt each other; `colour` is
    // one of the three.
    unsafe {
        let tally = tallies.cast::<Tally>().add(colour as usize);
        (*tally).frames += 1;
        (*tally).bytes += charge;
    }
    match colour {
        Colour::Green => 0,
        Colour::Yellow => ELIGIBLE.into(),
        Colour::Red => RED,
    }
}
