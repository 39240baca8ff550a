//! `sillon store`: export, import, migrate and compact a controller's store.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use serde::Serialize;

use super::{
    Output,
    args::{CompactArgs, EtcdArgs, ExportArgs, ImportArgs, MigrateArgs, StoreArgs, StoreCommand},
    exit,
};
use crate::{
    files::{self, Access, NewFile},
    store::{
        AnyStore, EtcdTls, Existing, Snapshot, Store, StoreError, StoreUrl, Version, export,
        read_export,
    },
};

/// What stands for standard input and output.
const STANDARD: &str = "-";

/// Why it was not done.
enum Refused {
    /// What was asked is wrong as it is.
    Input(anyhow::Error),
    /// It could not be done.
    Failed(anyhow::Error),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

fn wrong<T>(what: String) -> Result<T, Refused> {
    Err(Refused::Input(anyhow::anyhow!(what)))
}

/// What was done, for people and programs.
#[derive(Serialize)]
struct Done {
    done: &'static str,
    store: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    version: Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<usize>,
}

/// Runs one of its commands.
pub fn run(args: &StoreArgs, output: Output) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (done, json) = match &args.command {
        StoreCommand::Export(args) => (runtime.block_on(export_to(args)), args.options.json),
        StoreCommand::Import(args) => (runtime.block_on(import_from(args)), args.options.json),
        StoreCommand::Compact(args) => (runtime.block_on(compact(args)), args.options.json),
        StoreCommand::Migrate(args) => (runtime.block_on(migrate(args)), args.options.json),
    };
    match done {
        // An export that goes to standard output is all that is said there.
        Ok(done) if done.to.as_deref() == Some(STANDARD) => output.complain(&done.sentence()),
        Ok(done) if json => output.say_json(&done)?,
        Ok(done) => output.say(&done.sentence())?,
        Err(Refused::Failed(error)) => return Err(error),
        Err(Refused::Input(error)) => {
            output.complain(&format!("error: {error:#}\n"));
            return Ok(exit::wrong_input());
        }
    }
    Ok(exit::DONE)
}

impl Done {
    fn sentence(&self) -> String {
        let Self { done, store, version, .. } = self;
        let entries = self.entries.map_or(String::new(), |count| format!(", {count} entries"));
        let to = self.to.as_ref().map_or(String::new(), |to| format!(" to {to}"));
        format!("{done} {store}{to}: version {}{entries}\n", version.0)
    }
}

async fn export_to(args: &ExportArgs) -> Result<Done, Refused> {
    // Whether the file is in the way is said before the store is read, which may take long.
    let standard = args.file.as_os_str() == STANDARD;
    let target = if standard { None } else { Some(target(&args.file, args.force)?) };
    let snapshot = read(&args.store, &args.options.etcd).await?;
    match target {
        None => export(&snapshot, BufWriter::new(io::stdout().lock()))
            .context("standard output")
            .map_err(Refused::Failed)?,
        Some(target) => fill(target, &snapshot)
            .with_context(|| args.file.display().to_string())
            .map_err(Refused::Failed)?,
    }
    Ok(Done {
        done: "exported",
        store: args.store.to_string(),
        to: Some(args.file.display().to_string()),
        version: snapshot.version,
        entries: Some(snapshot.entries.len()),
    })
}

async fn import_from(args: &ImportArgs) -> Result<Done, Refused> {
    let read = if args.file.as_os_str() == STANDARD {
        read_export(io::stdin().lock())
    } else {
        match File::open(&args.file) {
            Ok(file) => read_export(BufReader::new(file)),
            Err(error) => return wrong(format!("{}: {error}", args.file.display())),
        }
    };
    let snapshot = match read {
        Ok(snapshot) => snapshot,
        Err(error) => return wrong(format!("{}: {error}", args.file.display())),
    };
    let version = write(&args.store, &args.options.etcd, &snapshot, args.replace).await?;
    let entries = Some(snapshot.entries.len());
    Ok(Done { done: "imported into", store: args.store.to_string(), to: None, version, entries })
}

async fn migrate(args: &MigrateArgs) -> Result<Done, Refused> {
    if args.from == args.to {
        return wrong(format!("{} is both", args.from));
    }
    let snapshot = read(&args.from, &args.options.etcd).await?;
    let version = write(&args.to, &args.options.etcd, &snapshot, args.replace).await?;
    Ok(Done {
        done: "migrated",
        store: args.from.to_string(),
        to: Some(args.to.to_string()),
        version,
        entries: Some(snapshot.entries.len()),
    })
}

async fn compact(args: &CompactArgs) -> Result<Done, Refused> {
    let store = open(&args.store, &args.options.etcd).await?;
    let wheel = wheel("compacting");
    let version = store.snapshot().await?.version;
    let until = Version(version.0.saturating_sub(args.keep));
    store.compact(until).await?;
    wheel.finish_and_clear();
    Ok(Done {
        done: "compacted",
        store: args.store.to_string(),
        to: None,
        version: until,
        entries: None,
    })
}

/// Opens an existing store: a command that only reads must not create one.
async fn open(url: &StoreUrl, etcd: &EtcdArgs) -> Result<AnyStore, Refused> {
    if let StoreUrl::File(path) = url
        && let Err(error) = fs::metadata(path)
    {
        return match error.kind() {
            io::ErrorKind::NotFound => wrong(format!(
                "{}: there is no store; name the file that the controller writes",
                path.display()
            )),
            _ => Err(Refused::Failed(anyhow::anyhow!("{}: {error}", path.display()))),
        };
    }
    Ok(AnyStore::open(url, tls(url, etcd)?.as_ref()).await?)
}

async fn read(url: &StoreUrl, etcd: &EtcdArgs) -> Result<Snapshot, Refused> {
    let wheel = wheel("reading");
    let snapshot = open(url, etcd).await?.snapshot().await?;
    wheel.finish_and_clear();
    Ok(snapshot)
}

/// Writes a whole store, reads it back, and returns its version.
async fn write(
    url: &StoreUrl,
    etcd: &EtcdArgs,
    snapshot: &Snapshot,
    replace: bool,
) -> Result<Version, Refused> {
    let tls = tls(url, etcd)?;
    if !replace && AnyStore::open(url, tls.as_ref()).await?.snapshot().await?.version != Version(0)
    {
        return wrong(format!("{url} is not empty; name an empty store, or say --replace"));
    }
    let existing = if replace { Existing::Replace } else { Existing::Refuse };
    let bar = bar("writing", snapshot.entries.len());
    let mut progress = |done: usize, _| bar.set_position(done as u64);
    let store = AnyStore::import(url, tls.as_ref(), snapshot, existing, &mut progress).await?;
    bar.finish_and_clear();
    let wheel = wheel("reading it back");
    let written = store.snapshot().await?;
    wheel.finish_and_clear();
    if written.entries != snapshot.entries {
        return Err(Refused::Failed(anyhow::anyhow!(
            "{url} does not have what was written; does somebody else write to it?"
        )));
    }
    Ok(written.version)
}

fn tls(url: &StoreUrl, args: &EtcdArgs) -> Result<Option<EtcdTls>, Refused> {
    let Some(ca) = &args.etcd_ca else {
        if matches!(url, StoreUrl::Etcd { tls: true, .. }) {
            return wrong(format!("{url} is spoken to with TLS: say --etcd-ca FILE"));
        }
        return Ok(None);
    };
    let identity = args.etcd_cert.clone().zip(args.etcd_key.clone());
    Ok(Some(EtcdTls { ca: ca.clone(), identity, server_name: None }))
}

/// Begins the file of an export, before anything is read. All of a store is in it: it is nobody
/// else's to read.
fn target(path: &Path, force: bool) -> Result<NewFile, Refused> {
    let existing = if force { files::Existing::Replace } else { files::Existing::Keep };
    match NewFile::create(path, Access::Private, existing) {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            wrong(format!("{} is there already; name another file, or say --force", path.display()))
        }
        Err(error) => wrong(format!("{}: {error}", path.display())),
    }
}

fn fill(target: NewFile, snapshot: &Snapshot) -> io::Result<()> {
    let mut file = BufWriter::new(target);
    export(snapshot, &mut file)?;
    file.into_inner()?.finish()
}

/// Drawn only on a terminal, and gone when it is dropped.
fn bar(what: &'static str, length: usize) -> ProgressBar {
    let bar =
        ProgressBar::new(length as u64).with_message(what).with_finish(ProgressFinish::AndClear);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    bar
}

fn wheel(what: &'static str) -> ProgressBar {
    let wheel = ProgressBar::new_spinner().with_message(what).with_finish(ProgressFinish::AndClear);
    wheel.enable_steady_tick(std::time::Duration::from_millis(100));
    wheel
}
