//! `sillon audit`: the log of what was changed, and proofs of it.

mod source;

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::Value;

use self::source::{Source, load};
use super::{
    Output,
    args::{
        AuditCommand, AuditExportArgs, AuditKeyArgs, AuditProofArgs, AuditShowArgs, AuditVerifyArgs,
    },
    exit,
    tables::{self, Sheet},
};
use crate::{
    audit::{self, Checkpoint, Decision, Growth, Leaf, Proof, Signer, VerifierKey, write_export},
    files::{self, Access, Existing},
};

/// No checkpoint, key or proof is longer than this.
const LONGEST: u64 = 16 << 20;

/// Does what was asked for. The exit code is [`exit::DONE`], or [`exit::FAILED`] if something is
/// wrong with what was verified.
pub fn audit(command: &AuditCommand, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        AuditCommand::Key(args) => key(args, output)?,
        AuditCommand::Show(args) => show(args, output)?,
        AuditCommand::Checkpoint(args) => output.say(&Source::new(&args.log)?.checkpoint()?)?,
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
    let mut leaves = Vec::new();
    for (at, item) in Source::new(&args.log)?.entries(args.reader.as_ref(), args.from)? {
        let Some(leaf) = item.leaf() else { continue };
        leaves.push(leaf.with_context(|| format!("entry {at} can't be read"))?);
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
            Decision::Refused { rule, message, besides: 0 } => {
                format!("refused ({rule}): {message}")
            }
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
            tables::list(entry.objects.iter().map(|touched| {
                match (&touched.before, &touched.after) {
                    (Value::Null, _) => format!("+{}", touched.key),
                    (_, Value::Null) => format!("-{}", touched.key),
                    _ => format!("~{}", touched.key),
                }
            })),
        ]);
    }
    sheet.text()
}

fn proof(args: &AuditProofArgs, output: Output) -> anyhow::Result<()> {
    let key = read_key(&args.key)?;
    let since = args.since.as_deref().map(|path| read_checkpoint(&key, path)).transpose()?;
    let source = Source::new(&args.log)?;
    let size = since.as_ref().map_or(0, Checkpoint::size);
    // What proves nothing is not handed out.
    match (args.entry, &since) {
        (Some(entry), _) => {
            let proof = source.proof(entry, size, &key, since.as_ref())?;
            proof.verify(&key, since.as_ref())?;
            output.say_json(&proof)
        }
        (None, Some(kept)) => {
            let growth = source.growth(&key, kept)?;
            growth.verify(&key, kept)?;
            output.say_json(&growth)
        }
        (None, None) => bail!("say which entry, or since when: N or --since FILE"),
    }
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
    let kept = args
        .checkpoint
        .iter()
        .map(|path| read_checkpoint(&key, path))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let read = read_proof(&args.file)?;
    if matches!(read, Some(Read::Growth(_))) && kept.is_empty() {
        output.complain(
            "error: that the log has grown is proven against a checkpoint that was \
             kept: give it with --checkpoint\n",
        );
        return Ok(exit::wrong_input());
    }
    let report = match read {
        Some(_) if kept.len() > 1 => {
            output.complain(
                "error: a proof is since one checkpoint; give the one that it was made for\n",
            );
            return Ok(exit::wrong_input());
        }
        Some(Read::Proof(proof)) => verify_proof(&proof, &key, kept.first()),
        Some(Read::Growth(growth)) => verify_growth(&growth, &key, kept.first()),
        None => match load(&args.file) {
            Ok(export) => {
                let findings: Vec<_> =
                    audit::verify(&export, &key, &kept).iter().map(ToString::to_string).collect();
                Report {
                    ok: findings.is_empty(),
                    entries: export.items.len() as u64,
                    entry: None,
                    findings,
                }
            }
            Err(error) => {
                Report { ok: false, entries: 0, entry: None, findings: vec![format!("{error:#}")] }
            }
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
            output.say(&format!(
                "{file} is right: a log of {} entries, signed; {against}\n",
                report.entries
            ))?;
        }
    }
    Ok(if report.ok { exit::DONE } else { exit::FAILED })
}

fn verify_proof(proof: &Proof, key: &VerifierKey, kept: Option<&Checkpoint>) -> Report {
    match proof.verify(key, kept) {
        Ok((leaf, checkpoint)) => {
            Report { ok: true, entries: checkpoint.size(), entry: Some(leaf), findings: Vec::new() }
        }
        Err(error) => {
            Report { ok: false, entries: 0, entry: None, findings: vec![error.to_string()] }
        }
    }
}

fn verify_growth(growth: &Growth, key: &VerifierKey, kept: Option<&Checkpoint>) -> Report {
    let found = |findings: Vec<String>, entries| Report {
        ok: findings.is_empty(),
        entries,
        entry: None,
        findings,
    };
    match kept.map(|kept| growth.verify(key, kept)) {
        Some(Ok(checkpoint)) => found(Vec::new(), checkpoint.size()),
        Some(Err(error)) => found(vec![error.to_string()], 0),
        None => found(vec!["it needs the checkpoint that was kept".to_owned()], 0),
    }
}

fn export(args: &AuditExportArgs, output: Output) -> anyhow::Result<()> {
    let export = Source::new(&args.log)?.export(args.reader.as_ref())?;
    let mut text = Vec::new();
    write_export(&export, &mut text)?;
    Ok(output.say(&String::from_utf8(text)?)?)
}

/// What is no log.
enum Read {
    Proof(Proof),
    Growth(Growth),
}

/// A proof, if it is one: the only ones of the files that are one JSON value.
fn read_proof(path: &Path) -> anyhow::Result<Option<Read>> {
    let mut text = Vec::new();
    open(path)?.take(LONGEST).read_to_end(&mut text)?;
    let value = serde_json::from_slice::<Value>(&text).unwrap_or_default();
    let what = || format!("{} is not a proof", path.display());
    if value.get("sillon_audit_proof").is_some() {
        return Ok(Some(Read::Proof(serde_json::from_slice(&text).with_context(what)?)));
    }
    if value.get("sillon_audit_growth").is_some() {
        return Ok(Some(Read::Growth(serde_json::from_slice(&text).with_context(what)?)));
    }
    Ok(None)
}

fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("{} can't be read", path.display()))
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    let bytes =
        files::read(path, LONGEST).with_context(|| format!("{} can't be read", path.display()))?;
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
