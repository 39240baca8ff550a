//! What the programs of a node know each other by: see [`Cookies`].

use std::path::Path;

use aya::{
    Ebpf,
    maps::{Array, MapData, MapError},
};
use ring::rand::{SecureRandom, SystemRandom};
use sillon_abi::{Cookies, map};

use super::{DataplaneError, maps};

/// The cookies that are kept beside the maps pinned in `directory`, if there are any.
///
/// # Errors
/// The map can't be read.
pub fn kept(directory: &Path) -> Result<Option<Cookies>, DataplaneError> {
    if !directory.join(map::COOKIES).exists() {
        return Ok(None);
    }
    let array: Array<MapData, Cookies> = maps::open(directory, map::COOKIES)?;
    let cookies = array.get(&0, 0).map_err(named)?;
    // Whoever made the map may have been killed before it wrote them.
    Ok(Some(cookies).filter(|cookies| cookies.key != [0; 2] && cookies.mark != 0))
}

/// Those, or new ones.
///
/// # Errors
/// The map can't be read, or the kernel gives nothing random.
pub(super) fn kept_or_new(directory: &Path) -> Result<Cookies, DataplaneError> {
    if let Some(cookies) = kept(directory)? {
        return Ok(cookies);
    }
    let mut random = [0; 20];
    SystemRandom::new().fill(&mut random).map_err(|_| DataplaneError::NoRandom)?;
    let half = |at| random[at..].iter().take(8).fold(0, |half, byte| half << 8 | u64::from(*byte));
    // None is zero.
    Ok(Cookies { key: [half(0) | 1, half(8)], mark: half(16) as u32 | 1, pad: 0 })
}

/// Keeps the cookies of programs that were just loaded: whoever loads next has the same.
///
/// # Errors
/// The map can't be written.
pub(super) fn keep(programs: &mut Ebpf, cookies: Cookies) -> Result<(), DataplaneError> {
    let map = programs.map_mut(map::COOKIES).ok_or(DataplaneError::NoObject)?;
    Array::try_from(map).and_then(|mut array| array.set(0, cookies, 0)).map_err(named)
}

fn named(source: MapError) -> DataplaneError {
    DataplaneError::Map { map: map::COOKIES, source }
}
