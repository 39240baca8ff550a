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
    Ok(Some(cookies).filter(|cookies| cookies.handoff != [0; 2] && cookies.mark != 0))
}

/// Those, or new ones.
///
/// # Errors
/// The map can't be read, or the kernel gives nothing random.
pub(super) fn kept_or_new(directory: &Path) -> Result<Cookies, DataplaneError> {
    if let Some(cookies) = kept(directory)? {
        return Ok(cookies);
    }
    let random = || {
        let mut bytes = [0; 4];
        let filled = SystemRandom::new().fill(&mut bytes);
        // None is zero.
        filled.map(|()| u32::from_ne_bytes(bytes) | 1).map_err(|_| DataplaneError::NoRandom)
    };
    Ok(Cookies { handoff: [random()?, random()?], mark: random()?, pad: 0 })
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
