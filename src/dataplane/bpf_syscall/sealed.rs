//! Bytes that are kept in the kernel, pinned like the maps: an array that is frozen once it is
//! written, so that they can be replaced as a whole and not changed.

use std::{
    ffi::{CString, c_int},
    fs, io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use aya::maps::{Array, Map, MapData, MapError};

use super::{batch, bpf};

const BPF_MAP_CREATE: c_int = 0;
const BPF_OBJ_PIN: c_int = 6;
const BPF_MAP_FREEZE: c_int = 22;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
/// Bytes of an element; the first begins with how many there are in all.
const PIECE: usize = 4096;
const LENGTH: usize = size_of::<u64>();

type Piece = [u8; PIECE];

/// `union bpf_attr` as far as `BPF_MAP_CREATE` reads it here.
#[repr(C)]
struct Create {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    inner: u32,
    numa: u32,
    name: [u8; 16],
}

/// `union bpf_attr` as far as `BPF_OBJ_PIN` reads it.
#[repr(C)]
struct Pin {
    path: u64,
    fd: c_int,
    flags: u32,
}

/// `union bpf_attr` as far as `BPF_MAP_FREEZE` reads it.
#[repr(C)]
struct Freeze {
    fd: c_int,
}

/// Keeps `bytes` at `path` instead of what is there, at one blow.
///
/// # Errors
/// The kernel refuses.
pub fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let all = [&(bytes.len() as u64).to_le_bytes()[..], bytes].concat();
    let pieces = all.chunks(PIECE).map(|chunk| {
        let mut piece = [0; PIECE];
        piece[..chunk.len()].copy_from_slice(chunk);
        piece
    });
    let mut create = Create {
        map_type: BPF_MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: PIECE as u32,
        max_entries: u32::try_from(all.len().div_ceil(PIECE)).map_err(io::Error::other)?,
        flags: 0,
        inner: 0,
        numa: 0,
        name: *b"sillon_applied\0\0",
    };
    // SAFETY: `create` is what this command reads.
    let fd = unsafe { bpf(BPF_MAP_CREATE, &mut create) }?;
    // SAFETY: the kernel has just made this descriptor for us.
    let fd = unsafe { OwnedFd::from_raw_fd(c_int::try_from(fd).map_err(io::Error::other)?) };
    let next = path.with_file_name("applied-next");
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    pin(&fd, &next)?;
    let mut map = opened(&next)?;
    batch::update(&mut map, (0..).zip(pieces))?;
    // SAFETY: `Freeze` is what this command reads.
    unsafe { bpf(BPF_MAP_FREEZE, &mut Freeze { fd: fd.as_raw_fd() }) }?;
    fs::rename(&next, path)
}

/// What is kept at `path`; none if nothing is.
///
/// # Errors
/// The kernel refuses, or it is something else.
pub fn kept(path: &Path) -> io::Result<Option<Vec<u8>>> {
    if !path.exists() {
        return Ok(None);
    }
    let pieces = batch::entries(&opened(path)?)?;
    let mut all: Vec<u8> = pieces.into_iter().flat_map(|(_, piece)| piece).collect();
    let length = all.first_chunk::<LENGTH>().map_or(0, |length| u64::from_le_bytes(*length));
    let end = usize::try_from(length).ok().and_then(|length| length.checked_add(LENGTH));
    let Some(end) = end.filter(|end| *end <= all.len()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is shorter than it says"));
    };
    all.truncate(end);
    Ok(Some(all.split_off(LENGTH)))
}

fn pin(fd: &OwnedFd, path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = Pin { path: name.as_ptr() as u64, fd: fd.as_raw_fd(), flags: 0 };
    // SAFETY: `attr` is what this command reads, and the name in it lives until the call is over.
    unsafe { bpf(BPF_OBJ_PIN, &mut attr) }.map(drop)
}

fn opened(path: &Path) -> io::Result<Array<MapData, Piece>> {
    let map = MapData::from_pin(path).and_then(Map::from_map_data).and_then(TryInto::try_into);
    map.map_err(|error: MapError| io::Error::other(error))
}
