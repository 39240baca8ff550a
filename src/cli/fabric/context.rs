//! Contexts: which controller to ask, and with which certificate.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::{
    cli::{
        args::SetArgs,
        tables::{Sheet, text},
    },
    files::{self, Access, Existing},
    model::Name,
};

/// The file of contexts.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Contexts {
    /// Used if none is named.
    current: Option<String>,
    contexts: BTreeMap<String, Context>,
}

/// A controller, and the certificate to ask it with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// The controller's URL.
    server: String,
    /// The own certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The CAs that the controller's certificate may be of.
    pub ca: Vec<PathBuf>,
}

impl Context {
    /// Returns the controller's URL.
    pub fn url(&self) -> anyhow::Result<Url> {
        Url::parse(&self.server).with_context(|| format!("{:?} is no URL", self.server))
    }
}

/// Returns the path of the file.
pub fn path(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let set =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
    let config =
        config.context("HOME is not set; say where contexts are kept with --contexts FILE")?;
    Ok(config.join("sillon/contexts.toml"))
}

impl Contexts {
    /// Reads the file; a missing one is empty.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).with_context(|| format!("in {}", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// Replaces the file in one step.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        let text = toml::to_string(self)?;
        let write = || {
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory)?;
            }
            files::write(path, text.as_bytes(), Access::Private, Existing::Replace)
        };
        write().with_context(|| format!("writing {}", path.display()))
    }

    /// Returns the context of this name, or the current one.
    pub fn chosen(&self, asked: Option<&Name>, path: &Path) -> anyhow::Result<&Context> {
        let Some(name) = asked.map(Name::as_str).or(self.current.as_deref()) else {
            bail!("no context is chosen in {}; make one with `sillon context set`", path.display());
        };
        self.contexts
            .get(name)
            .with_context(|| format!("there is no context {name}{}", self.there_are()))
    }

    /// Makes a context the current one.
    pub fn choose(&mut self, name: &Name) -> anyhow::Result<()> {
        if !self.contexts.contains_key(name.as_str()) {
            bail!("there is no context {name}{}", self.there_are());
        }
        self.current = Some(name.to_string());
        Ok(())
    }

    /// Adds or replaces a context.
    pub fn set(&mut self, args: &SetArgs) -> anyhow::Result<()> {
        let server = &args.server;
        if server.scheme() != "https"
            || server.host_str().is_none()
            || !matches!(server.path(), "" | "/")
        {
            bail!("{server} is no controller; write https://HOST[:PORT]");
        }
        let here =
            |path: &PathBuf| std::path::absolute(path).with_context(|| path.display().to_string());
        let context = Context {
            server: server.to_string(),
            cert: here(&args.cert)?,
            key: here(&args.key)?,
            ca: args.ca.iter().map(here).collect::<Result<_, _>>()?,
        };
        self.contexts.insert(args.name.to_string(), context);
        self.current.get_or_insert_with(|| args.name.to_string());
        Ok(())
    }

    fn there_are(&self) -> String {
        let names: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
        if names.is_empty() { String::new() } else { format!(" (there are: {})", names.join(", ")) }
    }

    /// Writes a table for people.
    pub fn table(&self) -> String {
        let mut sheet = Sheet::new("Contexts", &["", "name", "server", "certificate"]);
        for (name, context) in &self.contexts {
            let mark = if self.current.as_deref() == Some(name) { "*" } else { "" };
            let row =
                [mark, name.as_str(), context.server.as_str(), &context.cert.display().to_string()];
            sheet.row(row.map(text).into());
        }
        sheet.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, server: &str) -> SetArgs {
        let name = name.parse().unwrap();
        SetArgs {
            name,
            server: server.parse().unwrap(),
            cert: "c".into(),
            key: "/k".into(),
            ca: vec!["a".into()],
        }
    }

    #[test]
    fn contexts_are_kept_and_chosen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/contexts.toml");
        let mut contexts = Contexts::load(&path).unwrap();
        contexts.chosen(None, &path).unwrap_err();
        contexts.set(&set("lab", "https://ctl:7470")).unwrap();
        contexts.set(&set("site", "https://[::1]:7470")).unwrap();
        contexts.set(&set("bad", "http://ctl")).unwrap_err();
        contexts.save(&path).unwrap();
        let mut again = Contexts::load(&path).unwrap();
        assert_eq!(again, contexts);
        assert_eq!(again.chosen(None, &path).unwrap().server, "https://ctl:7470/");
        assert!(again.chosen(None, &path).unwrap().cert.is_absolute());
        again.choose(&"site".parse().unwrap()).unwrap();
        assert_eq!(again.chosen(None, &path).unwrap().url().unwrap().host_str(), Some("[::1]"));
        let error = again.choose(&"none".parse().unwrap()).unwrap_err().to_string();
        assert_eq!(error, "there is no context none (there are: lab, site)");
        assert!(again.table().contains("*"));
    }
}
