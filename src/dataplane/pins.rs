//! Where a node's state hangs under its bpffs directory: `DIR/v<ABI>/maps/NAME`,
//! `DIR/v<ABI>/links/KIND-IFINDEX` and `DIR/v<ABI>/applied`.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};
use sillon_abi::ABI_VERSION;

use super::DataplaneError;

/// Where nodes are, unless told otherwise.
pub const DEFAULT_ROOT: &str = "/sys/fs/bpf/sillon";

/// A node's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    root: PathBuf,
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> DataplaneError {
    let path = path.to_owned();
    move |source| DataplaneError::Io { path, source }
}

impl Pins {
    /// The node whose state is in `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The node of this name in the default place. bpffs allows no dots in names.
    pub fn of_node(name: &str) -> Self {
        Self::at(Path::new(DEFAULT_ROOT).join(name.replace('.', ":")))
    }

    /// The nodes that have state in the default place.
    pub fn all() -> Vec<Self> {
        let nodes = fs::read_dir(DEFAULT_ROOT).into_iter().flatten().flatten();
        nodes.map(|node| Self::at(node.path())).filter(Self::exists).collect()
    }

    /// The node's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn version(&self) -> PathBuf {
        self.root.join(format!("v{ABI_VERSION}"))
    }

    /// Of the maps.
    pub fn maps(&self) -> PathBuf {
        self.version().join("maps")
    }

    /// Of the links.
    pub fn links(&self) -> PathBuf {
        self.version().join("links")
    }

    /// The devices on which a node of any version has links.
    pub fn ifindexes(&self) -> BTreeSet<u32> {
        let versions = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let links = versions
            .flat_map(|version| fs::read_dir(version.path().join("links")).into_iter().flatten());
        let ifindex = |name: &str| name.rsplit_once('-')?.1.parse().ok();
        links.flatten().filter_map(|link| ifindex(&link.file_name().to_string_lossy())).collect()
    }

    /// Of what was applied: see [`super::applied`].
    pub fn applied(&self) -> PathBuf {
        self.version().join("applied")
    }

    /// Whether a node of this version has state here.
    pub fn exists(&self) -> bool {
        self.maps().join(sillon_abi::map::NODE).exists()
    }

    /// The node's name, as far as the place tells it.
    pub fn name(&self) -> String {
        self.root.file_name().unwrap_or_default().to_string_lossy().replace(':', ".")
    }

    /// Makes the node's directory if it is not there, and keeps everybody else from changing it for
    /// as long as the lock lives.
    ///
    /// # Errors
    /// There is no bpffs, or an agent runs.
    pub fn lock(&self) -> Result<Flock<File>, DataplaneError> {
        self.refuse_other_file_systems()?;
        fs::create_dir_all(&self.root).map_err(io_at(&self.root))?;
        let directory = File::open(&self.root).map_err(io_at(&self.root))?;
        Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => DataplaneError::Busy { path: self.root.clone() },
            errno => io_at(&self.root)(errno.into()),
        })
    }

    fn refuse_other_file_systems(&self) -> Result<(), DataplaneError> {
        let existing = self.root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let is_bpffs = statfs(existing).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC);
        if is_bpffs { Ok(()) } else { Err(DataplaneError::NoBpffs { path: self.root.clone() }) }
    }

    /// Makes the directories.
    ///
    /// # Errors
    /// Another version of Sillon left its state here.
    pub fn create(&self) -> Result<(), DataplaneError> {
        self.refuse_other_versions()?;
        for directory in [self.maps(), self.links()] {
            fs::create_dir_all(&directory).map_err(io_at(&directory))?;
        }
        Ok(())
    }

    fn refuse_other_versions(&self) -> Result<(), DataplaneError> {
        let ours = format!("v{ABI_VERSION}");
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        match names.find(|name| *name != ours) {
            Some(found) => {
                Err(DataplaneError::OtherVersion { path: self.root.clone(), found, ours })
            }
            None => Ok(()),
        }
    }

    /// Removes everything, of whatever version; links go first, so that no program runs without its
    /// maps' owner.
    ///
    /// # Errors
    /// A file can't be removed.
    pub fn remove(&self) -> Result<(), DataplaneError> {
        for version in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            for part in ["links", "maps"] {
                remove_tree(&version.path().join(part))?;
            }
        }
        remove_tree(&self.root)
    }
}

fn remove_tree(path: &Path) -> Result<(), DataplaneError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_at(path)(error)),
        _ => Ok(()),
    }
}
