//! Clocks of single processes that jump.
//!
//! A network namespace has no clock of its own, and a time namespace only a monotonic one, which no
//! machine's jumps. So a process is started with Debian's `libfaketime` before its libc, which adds
//! what a file says to whatever `clock_gettime` and its likes answer. It is left out of what no
//! clock that is set wrong changes: the monotonic clock, timeouts, and times of files. etcd is no
//! such process: Go asks the kernel without a libc.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// How a process is told.
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    /// One that is right.
    pub fn new(file: PathBuf) -> Self {
        let clock = Self { file };
        clock.set("+0");
        clock
    }

    /// What is added, as `+3600` or `-1200`, in seconds. The process knows within a second.
    pub fn set(&self, what: &str) {
        // Whoever reads it must not find half of it.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{what}\n")).unwrap();
        fs::rename(&new, &self.file).unwrap();
    }

    /// What belongs into the process's environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        let all = [
            ("LD_PRELOAD", library().display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DISABLE_SHM", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn library() -> PathBuf {
    let architectures = fs::read_dir("/usr/lib").unwrap().filter_map(Result::ok);
    let mut all = architectures.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    all.find(|path| Path::exists(path))
        .expect("Debian's libfaketime is missing: `cargo xtask setup` installs it")
}
