//! Results of functions of their own, which must fit a register.

use sillon_abi::DropReason;

/// 0, or the number of the reason.
#[inline(always)]
pub fn to_number(result: Result<(), DropReason>) -> u32 {
    result.map_or_else(|reason| reason as u32, |()| 0)
}

#[inline(always)]
pub fn to_result(reason: u32) -> Result<(), DropReason> {
    if reason == 0 {
        Ok(())
    } else {
        Err(DropReason::from_number(reason).unwrap_or(DropReason::StaleExit))
    }
}
