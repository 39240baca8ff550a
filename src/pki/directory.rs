//! A CA in a directory: its files, written in an order in which a crash loses nothing.
//!
//! | file | |
//! | --- | --- |
//! | `ca.key` | the key; only its owner may read it |
//! | `ca.crt` | the certificate: what others have to trust |
//! | `index.json` | what was issued, and what of that was revoked |
//! | `crl.pem` | the revocation list, signed; made from the index |
//! | `lock` | held by the one command that may change anything |
//!
//! A certificate is in the index before anybody gets it, and a revocation is there before it is on
//! the list. So a crash can leave a certificate that nobody got, or a list that the next command
//! signs again, but never a certificate that can't be revoked.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rcgen::KeyPair;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    Index, PkiError, Record, Serial, Subject,
    authority::{Authority, Lifetime, Order, key_of_request, new_key},
};
use crate::{
    files::{self, Access, Existing},
    model::Name,
};

/// The most bytes of a certificate, a key or a request.
const LONGEST: u64 = 1 << 20;
/// The most bytes of an index: a million certificates fit.
const LONGEST_INDEX: u64 = 1 << 29;

/// A CA in a directory. Nobody else can change it while this value lives.
pub struct Directory {
    path: PathBuf,
    authority: Authority,
    index: Index,
    /// Released when the file is closed.
    _lock: File,
}

/// A certificate that is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What it is for.
    pub subject: Subject,
    /// DNS names and addresses, for a controller.
    pub names: Vec<String>,
    /// How long it lives, unless as usual.
    pub lifetime: Option<Lifetime>,
    /// A request (PEM) that brings the key; without one, a key is made.
    pub request: Option<String>,
}

/// A certificate that was issued.
#[derive(Debug)]
pub struct Delivered {
    /// The certificate, as PEM.
    pub certificate: String,
    /// Its key, as PEM, if it was made here.
    pub key: Option<String>,
    /// What the index has of it.
    pub record: Record,
}

/// Which certificates are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The one with this serial number.
    Serial(Serial),
    /// The one in this file.
    File(PathBuf),
    /// All of a subject that are still valid.
    Subject(Subject),
}

impl Directory {
    /// Makes a new CA.
    ///
    /// # Errors
    /// Fails if there is one already, or if it can't be written.
    pub fn init(
        path: &Path,
        fabric: &Name,
        now: Timestamp,
        lifetime: Lifetime,
    ) -> Result<Self, PkiError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(PkiError::file(path))?;
        let lock = lock(path)?;
        for name in ["ca.key", "ca.crt", "index.json"] {
            refuse_to_overwrite(&path.join(name), "give another directory for a new CA")?;
        }
        let (authority, certificate, key) = Authority::create(fabric, now, lifetime)?;
        write(&path.join("ca.key"), &key, Access::Private, Existing::Keep)?;
        write(&path.join("ca.crt"), &certificate, Access::Public, Existing::Keep)?;
        let mut made =
            Self { path: path.to_owned(), authority, index: Index::default(), _lock: lock };
        made.publish(now)?;
        Ok(made)
    }

    /// Opens a CA, once nobody else has it open.
    ///
    /// # Errors
    /// Fails if there is none, if it can't be read, or if its files don't fit each other.
    pub fn open(path: &Path) -> Result<Self, PkiError> {
        let (certificate_path, key_path, index_path) =
            (path.join("ca.crt"), path.join("ca.key"), path.join("index.json"));
        match fs::metadata(&certificate_path) {
            Ok(_) => {}
            // Only what is surely missing is said to be; else the reason is told.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let what = if path.exists() { "has no CA in it" } else { "is not there" };
                let help = "make one with `sillon pki init`, or say with --dir where it is";
                return Err(PkiError::wrong(format_args!("{} {what}", path.display()), help));
            }
            Err(error) => return Err(PkiError::file(&certificate_path)(error)),
        }
        let lock = lock(path)?;
        let certificate = read_certificate(&certificate_path)?;
        let key = KeyPair::from_pem(&read(&key_path, LONGEST)?)
            .map_err(|error| PkiError::content(&key_path, error))?;
        let authority = Authority::new(certificate, key)
            .map_err(|error| PkiError::content(&certificate_path, error))?;
        let index = serde_json::from_str(&read(&index_path, LONGEST_INDEX)?)
            .map_err(|error| PkiError::content(&index_path, error))?;
        Ok(Self { path: path.to_owned(), authority, index, _lock: lock })
    }

    /// Returns what was issued.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Returns what signs.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns the path of the revocation list.
    pub fn revocation_list(&self) -> PathBuf {
        self.path.join("crl.pem")
    }

    /// Issues a certificate. Nobody has it until the caller writes it somewhere.
    ///
    /// # Errors
    /// Fails if what is asked for is impossible, or if the index can't be written.
    pub fn issue(&mut self, wanted: &Wanted, now: Timestamp) -> Result<Delivered, PkiError> {
        let lifetime = wanted.lifetime.unwrap_or_else(|| Lifetime::of(&wanted.subject));
        let order = Order { subject: &wanted.subject, names: &wanted.names, now, lifetime };
        let (certificate, record, key) = if let Some(request) = &wanted.request {
            let (certificate, record) = self.authority.issue(&order, &key_of_request(request)?)?;
            (certificate, record, None)
        } else {
            let key = new_key()?;
            let (certificate, record) = self.authority.issue(&order, &key)?;
            (certificate, record, Some(key.serialize_pem()))
        };
        self.index.issued.push(record.clone());
        self.publish(now)?;
        Ok(Delivered { certificate, key, record })
    }

    /// Issues a successor of a certificate, with the same lifetime. The old one stays valid until
    /// it expires.
    ///
    /// # Errors
    /// Fails as [`Self::issue`] does, and if the old one is of another CA or was revoked.
    pub fn renew(
        &mut self,
        certificate: &Path,
        lifetime: Option<Lifetime>,
        request: Option<String>,
        now: Timestamp,
    ) -> Result<Delivered, PkiError> {
        let old = self.record(certificate)?;
        if let Some(when) = old.revoked {
            return Err(PkiError::wrong(
                format_args!("{} was revoked at {when}", certificate.display()),
                "issue a new one, if its owner may still have one",
            ));
        }
        let lifetime = Some(lifetime.unwrap_or(Lifetime(old.lifetime())));
        let wanted =
            Wanted { subject: old.subject.clone(), names: old.names.clone(), lifetime, request };
        self.issue(&wanted, now)
    }

    /// Returns the record of the certificate in a file.
    ///
    /// # Errors
    /// Fails if the file can't be read, or is of another CA.
    pub fn record(&self, certificate: &Path) -> Result<&Record, PkiError> {
        let serial = self.serial_of(certificate)?;
        self.index.get(&serial).ok_or_else(|| {
            PkiError::content(
                certificate,
                format_args!(
                    "{serial} is not in this CA's index; was the index restored from a backup?"
                ),
            )
        })
    }

    /// Revokes certificates, and returns those that were not revoked before. The list is always
    /// signed again.
    ///
    /// # Errors
    /// Fails if none was issued so, or if the index or the list can't be written.
    pub fn revoke(&mut self, which: &Which, now: Timestamp) -> Result<Vec<Record>, PkiError> {
        let revoked = match which {
            Which::Subject(subject) => {
                if !self.index.issued.iter().any(|record| record.subject == *subject) {
                    return Err(PkiError::wrong(
                        format_args!("nothing was issued to {subject}"),
                        "`sillon pki show` says what was issued",
                    ));
                }
                self.index.revoke(now, |record| record.subject == *subject && record.is_live(now))
            }
            Which::Serial(serial) => self.revoke_serial(&serial.clone(), now)?,
            Which::File(path) => {
                let serial = self.serial_of(path)?;
                self.revoke_serial(&serial, now)?
            }
        };
        self.publish(now)?;
        Ok(revoked)
    }

    /// Signs the revocation list again.
    ///
    /// # Errors
    /// Fails if it can't be written.
    pub fn publish(&mut self, now: Timestamp) -> Result<(), PkiError> {
        self.index.list += 1;
        let path = self.path.join("index.json");
        let text =
            serde_json::to_string(&self.index).map_err(|error| PkiError::content(&path, error))?;
        write(&path, &text, Access::Private, Existing::Replace)?;
        let list = self.authority.revocations(self.index.list, &self.index.issued, now)?;
        write(&self.revocation_list(), &list, Access::Public, Existing::Replace)
    }

    fn revoke_serial(&mut self, serial: &Serial, now: Timestamp) -> Result<Vec<Record>, PkiError> {
        if self.index.get(serial).is_none() {
            return Err(PkiError::wrong(
                format_args!("{serial} was not issued by this CA"),
                "`sillon pki show` says what was",
            ));
        }
        Ok(self.index.revoke(now, |record| record.serial == *serial))
    }

    fn serial_of(&self, path: &Path) -> Result<Serial, PkiError> {
        let certificate = read_certificate(path)?;
        let (_, parsed) = X509Certificate::from_der(&certificate)
            .map_err(|error| PkiError::content(path, error))?;
        let own = self.authority.certificate();
        let (_, own) =
            X509Certificate::from_der(own).map_err(|error| PkiError::content(path, error))?;
        if parsed.issuer().as_raw() != own.subject().as_raw() {
            return Err(PkiError::content(
                path,
                format_args!(
                    "it was issued by {}, and this CA is {}",
                    parsed.issuer(),
                    own.subject()
                ),
            ));
        }
        Ok(Serial::from_bytes(&parsed.tbs_certificate.serial.to_bytes_be()))
    }
}

impl Delivered {
    /// Writes certificate and key to new files.
    ///
    /// # Errors
    /// Fails if a file is there already, or can't be written.
    pub fn write_new(&self, certificate: &Path, key: &Path) -> Result<(), PkiError> {
        self.write(certificate, key, Existing::Keep)
    }

    /// Replaces certificate and key, the key first. A daemon that reads them in between finds that
    /// they don't fit, keeps what it had, and looks again.
    ///
    /// # Errors
    /// Fails if they can't be written.
    pub fn replace(&self, certificate: &Path, key: &Path) -> Result<(), PkiError> {
        self.write(certificate, key, Existing::Replace)
    }

    fn write(&self, certificate: &Path, key: &Path, existing: Existing) -> Result<(), PkiError> {
        if let Some(text) = &self.key {
            write(key, text, Access::Private, existing)?;
        }
        write(certificate, &self.certificate, Access::Public, existing)
    }
}

/// Checks that a file is not there, before anything is done.
///
/// # Errors
/// Fails if it is there, or if nobody can tell.
pub(crate) fn refuse_to_overwrite(path: &Path, help: &'static str) -> Result<(), PkiError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(PkiError::Exists { path: path.to_owned(), help }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(PkiError::file(path)(error)),
    }
}

/// Reads a request, of a sensible length.
///
/// # Errors
/// Fails if it can't be read.
pub(crate) fn read_request(path: &Path) -> Result<String, PkiError> {
    read(path, LONGEST)
}

/// Writes a request and its key to new files.
///
/// # Errors
/// Fails if a file is there already, or can't be written.
pub(crate) fn write_request(
    csr: &Path,
    request: &str,
    key: &Path,
    secret: &str,
) -> Result<(), PkiError> {
    write(key, secret, Access::Private, Existing::Keep)?;
    write(csr, request, Access::Public, Existing::Keep)
}

fn write(path: &Path, text: &str, access: Access, existing: Existing) -> Result<(), PkiError> {
    files::write(path, text.as_bytes(), access, existing).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            return PkiError::Exists { path: path.to_owned(), help: "move it away first" };
        }
        PkiError::file(path)(error)
    })
}

fn read(path: &Path, most: u64) -> Result<String, PkiError> {
    let bytes = files::read(path, most).map_err(PkiError::file(path))?;
    String::from_utf8(bytes).map_err(|_| PkiError::content(path, "it is not text; give PEM"))
}

fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, PkiError> {
    let text = read(path, LONGEST)?;
    CertificateDer::from_pem_slice(text.as_bytes()).map_err(|error| {
        PkiError::content(path, format_args!("there is no certificate in it: {error}"))
    })
}

fn lock(path: &Path) -> Result<File, PkiError> {
    let path = path.join("lock");
    let file =
        File::options().create(true).append(true).open(&path).map_err(PkiError::file(&path))?;
    file.lock().map_err(PkiError::file(&path))?;
    Ok(file)
}
