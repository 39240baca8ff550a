//! Where `sillon audit` reads the log: a controller, or a file.

use std::{
    io::{BufReader, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use reqwest::Method;
use serde::Deserialize;
use tokio::runtime::Runtime;

use super::open;
use crate::{
    audit::{
        self, Checkpoint, Export, Growth, Hash, Item, Log, Proof, VerifierKey, is_visible,
        read_export,
    },
    cli::{
        args::LogFile,
        fabric::{Client, client},
    },
    identity::Identity,
    store::{self, Embedded, Store},
};

/// The first bytes of an SQLite file.
const SQLITE: &[u8] = b"SQLite format 3\0";
/// How many entries to ask for at once.
const PAGE: u64 = 1000;

/// Where the log is.
pub enum Source {
    /// A controller.
    Controller(Runtime, Client),
    /// The whole log, out of a file.
    File(PathBuf, Export),
}

/// A page of the API.
#[derive(Deserialize)]
struct Page {
    items: Vec<Line>,
    next: Option<u64>,
}

#[derive(Deserialize)]
struct Line {
    at: u64,
    text: Option<String>,
    commitment: Option<Hash>,
}

impl Source {
    /// Opens the one that the arguments name.
    pub fn new(args: &LogFile) -> anyhow::Result<Self> {
        if let Some(path) = &args.store {
            return Ok(Self::File(path.clone(), load(path)?));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(async { client(&args.connect) })?;
        Ok(Self::Controller(runtime, client))
    }

    /// Reads the newest checkpoint, in its text form.
    pub fn checkpoint(&self) -> anyhow::Result<String> {
        match self {
            Self::Controller(runtime, client) => {
                let request = client.request(Method::GET, &["audit", "checkpoint"], &[])?;
                runtime.block_on(async { Ok(client.response(request).await?.text().await?) })
            }
            Self::File(path, export) if export.checkpoint.is_empty() => {
                bail!("{} has no checkpoint: its controller has no key to sign one", path.display())
            }
            Self::File(_, export) => Ok(export.checkpoint.clone()),
        }
    }

    /// Reads the entries from an index on that the reader may see.
    pub fn entries(
        &self,
        reader: Option<&Identity>,
        from: u64,
    ) -> anyhow::Result<Vec<(u64, Item)>> {
        match self {
            Self::Controller(runtime, client) => runtime.block_on(pages(client, from, false)),
            Self::File(_, export) => {
                let reader = reader.unwrap_or(&Identity::Owner);
                let is_for_reader = |item: &Item| match item.leaf() {
                    Some(Ok(leaf)) => is_visible(&leaf.entry, reader),
                    // What can't be read is told, and not left out.
                    Some(Err(_)) => true,
                    None => false,
                };
                let all =
                    export.items.iter().filter(|(at, item)| *at >= from && is_for_reader(item));
                Ok(all.cloned().collect())
            }
        }
    }

    /// Reads the whole log, with hashes in place of what the reader may not see.
    pub fn export(self, reader: Option<&Identity>) -> anyhow::Result<Export> {
        match self {
            Self::Controller(ref runtime, ref client) => {
                let mut items = runtime.block_on(pages(client, 0, true))?;
                // The checkpoint may be of more by now: what has come meanwhile is asked for, until
                // both are of one moment.
                loop {
                    let checkpoint = self.checkpoint()?;
                    let size = usize::try_from(Checkpoint::own(&checkpoint)?.size())?;
                    if size <= items.len() {
                        items.truncate(size);
                        return Ok(Export { checkpoint, items });
                    }
                    items.extend(runtime.block_on(pages(client, items.len() as u64, true))?);
                }
            }
            Self::File(_, export) => Ok(export.for_reader(reader.unwrap_or(&Identity::Owner))),
        }
    }

    /// Makes a proof that an entry is in the log, and that the log has only grown since it had so
    /// many entries. A log in a file is verified first.
    pub fn proof(
        &self,
        entry: u64,
        since: u64,
        key: &VerifierKey,
        kept: Option<&Checkpoint>,
    ) -> anyhow::Result<Proof> {
        let (path, export) = match self {
            Self::Controller(runtime, client) => {
                let (entry, since) = (entry.to_string(), [("since", since.to_string())]);
                let request =
                    client.request(Method::GET, &["audit", "entries", &entry, "proof"], &since)?;
                return Ok(serde_json::from_value(runtime.block_on(client.ask(request))?)?);
            }
            Self::File(path, export) => (path, export),
        };
        let (log, checkpoint) = whole(path, export, key, kept)?;
        let found = usize::try_from(entry).ok().and_then(|entry| export.items.get(entry));
        let text = match found {
            Some((_, Item::Text(text))) => text,
            Some(_) => bail!("entry {entry} is not for you"),
            None => bail!("there are {} entries, numbered from 0", export.items.len()),
        };
        log.prove(entry, text, since, &checkpoint)
            .ok_or_else(|| anyhow!("the log has no proof of it"))
    }

    /// Makes a proof that the log has only grown since a checkpoint.
    pub fn growth(&self, key: &VerifierKey, kept: &Checkpoint) -> anyhow::Result<Growth> {
        match self {
            Self::Controller(runtime, client) => {
                let since = [("since", kept.size().to_string())];
                let request = client.request(Method::GET, &["audit", "growth"], &since)?;
                Ok(serde_json::from_value(runtime.block_on(client.ask(request))?)?)
            }
            Self::File(path, export) => {
                let (log, checkpoint) = whole(path, export, key, Some(kept))?;
                log.grown(kept.size(), &checkpoint)
                    .ok_or_else(|| anyhow!("the log has no proof of it"))
            }
        }
    }
}

fn whole(
    path: &Path,
    export: &Export,
    key: &VerifierKey,
    kept: Option<&Checkpoint>,
) -> anyhow::Result<(Log, Checkpoint)> {
    let kept: Vec<Checkpoint> = kept.into_iter().cloned().collect();
    if let Some(wrong) = audit::verify(export, key, &kept).first() {
        bail!("{}: {wrong}; nothing can be proven of it", path.display());
    }
    let log = Log::new(export.items.iter().map(|(_, item)| item.commitment()));
    Ok((log, key.open(&export.checkpoint)?))
}

/// Asks a controller for a page from an index on; with `whole`, also for others' commitments.
async fn pages(client: &Client, from: u64, whole: bool) -> anyhow::Result<Vec<(u64, Item)>> {
    let (mut all, mut next) = (Vec::new(), Some(from));
    while let Some(from) = next {
        let query =
            [("from", from.to_string()), ("limit", PAGE.to_string()), ("whole", whole.to_string())];
        let answer = client.ask(client.request(Method::GET, &["audit"], &query)?).await?;
        let page: Page = serde_json::from_value(answer).context("reading the answer")?;
        for Line { at, text, commitment } in page.items {
            let item = text.map(Item::Text).or(commitment.map(Item::Commitment));
            all.push((
                at,
                item.with_context(|| format!("entry {at} has neither text nor commitment"))?,
            ));
        }
        next = page.next;
    }
    Ok(all)
}

/// Reads a log from a store, an export of a store, or an export of the log.
pub fn load(path: &Path) -> anyhow::Result<Export> {
    let mut file = open(path)?;
    let mut start = Vec::new();
    (&mut file).take(64).read_to_end(&mut start)?;
    if start.starts_with(SQLITE) {
        drop(file);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let snapshot = Embedded::open(path)
            .and_then(|store| runtime.block_on(store.snapshot()))
            .with_context(|| {
                format!(
                    "{} (does a controller run on it? then export it from there)",
                    path.display()
                )
            })?;
        return Ok(audit::of_store(&snapshot)?);
    }
    let lines = BufReader::new(open(path)?);
    let wrong = |error: &dyn std::fmt::Display| anyhow!("{}: {error}", path.display());
    if start.starts_with(b"{\"sillon_store\"") {
        let snapshot = store::read_export(lines).map_err(|error| wrong(&error))?;
        return audit::of_store(&snapshot).map_err(|error| wrong(&error));
    }
    read_export(lines).map_err(|error| wrong(&error))
}
