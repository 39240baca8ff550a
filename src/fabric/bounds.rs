//! What numbers of a spec may be.

use std::ops::RangeInclusive;

use crate::model::{InvalidValue, StormControl};

/// Refuses a number outside a range.
pub(super) fn within(
    key: &str,
    number: u32,
    range: RangeInclusive<u32>,
) -> Result<(), InvalidValue> {
    if range.contains(&number) {
        return Ok(());
    }
    let (low, high) = (range.start(), range.end());
    Err(InvalidValue::new(
        format_args!("{key}: {number} is outside {low}–{high}"),
        format_args!("it is a number from {low} to {high}"),
    ))
}

/// Refuses limits of storm control that no node can keep.
pub(super) fn storm(key: &str, storm: &StormControl) -> Result<(), InvalidValue> {
    let limits = [storm.broadcast, storm.multicast, storm.unknown];
    limits.into_iter().flatten().try_for_each(|limit| within(key, limit, 1..=StormControl::MAX))
}
