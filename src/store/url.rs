//! Where a store is, as a person writes it, and a store of whichever kind is there.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use serde::Deserialize;

use super::{
    Batch, Commit, Embedded, Etcd, EtcdOptions, EtcdTls, Existing, Leadership, Progress, Snapshot,
    Store, StoreError, Version,
};

/// The port of an endpoint that is given without one.
const PORT: &str = "2379";

/// `FILE`, or `etcd://HOST[:PORT][,HOST[:PORT]…][/PREFIX]`; `etcds://` with TLS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum StoreUrl {
    /// The embedded store.
    File(PathBuf),
    /// etcd.
    Etcd {
        /// `HOST:PORT` of each member.
        endpoints: Vec<String>,
        /// Below which everything is.
        prefix: String,
        /// Whether it is spoken to with TLS.
        tls: bool,
    },
}

/// Why a text is no URL of a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; write a FILE, or etcd://HOST:PORT,HOST:PORT/PREFIX (etcds:// with TLS)")]
pub struct InvalidStoreUrl(String);

impl TryFrom<String> for StoreUrl {
    type Error = InvalidStoreUrl;

    fn try_from(text: String) -> Result<Self, InvalidStoreUrl> {
        text.parse()
    }
}

impl FromStr for StoreUrl {
    type Err = InvalidStoreUrl;

    fn from_str(text: &str) -> Result<Self, InvalidStoreUrl> {
        let (tls, rest) = match text.split_once("://") {
            Some(("etcd", rest)) => (false, rest),
            Some(("etcds", rest)) => (true, rest),
            Some((scheme, _)) => {
                return Err(InvalidStoreUrl(format!("{scheme:?} is no kind of store")));
            }
            None if text.is_empty() => return Err(InvalidStoreUrl("no store is named".to_owned())),
            None => return Ok(Self::File(text.into())),
        };
        let (hosts, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let endpoints = hosts.split(',').map(endpoint).collect::<Result<_, _>>()?;
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { EtcdOptions::PREFIX } else { prefix };
        Ok(Self::Etcd { endpoints, prefix: prefix.to_owned(), tls })
    }
}

fn endpoint(text: &str) -> Result<String, InvalidStoreUrl> {
    let wrong = || InvalidStoreUrl(format!("{text:?} is no HOST:PORT"));
    // An IPv6 address is in brackets, so that its colons are its own.
    let after = text.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match text[after..].find(':') {
        Some(at) => (&text[..after + at], &text[after + at + 1..]),
        None => (text, PORT),
    };
    let is_host =
        |host: &str| host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c));
    if host.is_empty() || !is_host(host) || !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(wrong());
    }
    Ok(format!("{host}:{port}"))
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Etcd { endpoints, prefix, tls } => {
                write!(f, "etcd{}://{}/{prefix}", if *tls { "s" } else { "" }, endpoints.join(","))
            }
        }
    }
}

/// A store that is one or the other.
#[derive(Debug)]
#[expect(missing_docs, reason = "the kinds are told where they are")]
pub enum AnyStore {
    Embedded(Embedded),
    Etcd(Etcd),
}

impl AnyStore {
    /// Opens what is there; a file that is not there is made. `tls` is for `etcds://`.
    ///
    /// # Errors
    /// Those of [`Embedded::open`] or [`Etcd::open`].
    pub async fn open(url: &StoreUrl, tls: Option<&EtcdTls>) -> Result<Self, StoreError> {
        match url {
            StoreUrl::File(path) => Embedded::open(path).map(Self::Embedded),
            StoreUrl::Etcd { .. } => Etcd::open(options(url, tls)?).await.map(Self::Etcd),
        }
    }

    /// Opens it with what was exported.
    ///
    /// # Errors
    /// It is not empty and `existing` says to refuse then, or as for [`Self::open`].
    pub async fn import(
        url: &StoreUrl,
        tls: Option<&EtcdTls>,
        snapshot: &Snapshot,
        existing: Existing,
        progress: &mut Progress<'_>,
    ) -> Result<Self, StoreError> {
        match url {
            StoreUrl::File(path) => Embedded::import(path, snapshot, existing).map(Self::Embedded),
            StoreUrl::Etcd { .. } => {
                Etcd::import(options(url, tls)?, snapshot, existing, progress).await.map(Self::Etcd)
            }
        }
    }
}

fn options(url: &StoreUrl, files: Option<&EtcdTls>) -> Result<EtcdOptions, StoreError> {
    let StoreUrl::Etcd { endpoints, prefix, tls } = url else {
        return Err(StoreError::Failed(format!("{url} is a file")));
    };
    if *tls && files.is_none() {
        return Err(StoreError::Failed(format!(
            "{url} is spoken to with TLS: say by which CA its certificates are signed"
        )));
    }
    let tls = files.filter(|_| *tls).cloned();
    Ok(EtcdOptions { prefix: prefix.clone(), tls, ..EtcdOptions::new(endpoints.iter().cloned()) })
}

impl Store for AnyStore {
    async fn snapshot_without(&self, prefix: &str) -> Result<Snapshot, StoreError> {
        match self {
            Self::Embedded(store) => store.snapshot_without(prefix).await,
            Self::Etcd(store) => store.snapshot_without(prefix).await,
        }
    }

    async fn version(&self) -> Result<Version, StoreError> {
        match self {
            Self::Embedded(store) => store.version().await,
            Self::Etcd(store) => store.version().await,
        }
    }

    async fn range(
        &self,
        from: &str,
        before: &str,
        bytes: usize,
    ) -> Result<Vec<(String, String)>, StoreError> {
        match self {
            Self::Embedded(store) => store.range(from, before, bytes).await,
            Self::Etcd(store) => store.range(from, before, bytes).await,
        }
    }

    async fn commit_all(&self, chain: Vec<Commit>) -> (usize, Option<StoreError>) {
        match self {
            Self::Embedded(store) => store.commit_all(chain).await,
            Self::Etcd(store) => store.commit_all(chain).await,
        }
    }

    fn is_one_process(&self) -> bool {
        match self {
            Self::Embedded(store) => store.is_one_process(),
            Self::Etcd(store) => store.is_one_process(),
        }
    }

    async fn after(&self, version: Version) -> Result<Vec<Batch>, StoreError> {
        match self {
            Self::Embedded(store) => store.after(version).await,
            Self::Etcd(store) => store.after(version).await,
        }
    }

    async fn lead(
        &self,
        name: &str,
        holder: &str,
        time: Duration,
    ) -> Result<Option<Leadership>, StoreError> {
        match self {
            Self::Embedded(store) => store.lead(name, holder, time).await,
            Self::Etcd(store) => store.lead(name, holder, time).await,
        }
    }

    async fn resign(&self, held: Leadership) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.resign(held).await,
            Self::Etcd(store) => store.resign(held).await,
        }
    }

    async fn compact(&self, until: Version) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.compact(until).await,
            Self::Etcd(store) => store.compact(until).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_or_endpoints_of_etcd() {
        let written = |text: &str| text.parse::<StoreUrl>().map(|url| url.to_string());
        for (text, read) in [
            ("/var/lib/sillon/store.db", "/var/lib/sillon/store.db"),
            ("a,b", "a,b"),
            ("etcd://one", "etcd://one:2379/sillon"),
            ("etcd://10.0.0.1:1,two.example/a/b/", "etcd://10.0.0.1:1,two.example:2379/a/b"),
            ("etcds://[fd00::1]:7,[fd00::2]/x", "etcds://[fd00::1]:7,[fd00::2]:2379/x"),
        ] {
            assert_eq!(written(text).as_deref(), Ok(read));
            assert_eq!(written(read).as_deref(), Ok(read));
        }
        for wrong in [
            "",
            "etcd://",
            "etcd://a,",
            "etcd://a:0",
            "etcd://a:b",
            "etcd://a b",
            "http://a:1",
            "etcd://a@b:1",
        ] {
            assert!(written(wrong).is_err(), "{wrong}");
        }
    }
}
