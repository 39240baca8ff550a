//! `sillon store`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::store::StoreUrl;

/// `sillon store`
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub command: StoreCommand,
}

/// What can be done with a store. STORE is the controller's FILE, or
/// `etcd://HOST:PORT,HOST:PORT/PREFIX` (`etcds://` with TLS).
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Write all that a store has at one moment to a file
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(ExportArgs),
    /// Begin an empty store with what was exported
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(ImportArgs),
    /// Forget what led to what is there
    #[command(after_help = COMPACT_EXAMPLES)]
    Compact(CompactArgs),
    /// Take a store to another kind of store, or to another place
    #[command(after_help = MIGRATE_EXAMPLES)]
    Migrate(MigrateArgs),
}

/// `sillon store export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The store: a FILE, or etcd://HOST:PORT,HOST:PORT/PREFIX
    pub store: StoreUrl,
    /// Where to write it; - is standard output
    pub file: PathBuf,
    /// Overwrite the file if it is there
    #[arg(long)]
    pub force: bool,
    /// Of all these commands.
    #[command(flatten)]
    pub options: StoreOptions,
}

/// `sillon store import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The store: a FILE, or etcd://HOST:PORT,HOST:PORT/PREFIX
    pub store: StoreUrl,
    /// What was exported; - is standard input
    pub file: PathBuf,
    /// Import also into a store that is not empty: what is there goes
    #[arg(long)]
    pub replace: bool,
    /// Of all these commands.
    #[command(flatten)]
    pub options: StoreOptions,
}

/// `sillon store compact`
#[derive(Debug, Args)]
pub struct CompactArgs {
    /// The store: a FILE, or etcd://HOST:PORT,HOST:PORT/PREFIX
    pub store: StoreUrl,
    /// How many of the last changes stay known, for those who follow
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub keep: u64,
    /// Of all these commands.
    #[command(flatten)]
    pub options: StoreOptions,
}

/// `sillon store migrate`
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// The store that there is
    pub from: StoreUrl,
    /// The store to write; it has to be empty
    pub to: StoreUrl,
    /// Migrate also to a store that is not empty: what is there goes
    #[arg(long)]
    pub replace: bool,
    /// Of all these commands.
    #[command(flatten)]
    pub options: StoreOptions,
}

/// What all commands on stores have.
#[derive(Debug, Args)]
pub struct StoreOptions {
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
    /// For etcds://
    #[command(flatten)]
    pub etcd: EtcdArgs,
}

/// How `etcds://` is spoken to.
#[derive(Debug, Args)]
pub struct EtcdArgs {
    /// The certificates (PEM) that those of etcd's members are signed by
    #[arg(long, value_name = "FILE", env = "SILLON_ETCD_CA")]
    pub etcd_ca: Option<PathBuf>,
    /// Our own certificate (PEM), if the members ask for one
    #[arg(
        long,
        value_name = "FILE",
        env = "SILLON_ETCD_CERT",
        requires_all = ["etcd_ca", "etcd_key"],
    )]
    pub etcd_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(
        long,
        value_name = "FILE",
        env = "SILLON_ETCD_KEY",
        requires_all = ["etcd_ca", "etcd_cert"],
    )]
    pub etcd_key: Option<PathBuf>,
}

pub(super) const STORE_EXAMPLES: &str = "\
Examples:
  sillon store export /var/lib/sillon/store.db backup.sillon
  sillon store migrate /var/lib/sillon/store.db etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379

STORE is the controller's FILE, or etcd://HOST:PORT,HOST:PORT/PREFIX; etcds:// uses TLS. The prefix
is \"sillon\" if none is given.

Exit codes:
  0 done
  1 failed
  2 wrong usage or wrong input; nothing was changed";

const EXPORT_EXAMPLES: &str = "\
Examples:
  sillon store export /var/lib/sillon/store.db backup.sillon
  sillon store export etcds://10.0.0.1,10.0.0.2,10.0.0.3 --etcd-ca ca.pem backup.sillon --force
  sillon store export /var/lib/sillon/store.db - | gzip > backup.sillon.gz

Stop a controller that keeps its store in a FILE first. Controllers on etcd may go on: the export
has what there was at one moment.";

const IMPORT_EXAMPLES: &str = "\
Examples:
  sillon store import /var/lib/sillon/store.db backup.sillon
  sillon store import etcd://10.0.0.1,10.0.0.2,10.0.0.3 backup.sillon --replace

Stop the controllers first. With --replace, version numbers that were in use are not used again.";

const COMPACT_EXAMPLES: &str = "\
Examples:
  sillon store compact etcd://10.0.0.1,10.0.0.2,10.0.0.3
  sillon store compact /var/lib/sillon/store.db --keep 0

A controller that is further behind than what is kept reads the whole store again.
Stop a controller that keeps its store in a FILE first. Controllers on etcd may go on.";

const MIGRATE_EXAMPLES: &str = "\
Examples:
  sillon store migrate /var/lib/sillon/store.db etcd://10.0.0.1,10.0.0.2,10.0.0.3
  sillon store migrate etcd://10.0.0.1,10.0.0.2,10.0.0.3 store.db

Stop the controllers first, and start them with the new store afterwards. What was written is read
back and compared.";
