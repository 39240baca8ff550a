//! `sillon audit`: the log of what was changed, and proofs of it.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use serde::Serialize;
use serde_json::Value;

use super::args::{
    AuditCommand, AuditExportArgs, AuditKeyArgs, AuditProofArgs, AuditShowArgs, AuditVerifyArgs,
};
use super::tables::{self, Sheet};
use super::{Output, exit};
use crate::audit::{
    self, Checkpoint, Decision, Export, Item, Leaf, Log, Proof, Signer, VerifierKey, is_visible, read_export,
    write_export,
};
use crate::pki::files::{self, Access, Existing};
use crate::store::{self, Embedded, Store};

/// No checkpoint, key or proof is longer than this.
const LONGEST: u64 = 16 << 20;
/// What a file of SQLite begins with.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// Does what was asked for. The exit code is [`exit::DONE`], or [`exit::FAILED`] if something is wrong with what was verified.
pub fn audit(command: &AuditCommand, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        AuditCommand::Key(args) => key(args, output)?,
        AuditCommand::Show(args) => show(args, output)?,
        AuditCommand::Checkpoint(args) => {
            let export = load(&args.log.store)?;
            if export.checkpoint.is_empty() {
                bail!(
                    "{} has no checkpoint: its controller has no key to sign one",
                    args.log.store.display()
                );
            }
            output.say(&export.checkpoint)?;
        }
        AuditCommand::Proof(args) => proof(args, output)?,
        AuditCommand::Verify(args) => return verify(args, output),
        AuditCommand::Export(args) => export(args, output)?,
    }
    Ok(exit::DONE)
}

fn key(args: &AuditKeyArgs, output: Output) -> anyhow::Result<()> {
    let signer = Signer::generate(&args.name)?;
    let public = PathBuf::from(format!("{}.pub", args.out.display()));
    let verifier = format!("{}\n", signer.verifier());
    let write = |path: &Path, text: &str, access| {
        files::write(path, text.as_bytes(), access, Existing::Keep)
            .with_context(|| format!("{} can't be written", path.display()))
    };
    write(&args.out, &signer.to_pem()?, Access::Private)?;
    write(&public, &verifier, Access::Public)?;
    Ok(output.say(&verifier)?)
}

fn show(args: &AuditShowArgs, output: Output) -> anyhow::Result<()> {
    let export = load(&args.log.store)?;
    let mut leaves = Vec::new();
    for (at, item) in &export.items {
        let Some(leaf) = item.leaf() else { continue };
        let leaf = leaf.with_context(|| format!("entry {at} can't be read"))?;
        if *at >= args.from && is_visible(&leaf.entry, &args.reader) {
            leaves.push(leaf);
        }
    }
    if args.json {
        return output.say_json(&leaves);
    }
    Ok(output.say(&table(&leaves))?)
}

fn table(leaves: &[Leaf]) -> String {
    let mut sheet = Sheet::new("Audit log", &["entry", "when", "who", "of", "decision", "what"]);
    for Leaf { at, entry, .. } in leaves {
        let decision = match &entry.decision {
            Decision::Accepted { revision } => format!("revision {revision}"),
            Decision::Refused { rule, message, besides: 0 } => format!("refused ({rule}): {message}"),
            Decision::Refused { rule, message, besides } => {
                format!("refused ({rule}): {message}; and {besides} more before it")
            }
        };
        sheet.row(vec![
            tables::number(at),
            tables::text(entry.when.strftime("%Y-%m-%d %H:%M:%SZ")),
            tables::text(&entry.who),
            tables::text(entry.operator.as_ref().map_or("owner", |name| name.as_str())),
            tables::text(decision),
            tables::list(entry.objects.iter().map(|touched| match (&touched.before, &touched.after) {
                (Value::Null, _) => format!("+{}", touched.key),
                (_, Value::Null) => format!("-{}", touched.key),
                _ => format!("~{}", touched.key),
            })),
        ]);
    }
    sheet.text()
}

fn proof(args: &AuditProofArgs, output: Output) -> anyhow::Result<()> {
    let export = load(&args.log.store)?;
    let key = read_key(&args.key)?;
    let since = args.since.as_deref().map(|path| read_checkpoint(&key, path)).transpose()?;
    let wrong = audit::verify(&export, &key, since.as_slice());
    if let Some(wrong) = wrong.first() {
        bail!("{}: {wrong}; nothing can be proven of it", args.log.store.display());
    }
    let checkpoint = key.open(&export.checkpoint)?;
    let found = usize::try_from(args.entry).ok().and_then(|entry| export.items.get(entry));
    let text = match found {
        Some((_, Item::Text(text))) => text,
        Some(_) => bail!("entry {} is not for you", args.entry),
        None => bail!("there are {} entries, numbered from 0", export.items.len()),
    };
    let log = Log::new(export.items.iter().map(|(_, item)| item.commitment()));
    let since = since.map_or(0, |since| since.size());
    let proof = log.prove(args.entry, text, since, &checkpoint);
    output.say_json(&proof.ok_or_else(|| anyhow!("the log has no proof of it"))?)
}

/// What `--json` prints of what was verified.
#[derive(Serialize)]
struct Report {
    ok: bool,
    /// How many entries there are, or were when the proof was made.
    entries: u64,
    /// The entry that a proof is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<Leaf>,
    findings: Vec<String>,
}

fn verify(args: &AuditVerifyArgs, output: Output) -> anyhow::Result<ExitCode> {
    let key = read_key(&args.key)?;
    let kept =
        args.checkpoint.iter().map(|path| read_checkpoint(&key, path)).collect::<anyhow::Result<Vec<_>>>()?;
    let report = match read_proof(&args.file)? {
        Some(_) if kept.len() > 1 => {
            output.complain("error: a proof is since one checkpoint; give the one that it was made for\n");
            return Ok(exit::wrong_input());
        }
        Some(proof) => verify_proof(&proof, &key, kept.first()),
        None => match load(&args.file) {
            Ok(export) => {
                let findings: Vec<_> =
                    audit::verify(&export, &key, &kept).iter().map(ToString::to_string).collect();
                Report { ok: findings.is_empty(), entries: export.items.len() as u64, entry: None, findings }
            }
            Err(error) => Report { ok: false, entries: 0, entry: None, findings: vec![format!("{error:#}")] },
        },
    };
    if args.json {
        output.say_json(&report)?;
    } else {
        let file = args.file.display();
        for finding in &report.findings {
            output.complain(&format!("{file}: {finding}\n"));
        }
        if let Some(leaf) = &report.entry {
            output.say(&table(std::slice::from_ref(leaf)))?;
        }
        if report.ok {
            let against = match kept.len() {
                0 => "no checkpoint was given to hold it against".to_owned(),
                1 => "it continues the checkpoint".to_owned(),
                more => format!("it continues all {more} checkpoints"),
            };
            output
                .say(&format!("{file} is right: a log of {} entries, signed; {against}\n", report.entries))?;
        }
    }
    Ok(if report.ok { exit::DONE } else { exit::FAILED })
}

fn verify_proof(proof: &Proof, key: &VerifierKey, kept: Option<&Checkpoint>) -> Report {
    match proof.verify(key, kept) {
        Ok((leaf, checkpoint)) => {
            Report { ok: true, entries: checkpoint.size(), entry: Some(leaf), findings: Vec::new() }
        }
        Err(error) => Report { ok: false, entries: 0, entry: None, findings: vec![error.to_string()] },
    }
}

fn export(args: &AuditExportArgs, output: Output) -> anyhow::Result<()> {
    let export = load(&args.log.store)?.for_reader(&args.reader);
    let mut text = Vec::new();
    write_export(&export, &mut text)?;
    Ok(output.say(&String::from_utf8(text)?)?)
}

/// A log out of a store, an export of a store, or an export of the log.
fn load(path: &Path) -> anyhow::Result<Export> {
    let mut file = open(path)?;
    let mut start = Vec::new();
    (&mut file).take(64).read_to_end(&mut start)?;
    if start.starts_with(SQLITE) {
        drop(file);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let snapshot =
            Embedded::open(path).and_then(|store| runtime.block_on(store.snapshot())).with_context(|| {
                format!("{} (does a controller run on it? then export it from there)", path.display())
            })?;
        return audit::of_store(&snapshot).map_err(anyhow::Error::msg);
    }
    let lines = BufReader::new(open(path)?);
    let read = if start.starts_with(b"{\"sillon_store\"") {
        store::read_export(lines)
            .map_err(|error| error.to_string())
            .and_then(|snapshot| audit::of_store(&snapshot))
    } else {
        read_export(lines)
    };
    read.map_err(|error| anyhow!("{}: {error}", path.display()))
}

/// A proof, if it is one: the only one of the files that is one JSON value.
fn read_proof(path: &Path) -> anyhow::Result<Option<Proof>> {
    let mut text = Vec::new();
    open(path)?.take(LONGEST).read_to_end(&mut text)?;
    let is_proof =
        serde_json::from_slice::<Value>(&text).is_ok_and(|value| value.get("sillon_audit_proof").is_some());
    if !is_proof {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&text).with_context(|| format!("{} is not a proof", path.display()))?))
}

fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("{} can't be read", path.display()))
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    let bytes = files::read(path, LONGEST).with_context(|| format!("{} can't be read", path.display()))?;
    String::from_utf8(bytes).with_context(|| format!("{} is not text", path.display()))
}

/// A key, or the file that it is in.
fn read_key(text: &str) -> anyhow::Result<VerifierKey> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    Ok(read_text(Path::new(text))?.parse::<VerifierKey>()?)
}

fn read_checkpoint(key: &VerifierKey, path: &Path) -> anyhow::Result<Checkpoint> {
    key.open(&read_text(path)?).with_context(|| format!("{}", path.display()))
}
