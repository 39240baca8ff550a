//! A controller's own file: where its store is, where it listens, and who it is.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::Spanned;

use crate::{
    model::{ConfigErrors, Name},
    pki::TlsFiles,
    store::{EtcdTls, StoreUrl},
};

/// A controller's file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What it is called where controllers are told apart; something random if left out.
    pub name: Option<Name>,
    store: Spanned<StoreUrl>,
    /// The agents' listener.
    pub agents: ListenerConfig,
    /// The API's listener; none if left out.
    pub api: Option<ApiConfig>,
    /// What signs the audit log.
    pub audit: Option<AuditConfig>,
    tls: TlsConfig,
    etcd: Option<EtcdConfig>,
}

/// The files of TLS with etcd, which has nothing to do with the fabric's own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct EtcdConfig {
    ca: PathBuf,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    /// The name that the members' certificates have, if it is not that of the endpoint.
    server_name: Option<String>,
}

/// Where somebody is served.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    listen: Spanned<Vec<SocketAddr>>,
}

impl ListenerConfig {
    /// The addresses, of which there is one at least.
    pub fn listen(&self) -> &[SocketAddr] {
        self.listen.get_ref()
    }
}

/// Where the API is served.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    listen: Spanned<Vec<SocketAddr>>,
    /// A file of 32 random bytes, by which tags and places in streams are made. Controllers of one
    /// store have the same one. If it is left out, a controller makes its own, and what it
    /// gave out means nothing to another or after a restart.
    pub secret: Option<PathBuf>,
}

impl ApiConfig {
    pub fn listen(&self) -> &[SocketAddr] {
        self.listen.get_ref()
    }
}

/// What signs the audit log, as `sillon audit key` made it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    pub name: String,
    /// The key's file.
    pub key: PathBuf,
}

/// The files of TLS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsConfig {
    certificate: PathBuf,
    key: PathBuf,
    roots: Spanned<Vec<PathBuf>>,
    #[serde(default)]
    revocations: Vec<PathBuf>,
}

impl Config {
    /// Reads a file. Paths in it are relative to it.
    ///
    /// # Errors
    /// It can't be read, or something in it is wrong; with the place.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| {
            ConfigErrors::one(
                &name,
                "",
                None,
                format!("cannot be read: {error}"),
                Some("check the path"),
            )
        })?;
        let mut config = Self::parse(&name, &text)?;
        let directory = path.parent().unwrap_or(Path::new("."));
        let tls = &mut config.tls;
        let store = match config.store.get_mut() {
            StoreUrl::File(file) => Some(file),
            StoreUrl::Etcd { .. } => None,
        };
        let etcd = config.etcd.iter_mut().flat_map(|etcd| {
            [Some(&mut etcd.ca), etcd.certificate.as_mut(), etcd.key.as_mut()].into_iter().flatten()
        });
        let secret = config.api.as_mut().and_then(|api| api.secret.as_mut());
        let audit = config.audit.as_mut().map(|audit| &mut audit.key);
        let files = [&mut tls.certificate, &mut tls.key].into_iter().chain(store).chain(etcd);
        let lists = tls.roots.get_mut().iter_mut().chain(&mut tls.revocations);
        for file in files.chain(lists).chain(audit).chain(secret) {
            *file = directory.join(&*file);
        }
        Ok(config)
    }

    fn parse(name: &str, text: &str) -> Result<Self, ConfigErrors> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let help = "`sillon controller --help` shows a whole file";
            ConfigErrors::one(name, text, error.span(), error.message(), Some(help))
        })?;
        let lists = [
            (
                config.agents.listen.span(),
                config.agents.listen().is_empty(),
                "nobody can reach it here",
                "[\"0.0.0.0:7471\"]",
            ),
            (
                config.tls.roots.span(),
                config.tls.roots.get_ref().is_empty(),
                "nobody's certificate would be taken",
                "[\"ca.crt\"]",
            ),
        ];
        let with_tls = matches!(config.store.get_ref(), StoreUrl::Etcd { tls: true, .. });
        if with_tls && config.etcd.is_none() {
            let help = "add a part [etcd] with ca = \"etcd-ca.crt\", and certificate and key if \
                the members ask for them";
            let what = "etcds:// is spoken to with TLS: nothing says whom to trust".to_owned();
            return Err(ConfigErrors::one(name, text, Some(config.store.span()), what, Some(help)));
        }
        match lists.into_iter().find(|(_, is_empty, ..)| *is_empty) {
            None => Ok(config),
            Some((at, _, what, help)) => {
                let help = format!("write at least one, like {help}");
                Err(ConfigErrors::one(
                    name,
                    text,
                    Some(at),
                    format!("the list is empty: {what}"),
                    Some(&help),
                ))
            }
        }
    }

    /// Where the store is.
    pub fn store(&self) -> &StoreUrl {
        self.store.get_ref()
    }

    /// The files of TLS with etcd.
    pub fn etcd_tls(&self) -> Option<EtcdTls> {
        let EtcdConfig { ca, certificate, key, server_name } = self.etcd.clone()?;
        Some(EtcdTls { ca, identity: certificate.zip(key), server_name })
    }

    /// The files of TLS.
    pub fn tls(&self) -> TlsFiles {
        let TlsConfig { certificate, key, roots, revocations } = self.tls.clone();
        TlsFiles { certificate, key, roots: roots.into_inner(), revocations }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "store = \"fabric.db\"\n[agents]\nlisten = [\"127.0.0.1:7471\"]\n[tls]\n\
        certificate = \"c.crt\"\nkey = \"/k/c.key\"\nroots = [\"ca.crt\"]\n";

    #[test]
    fn paths_are_relative_to_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("controller.toml");
        fs::write(&path, WHOLE).unwrap();
        let config = Config::load(&path).unwrap();
        assert_eq!(config.store(), &StoreUrl::File(dir.path().join("fabric.db")));
        let tls = config.tls();
        assert_eq!((tls.key, tls.roots), ("/k/c.key".into(), vec![dir.path().join("ca.crt")]));
        let error = Config::load(&dir.path().join("none.toml")).unwrap_err().to_string();
        assert!(error.contains("none.toml: error: cannot be read"), "{error}");
    }

    #[test]
    fn the_store_may_be_in_etcd_with_files_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("controller.toml");
        let etcd = "[etcd]\nca = \"e.crt\"\ncertificate = \"me.crt\"\nkey = \"me.key\"\n";
        let text = WHOLE.replace("fabric.db", "etcds://one,two/f") + etcd;
        fs::write(&path, &text).unwrap();
        let config = Config::load(&path).unwrap();
        assert_eq!(config.store().to_string(), "etcds://one:2379,two:2379/f");
        let tls = config.etcd_tls().unwrap();
        assert_eq!(tls.ca, dir.path().join("e.crt"));
        assert_eq!(tls.identity, Some((dir.path().join("me.crt"), dir.path().join("me.key"))));
        for (from, to, place, what) in [
            (etcd, "", "c.toml:1:9", "whom to trust"),
            ("etcds:", "htcds:", "c.toml:1:9", "no kind of store"),
        ] {
            let error = Config::parse("c.toml", &text.replace(from, to)).unwrap_err().to_string();
            assert!(error.starts_with(place) && error.contains(what), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (from, to, place, what) in [
            ("store", "stroe", "c.toml:1:1", "stroe"),
            ("127.0.0.1:7471", "127.0.0.1", "c.toml:3:11", "socket address"),
            ("[\"127.0.0.1:7471\"]", "[]", "c.toml:3:10", "the list is empty"),
            ("[\"ca.crt\"]", "[]", "c.toml:7:9", "nobody's certificate"),
            ("key = \"/k/c.key\"\n", "", "c.toml:4:1", "key"),
            ("[tls]", "[tls", "c.toml:4:5", ""),
        ] {
            assert!(WHOLE.contains(from));
            let error = Config::parse("c.toml", &WHOLE.replace(from, to)).unwrap_err().to_string();
            assert!(error.starts_with(place) && error.contains(what), "{error}");
        }
    }
}
