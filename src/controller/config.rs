//! A controller's own file: where its store is, where it listens, and who it is.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::model::{ConfigErrors, Name};
use crate::pki::TlsFiles;

/// A controller's file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What it is called where controllers are told apart; something random if left out.
    pub name: Option<Name>,
    /// Where the store is.
    pub store: PathBuf,
    /// The agents' listener.
    pub agents: ListenerConfig,
    /// The API's listener; none if left out.
    pub api: Option<ApiConfig>,
    /// What signs the audit log.
    pub audit: Option<AuditConfig>,
    tls: TlsConfig,
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
    /// A file of 32 random bytes, by which tags and places in streams are made. Controllers of one store have the same one. If it is left out, a
    /// controller makes its own, and what it gave out means nothing to another or after a restart.
    pub secret: Option<PathBuf>,
}

impl ApiConfig {
    /// The addresses.
    pub fn listen(&self) -> &[SocketAddr] {
        self.listen.get_ref()
    }
}

/// What signs the audit log, as `sillon audit key` made it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// The log's name.
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
            ConfigErrors::one(&name, "", None, format!("cannot be read: {error}"), Some("check the path"))
        })?;
        let mut config = Self::parse(&name, &text)?;
        let directory = path.parent().unwrap_or(Path::new("."));
        let tls = &mut config.tls;
        let secret = config.api.as_mut().and_then(|api| api.secret.as_mut());
        let files = [&mut config.store, &mut tls.certificate, &mut tls.key].into_iter().chain(secret);
        let audit = config.audit.as_mut().map(|audit| &mut audit.key);
        for file in files.chain(tls.roots.get_mut()).chain(&mut tls.revocations).chain(audit) {
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

    /// The files of TLS.
    pub fn tls(&self) -> TlsFiles {
        let TlsConfig { certificate, key, roots, revocations } = self.tls.clone();
        TlsFiles { certificate, key, roots: roots.into_inner(), revocations }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "store = \"fabric.db\"\n[agents]\nlisten = [\"127.0.0.1:7471\"]\n[tls]\ncertificate = \"c.crt\"\nkey = \"/k/c.key\"\nroots = [\"ca.crt\"]\n";

    #[test]
    fn paths_are_relative_to_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("controller.toml");
        fs::write(&path, WHOLE).unwrap();
        let config = Config::load(&path).unwrap();
        assert_eq!(config.store, dir.path().join("fabric.db"));
        let tls = config.tls();
        assert_eq!((tls.key, tls.roots), ("/k/c.key".into(), vec![dir.path().join("ca.crt")]));
        let error = Config::load(&dir.path().join("none.toml")).unwrap_err().to_string();
        assert!(error.contains("none.toml: error: cannot be read"), "{error}");
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
