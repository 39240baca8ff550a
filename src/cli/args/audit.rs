//! `sillon audit`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Connect;
use crate::identity::Identity;

/// `sillon audit`
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// What can be done with the audit log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Make the key that signs the log's checkpoints
    #[command(after_help = KEY_EXAMPLES)]
    Key(AuditKeyArgs),
    /// Print who changed what, when, and what became of it
    #[command(after_help = AUDIT_SHOW_EXAMPLES)]
    Show(AuditShowArgs),
    /// Print the log's newest checkpoint: three lines and a signature, to be kept
    #[command(after_help = CHECKPOINT_EXAMPLES)]
    Checkpoint(AuditCheckpointArgs),
    /// Prove that an entry is in the log, and that the log has only grown since a checkpoint
    #[command(after_help = PROOF_EXAMPLES)]
    Proof(AuditProofArgs),
    /// Check a proof, an export or a store, offline
    #[command(after_help = AUDIT_VERIFY_EXAMPLES)]
    Verify(AuditVerifyArgs),
    /// Write the log as lines of JSON, whole or as one reader may have it
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(AuditExportArgs),
}

/// Where the log is.
#[derive(Debug, Args)]
pub struct LogFile {
    /// Read it from the controller's store, or an export of it or of the log, instead of asking a
    /// controller
    #[arg(long, value_name = "FILE")]
    pub store: Option<PathBuf>,
    /// Whom to ask
    #[command(flatten)]
    pub connect: Connect,
}

/// `sillon audit key`
#[derive(Debug, Args)]
pub struct AuditKeyArgs {
    /// What the log is called; best a name that nobody else uses, such as north.example/audit
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// Where to write the key; FILE.pub is what checks its signatures
    #[arg(long, value_name = "FILE", default_value = "audit.key")]
    pub out: PathBuf,
}

/// `sillon audit show`
#[derive(Debug, Args)]
pub struct AuditShowArgs {
    /// The log
    #[command(flatten)]
    pub log: LogFile,
    /// With --store: only what this identity may read [default: owner]
    #[arg(long = "as", value_name = "IDENTITY", requires = "store")]
    pub reader: Option<Identity>,
    /// Begin with this entry
    #[arg(long, value_name = "N", default_value = "0")]
    pub from: u64,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// `sillon audit checkpoint`
#[derive(Debug, Args)]
pub struct AuditCheckpointArgs {
    /// The log
    #[command(flatten)]
    pub log: LogFile,
}

/// `sillon audit proof`
#[derive(Debug, Args)]
pub struct AuditProofArgs {
    /// Which entry; without one, only that the log has grown since the checkpoint is proven
    #[arg(value_name = "N", required_unless_present = "since")]
    pub entry: Option<u64>,
    /// The log
    #[command(flatten)]
    pub log: LogFile,
    /// The checkpoint that whoever gets the proof has kept
    #[arg(long, value_name = "FILE")]
    pub since: Option<PathBuf>,
    /// The public key of the log: a file, or the key itself
    #[arg(long, value_name = "KEY")]
    pub key: String,
}

/// `sillon audit verify`
#[derive(Debug, Args)]
pub struct AuditVerifyArgs {
    /// A proof, an export, or a store
    pub file: PathBuf,
    /// The public key of the log: a file, or the key itself
    #[arg(long, value_name = "KEY")]
    pub key: String,
    /// A checkpoint that was kept; may be given several times
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Vec<PathBuf>,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// `sillon audit export`
#[derive(Debug, Args)]
pub struct AuditExportArgs {
    /// The log
    #[command(flatten)]
    pub log: LogFile,
    /// With --store: only what this identity may read; of all else the commitments, so that the
    /// reader can check the whole [default: owner]
    #[arg(long = "as", value_name = "IDENTITY", requires = "store")]
    pub reader: Option<Identity>,
}

const KEY_EXAMPLES: &str = "\
Examples:
  sillon audit key --name north.example/audit --out /etc/sillon/audit.key

Give audit.key.pub to every operator and auditor, by a way that they trust, before they need it.
All controllers of a fabric sign with one key.";

const AUDIT_SHOW_EXAMPLES: &str = "\
Examples:
  sillon audit show                                          from the controller: what you may read
  sillon audit show --store fabric.db --as operator/alder    from its store, while none runs on it
  sillon audit show --json | jq '.[] | select(.entry.decision.refused)'";

const CHECKPOINT_EXAMPLES: &str = "\
Examples:
  sillon audit checkpoint > $(date +%F).checkpoint";

const PROOF_EXAMPLES: &str = "\
Examples:
  sillon audit proof 17 --key audit.key.pub > 17.json
  sillon audit proof 17 --key audit.key.pub --since monday.checkpoint > 17.json
  sillon audit proof --key audit.key.pub --since monday.checkpoint > grown.json
  sillon audit proof 17 --key audit.key.pub --store fabric.db > 17.json

A proof shows nothing of other entries: it names them by hashes that include a random salt.";

const AUDIT_VERIFY_EXAMPLES: &str = "\
Examples:
  sillon audit verify 17.json --key audit.key.pub --checkpoint monday.checkpoint
  sillon audit verify export.jsonl --key audit.key.pub --checkpoint monday.checkpoint \\
      --checkpoint friday.checkpoint
  sillon audit verify fabric.db --key audit.key.pub

It needs only the file, the key and the checkpoints. It finds entries that were changed, removed,
reordered or cut off, and a log that was forked.

Whoever has the log's key can make a whole new log. Only checkpoints that others have kept show
that, so keep one now and then.

Exits with 0 if all is well; else with 1, and says what is wrong.";

const EXPORT_EXAMPLES: &str = "\
Examples:
  sillon audit export > log.jsonl              what you may read; all else as hashes
  sillon audit export --store fabric.db > log.jsonl
  sillon audit export --store fabric.db --as operator/alder > alder.jsonl";
