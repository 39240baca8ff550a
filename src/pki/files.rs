//! Files that are there whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Its owner alone.
    Private,
    /// Everybody.
    Public,
}

/// What becomes of a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// It stays, and nothing is written.
    Keep,
    /// It is replaced in one step.
    Replace,
}

/// Writes a file so that whoever looks, also after a crash, sees the old one or the new one, and
/// never a part.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] with [`Existing::Keep`] if there is one.
pub(crate) fn write(
    path: &Path,
    bytes: &[u8],
    access: Access,
    existing: Existing,
) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let temporary = temporary(path)?;
    let done = fill(&temporary, bytes, access).and_then(|()| match existing {
        Existing::Replace => fs::rename(&temporary, path),
        // Unlike a rename, a link fails if there is something, also if it came just now.
        Existing::Keep => fs::hard_link(&temporary, path),
    });
    if done.is_err() || existing == Existing::Keep {
        // Only litter if it fails.
        let _ = fs::remove_file(&temporary);
    }
    done?;
    File::open(directory)?.sync_all()
}

/// Reads a file that must not be longer than `most`.
///
/// # Errors
/// Also if it is longer.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is longer than {most} bytes"),
        ));
    }
    Ok(bytes)
}

/// Beside the file, so that it is in the same file system; hidden, and of this process.
fn temporary(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.{:08x}", std::process::id(), fastrand::u32(..)));
    Ok(path.with_file_name(hidden))
}

fn fill(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let mode = match access {
        Access::Private => 0o600,
        Access::Public => 0o644,
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_only_if_that_is_wanted_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, b"one", Access::Private, Existing::Keep).unwrap();
        let error = write(&path, b"two", Access::Public, Existing::Keep).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        write(&path, b"three", Access::Private, Existing::Replace).unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"three");
        assert_eq!(read(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
