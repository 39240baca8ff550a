//! Certificates: the fabric's own CA, and TLS with certificates of any CA.
//!
//! - [`Directory`] is the CA in a directory: its key, its certificate, an index of what it issued,
//!   and its revocation list. The decisions are made in [`Authority`] and [`Index`], which touch no
//!   file.
//! - [`Tls`] is the other side: it accepts certificates of every root in its bundle, whoever runs
//!   that root. It does not assume our CA. A certificate needs the URI of an identity (see
//!   [`crate::identity`]), and a revocation list of its issuer if there are any lists at all.
//!
//! Keys are ECDSA on P-256 with SHA-256. rustls and rcgen (both by ring) would take Ed25519, too,
//! but not every HSM, browser and TLS library of operators does. A request may bring a key of any
//! kind that ring verifies.
//!
//! Certificates live days, not years: a node's 7, all others 30. They are renewed after two thirds
//! of that, so that a controller that is away for two days locks out no node.
#![forbid(unsafe_code)]

mod authority;
mod directory;
mod index;
mod material;
mod subject;
mod tls;

pub use authority::{Authority, Lifetime, new_request};
pub use directory::{Delivered, Directory, Wanted, Which};
pub(crate) use directory::{read_request, refuse_to_overwrite, write_request};
pub use index::{Index, Record, Serial, Standing};
pub(crate) use material::refuse_if_open_to_all;
pub use material::{TlsError, TlsFiles};
pub use subject::Subject;
pub use tls::{HTTP, Tls};

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::model::InvalidValue;

/// Why the CA could not do something.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file can't be read or written.
    #[error("{}: {error}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is in the way.
    #[error("{} is there already and is not overwritten; {help}", .path.display())]
    Exists {
        /// Which.
        path: PathBuf,
        /// What to do.
        help: &'static str,
    },
    /// A file is not what it should be.
    #[error("{}: {what}", .path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// What was asked for is impossible.
    #[error("{0} ({help})", help = .0.help())]
    Wrong(#[from] InvalidValue),
    /// Making or signing it failed.
    #[error("the certificate can't be made: {0}")]
    Make(#[from] rcgen::Error),
    /// The system gave no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

impl PkiError {
    /// Whether the input is wrong, and not the machine.
    pub fn is_wrong_input(&self) -> bool {
        matches!(self, Self::Wrong(_) | Self::Exists { .. })
    }

    fn wrong(problem: impl std::fmt::Display, help: impl std::fmt::Display) -> Self {
        Self::Wrong(InvalidValue::new(problem, help))
    }

    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::File { path, error }
    }

    fn content(path: &Path, what: impl std::fmt::Display) -> Self {
        Self::Content { path: path.to_owned(), what: what.to_string() }
    }
}
