//! What TLS needs, read from files: all of it, and all of it valid, or nothing.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use crate::files;

/// Certificates, keys and bundles.
const LONGEST: u64 = 4 << 20;
/// Revocation lists.
const LONGEST_LIST: u64 = 64 << 20;

/// Where it is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The own certificate and its chain up to a root, as PEM.
    pub certificate: PathBuf,
    /// Its key, as PEM; may be the same file.
    pub key: PathBuf,
    /// Certificates of the CAs that are trusted, as PEM; several in a file, or several files,
    /// while one follows another.
    pub roots: Vec<PathBuf>,
    /// Revocation lists, as PEM. If there are any, there must be one of every CA whose
    /// certificates shall be taken.
    pub revocations: Vec<PathBuf>,
}

/// Why the files can't be used: TLS doesn't start, or goes on with what it had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{}: {error}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {what}", .path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// The files don't fit each other.
    #[error("{0}")]
    Together(String),
}

impl TlsError {
    fn content(path: &Path, what: impl std::fmt::Display) -> Self {
        Self::Content { path: path.to_owned(), what: what.to_string() }
    }
}

/// What was read.
#[derive(Debug)]
pub(super) struct Material {
    pub own: Arc<CertifiedKey>,
    /// When the own certificate begins and ends.
    pub valid: (Timestamp, Timestamp),
    pub clients: Arc<dyn ClientCertVerifier>,
    pub servers: Arc<dyn ServerCertVerifier>,
    /// Warnings: it works, and somebody should know.
    pub warnings: Vec<String>,
}

/// Tells whether a file has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<OneStamp>>);

/// Device, inode, size, and change time in seconds and nanoseconds.
type OneStamp = (u64, u64, u64, i64, i64);

impl TlsFiles {
    /// Takes the stamps before the files are read, so that a change in between is noticed later.
    pub(super) fn stamp(&self) -> Stamp {
        let one = |path: &PathBuf| {
            let is = fs::metadata(path).ok()?;
            // The change time moves with every write and rename, whatever a modification time is
            // set to.
            Some((is.dev(), is.ino(), is.size(), is.ctime(), is.ctime_nsec()))
        };
        let both = [&self.certificate, &self.key];
        Stamp(both.into_iter().chain(&self.roots).chain(&self.revocations).map(one).collect())
    }

    /// Reads and checks all of them.
    pub(super) fn read(
        &self,
        provider: &Arc<CryptoProvider>,
        now: Timestamp,
    ) -> Result<Material, TlsError> {
        let (own, valid) = self.own(provider)?;
        let (roots, mut warnings) = self.roots()?;
        let mut lists = Vec::new();
        for path in &self.revocations {
            lists.extend(list::<CertificateRevocationListDer<'static>>(
                path,
                LONGEST_LIST,
                "revocation list",
            )?);
        }
        warnings.extend(self.warn_of_lists(&lists, now)?);
        let together =
            |error: rustls::server::VerifierBuilderError| TlsError::Together(error.to_string());
        let store = Arc::new(roots);
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&store), Arc::clone(provider))
                .with_crls(lists.iter().cloned())
                .build()
                .map_err(together)?;
        let servers = WebPkiServerVerifier::builder_with_provider(store, Arc::clone(provider))
            .with_crls(lists)
            .build()
            .map_err(together)?;
        if now > valid.1 || now < valid.0 {
            warnings.push(format!(
                "{} is valid from {} to {}, and now it is {now}",
                self.certificate.display(),
                valid.0,
                valid.1
            ));
        }
        Ok(Material { own, valid, clients, servers, warnings })
    }

    fn own(
        &self,
        provider: &CryptoProvider,
    ) -> Result<(Arc<CertifiedKey>, (Timestamp, Timestamp)), TlsError> {
        let chain: Vec<CertificateDer<'static>> = list(&self.certificate, LONGEST, "certificate")?;
        let valid = chain.first().map(|first| validity(&self.certificate, first)).transpose()?;
        let valid = valid
            .ok_or_else(|| TlsError::content(&self.certificate, "there is no certificate in it"))?;
        refuse_if_open_to_all(&self.key)?;
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key, LONGEST)?).map_err(|error| {
            TlsError::content(&self.key, format_args!("there is no key in it: {error}"))
        })?;
        let own = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
            let certificate = self.certificate.display();
            TlsError::content(
                &self.key,
                format_args!(
                    "{error}; it has to be the key of the first certificate in {certificate}"
                ),
            )
        })?;
        Ok((Arc::new(own), valid))
    }

    fn roots(&self) -> Result<(RootCertStore, Vec<String>), TlsError> {
        let mut store = RootCertStore::empty();
        let mut warnings = Vec::new();
        for path in &self.roots {
            for root in list::<CertificateDer<'static>>(path, LONGEST, "CA certificate")? {
                let parsed = X509Certificate::from_der(&root);
                let (_, parsed) = parsed.map_err(|error| TlsError::content(path, error))?;
                if !parsed.is_ca() {
                    let what =
                        format!("{} is not a CA; give the CA's certificate", parsed.subject());
                    return Err(TlsError::content(path, what));
                }
                // An anchor's own time is not looked at when it is trusted (RFC 5280 section 6.1.1
                // d).
                let (_, end) = validity(path, &root)?;
                if end < Timestamp::now() {
                    warnings.push(format!(
                        "{}: {} ended at {end}",
                        path.display(),
                        parsed.subject()
                    ));
                }
                store.add(root.clone()).map_err(|error| TlsError::content(path, error))?;
            }
        }
        if store.is_empty() {
            return Err(TlsError::Together(
                "no CA is trusted, so nobody could get in; give a CA's certificate".to_owned(),
            ));
        }
        Ok((store, warnings))
    }

    /// Makes the verifier. A list that is past its time is still taken: forgetting to sign a new
    /// one must not lock everybody out. If there are lists but none of a root, certificates of that
    /// root are refused.
    fn warn_of_lists(
        &self,
        lists: &[CertificateRevocationListDer<'static>],
        now: Timestamp,
    ) -> Result<Vec<String>, TlsError> {
        let mut warnings = Vec::new();
        let mut issuers = Vec::new();
        for list in lists {
            let parsed = CertificateRevocationList::from_der(list);
            let (_, parsed) = parsed
                .map_err(|error| TlsError::Together(format!("a revocation list: {error}")))?;
            let next =
                parsed.next_update().and_then(|next| Timestamp::from_second(next.timestamp()).ok());
            if next.is_some_and(|next| next < now) {
                warnings.push(format!(
                    "the revocation list of {} is out of date; make a new one",
                    parsed.issuer()
                ));
            }
            issuers.push(parsed.issuer().as_raw().to_vec());
        }
        if lists.is_empty() {
            return Ok(warnings);
        }
        for path in &self.roots {
            for root in list::<CertificateDer<'static>>(path, LONGEST, "CA certificate")? {
                let parsed = X509Certificate::from_der(&root);
                let (_, parsed) = parsed.map_err(|error| TlsError::content(path, error))?;
                if !issuers.iter().any(|issuer| issuer == parsed.subject().as_raw()) {
                    warnings.push(format!(
                        "there are revocation lists, but none of {}: whom it vouches for is \
                         refused",
                        parsed.subject()
                    ));
                }
            }
        }
        Ok(warnings)
    }
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, TlsError> {
    files::read(path, most).map_err(|error| TlsError::File { path: path.to_owned(), error })
}

/// Reads all items of a kind from a file; there must be one.
fn list<T: PemObject>(path: &Path, most: u64, what: &str) -> Result<Vec<T>, TlsError> {
    let bytes = read(path, most)?;
    let items: Result<Vec<T>, pem::Error> = T::pem_slice_iter(&bytes).collect();
    let items =
        items.map_err(|error| TlsError::content(path, format_args!("{error}; give PEM")))?;
    if items.is_empty() {
        return Err(TlsError::content(path, format_args!("there is no {what} in it; give PEM")));
    }
    Ok(items)
}

fn validity(
    path: &Path,
    certificate: &CertificateDer<'_>,
) -> Result<(Timestamp, Timestamp), TlsError> {
    let parsed = X509Certificate::from_der(certificate);
    let (_, parsed) = parsed.map_err(|error| TlsError::content(path, error))?;
    let time = |time: x509_parser::time::ASN1Time| {
        Timestamp::from_second(time.timestamp()).map_err(|error| TlsError::content(path, error))
    };
    Ok((time(parsed.validity().not_before)?, time(parsed.validity().not_after)?))
}

/// Refuses a key, or another secret, that everybody on this machine may read or write.
///
/// # Errors
/// Fails if everybody may, or if it is not there.
pub(crate) fn refuse_if_open_to_all(secret: &Path) -> Result<(), TlsError> {
    let is =
        fs::metadata(secret).map_err(|error| TlsError::File { path: secret.to_owned(), error })?;
    if is.mode() & 0o007 != 0 {
        let what = "everybody on this machine may use this key; run chmod o= on it, and better \
            make a new one";
        return Err(TlsError::content(secret, what));
    }
    Ok(())
}
