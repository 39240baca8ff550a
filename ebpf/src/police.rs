//! Bandwidth profiles: how much an attachment may send into the fabric, and how much it is sent (MEF 10.3 section 12; RFC 4115 in
//! colour-blind mode). Each direction has two buckets: a frame that CIR and CBS cover is green, one that they do not and EIR and EBS do is
//! yellow, and any other is red. Green and yellow pass alike, red is dropped (`policed-ingress`, `policed-egress`). All are counted.
//!
//! A frame counts with its bytes on the port of the attachment, tags and all, without FCS, and with 60 at least. Whatever it is
//! counts: a fragment, a control packet, one that goes nowhere in the end. What an earlier step drops does not, nor what comes out
//! of a tunnel: the node that it came in at has counted it. The way out counts each copy, also of a flood.
//!
//! An attachment without a profile has no bit in its `guards`, and costs a comparison.

use sillon_abi::{Colour, DropReason, Exit, Guards, SMALLEST_CHARGE, Tally};

use crate::{
    bucket::{self, Bucket},
    classify::Origin,
    maps::{COLOURS, METERS, RATES},
};

/// A frame from an attachment.
#[inline(always)]
pub fn ingress(origin: &Origin, len: usize) -> Result<(), DropReason> {
    if origin.guards & Guards::POLICED_IN != 0 && sillon_is_red(origin.ingress.id(), 0, len as u32) != 0 {
        return Err(DropReason::PolicedIngress);
    }
    Ok(())
}

/// A frame, as long as it will be on the port, to an attachment with these `guards`.
#[inline(always)]
pub fn egress(exit: Exit, guards: u16, len: usize) -> Result<(), DropReason> {
    if guards & Guards::POLICED_OUT != 0 && sillon_is_red(exit.id(), 1, len as u32) != 0 {
        return Err(DropReason::PolicedEgress);
    }
    Ok(())
}

/// Colours a frame and counts it. A profile that says nothing is one that goes or is not there yet: it lets everything pass.
///
/// A global function, which the verifier walks through once (see `guard::sillon_kinds`); and the pipeline has no room left on its stack.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sillon_is_red(attachment: u32, is_egress: u32, len: u32) -> u32 {
    u32::from(is_red(attachment, is_egress != 0, len))
}

#[inline(always)]
fn is_red(attachment: u32, is_egress: bool, len: u32) -> bool {
    let (Some(rates), Some(meters), Some(colours)) =
        (RATES.get(attachment), METERS.get_ptr_mut(attachment), COLOURS.get_ptr_mut(attachment))
    else {
        return false;
    };
    // SAFETY: map values, of which only addresses are taken.
    let (profile, buckets, tallies) = unsafe {
        if is_egress {
            (&rates.egress, &raw mut (*meters).egress, &raw mut (*colours).egress)
        } else {
            (&rates.ingress, &raw mut (*meters).ingress, &raw mut (*colours).ingress)
        }
    };
    if !profile.is_some() {
        return false;
    }
    let charge = u64::from(len).max(SMALLEST_CHARGE);
    let buckets = buckets.cast::<u64>();
    // SAFETY: the two aligned words of a direction's buckets.
    let (committed, excess) = unsafe { (Bucket::new(buckets), Bucket::new(buckets.add(1))) };
    let colour = profile.colour(&committed, &excess, bucket::now(), charge);
    // SAFETY: a per-CPU value, and XDP and TC of one CPU do not interrupt each other; `colour` is one of the three.
    unsafe {
        let tally = tallies.cast::<Tally>().add(colour as usize);
        (*tally).frames += 1;
        (*tally).bytes += charge;
    }
    colour == Colour::Red
}
