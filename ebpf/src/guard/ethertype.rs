//! An attachment with a list of ethertypes sends nothing else, as exchange points want it
//! (`ethertype-not-listed`). What counts is the packet's own ethertype, behind all tags. A frame
//! with a length in its place (IEEE 802.3 clause 3.2.6) has none, and is on no list.

use sillon_abi::{DropReason, EthertypeKey};

use crate::maps::ETHERTYPES;

#[inline(always)]
pub fn check(attachment: u32, ethertype: u16) -> Result<(), DropReason> {
    let key = EthertypeKey { attachment, ethertype, pad: 0 };
    if ETHERTYPES.get_ptr(key).is_some() { Ok(()) } else { Err(DropReason::EthertypeNotListed) }
}
