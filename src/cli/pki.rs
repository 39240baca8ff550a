//! `sillon pki`: the fabric's CA.

use std::{fs, path::Path, process::ExitCode};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    Output,
    args::{
        IssueArgs, PkiCommand, RefreshArgs, RenewArgs, RequestArgs, RevokeArgs, ShowIssuedArgs,
    },
    exit,
    tables::{self, Sheet},
};
use crate::pki::{
    Delivered, Directory, Lifetime, PkiError, Record, Standing, Wanted, new_request, read_request,
    refuse_to_overwrite, write_request,
};

/// Does what was asked for. The exit code is [`exit::DONE`], or [`exit::wrong_input`] if something
/// else has to be asked for.
pub fn pki(command: &PkiCommand, output: Output) -> anyhow::Result<ExitCode> {
    let now = Timestamp::now();
    let done = match command {
        PkiCommand::Init(args) => {
            Directory::init(&args.dir.dir, &args.fabric, now, Lifetime::days(args.days)).map(|_| {
                let dir = args.dir.dir.display();
                format!(
                    "{dir} is a CA now: keep {dir}/ca.key to yourself, give {dir}/ca.crt and \
                     crl.pem to all\n"
                )
            })
        }
        PkiCommand::Request(args) => request(args),
        PkiCommand::Issue(args) => issue(args, now),
        PkiCommand::Renew(args) => renew(args, now),
        PkiCommand::Revoke(args) => revoke(args, now),
        PkiCommand::Refresh(args) => refresh(args, now),
        PkiCommand::Show(args) => return show(args, now, output),
    };
    match done {
        Ok(text) => {
            output.say(&text)?;
            Ok(exit::DONE)
        }
        Err(error) => refused(error, output),
    }
}

fn refused(error: PkiError, output: Output) -> anyhow::Result<ExitCode> {
    if error.is_wrong_input() {
        output.complain(&format!("error: {error}\n"));
        return Ok(exit::wrong_input());
    }
    Err(error.into())
}

fn request(args: &RequestArgs) -> Result<String, PkiError> {
    let stem = args.subject.file_stem();
    let (csr, key) = (args.out.join(format!("{stem}.csr")), args.out.join(format!("{stem}.key")));
    refuse_to_overwrite(&key, "it may be in use; move it away first")?;
    refuse_to_overwrite(&csr, "move it away first")?;
    let (request, secret) = new_request(&args.subject, &args.reached.names())?;
    write_request(&csr, &request, &key, &secret)?;
    Ok(format!("{} goes to the owner, {} stays here\n", csr.display(), key.display()))
}

fn issue(args: &IssueArgs, now: Timestamp) -> Result<String, PkiError> {
    let stem = args.subject.file_stem();
    let (certificate, key) =
        (args.out.join(format!("{stem}.crt")), args.out.join(format!("{stem}.key")));
    let help = "`sillon pki renew` replaces it, --out writes to another directory";
    refuse_to_overwrite(&certificate, help)?;
    if args.csr.is_none() {
        refuse_to_overwrite(&key, help)?;
    }
    let wanted = Wanted {
        subject: args.subject.clone(),
        names: args.reached.names(),
        lifetime: args.long.lifetime(),
        request: args.csr.as_deref().map(read_request).transpose()?,
    };
    let mut directory = Directory::open(&args.dir.dir)?;
    fs::create_dir_all(&args.out)
        .map_err(|error| PkiError::File { path: args.out.clone(), error })?;
    let delivered = directory.issue(&wanted, now)?;
    delivered.write_new(&certificate, &key)?;
    Ok(delivered_text(&delivered, &certificate, &key))
}

fn renew(args: &RenewArgs, now: Timestamp) -> Result<String, PkiError> {
    let key = args.key.clone().unwrap_or_else(|| args.certificate.with_extension("key"));
    let mut directory = Directory::open(&args.dir.dir)?;
    let old = directory.record(&args.certificate)?;
    if args.if_due && old.standing(now) == Standing::Valid {
        return Ok(format!(
            "{} need not be renewed before {}\n",
            args.certificate.display(),
            when(old.due())
        ));
    }
    let request = args.csr.as_deref().map(read_request).transpose()?;
    let delivered = directory.renew(&args.certificate, args.long.lifetime(), request, now)?;
    delivered.replace(&args.certificate, &key)?;
    Ok(delivered_text(&delivered, &args.certificate, &key))
}

fn delivered_text(delivered: &Delivered, certificate: &Path, key: &Path) -> String {
    let record = &delivered.record;
    let key = match delivered.key {
        Some(_) => format!(", its key in {}", key.display()),
        None => String::new(),
    };
    let (subject, until, due) = (&record.subject, when(record.until), when(record.due()));
    format!(
        "{subject} has {}{key}: until {until}, to be renewed from {due}\n",
        certificate.display()
    )
}

fn revoke(args: &RevokeArgs, now: Timestamp) -> Result<String, PkiError> {
    let mut directory = Directory::open(&args.dir.dir)?;
    let revoked = directory.revoke(&args.which.0, now)?;
    let list = directory.revocation_list();
    let mut text: String = revoked
        .iter()
        .map(|record| format!("{} of {} is revoked\n", record.serial, record.subject))
        .collect();
    if revoked.is_empty() {
        text.push_str("nothing to revoke: it was revoked before, or its time is over\n");
    }
    Ok(text + &format!("{} is to be copied to the controllers\n", list.display()))
}

fn refresh(args: &RefreshArgs, now: Timestamp) -> Result<String, PkiError> {
    let mut directory = Directory::open(&args.dir.dir)?;
    directory.publish(now)?;
    Ok(format!(
        "{} is signed anew, and is to be copied to the controllers\n",
        directory.revocation_list().display()
    ))
}

/// What `--json` prints of a certificate.
#[derive(Serialize)]
struct Shown<'r> {
    #[serde(flatten)]
    record: &'r Record,
    standing: Standing,
    due: Timestamp,
}

fn show(args: &ShowIssuedArgs, now: Timestamp, output: Output) -> anyhow::Result<ExitCode> {
    let directory = match Directory::open(&args.dir.dir) {
        Ok(directory) => directory,
        Err(error) => return refused(error, output),
    };
    let recent = |record: &&Record| record.until > now - SignedDuration::from_hours(24 * 7);
    let shown: Vec<Shown<'_>> = directory
        .index()
        .issued
        .iter()
        .filter(|record| args.subject.as_ref().is_none_or(|subject| record.subject == *subject))
        .filter(|record| args.all || recent(record))
        .map(|record| Shown { record, standing: record.standing(now), due: record.due() })
        .collect();
    if args.json {
        output.say_json(&shown)?;
    } else {
        output.say(&table(&shown))?;
    }
    Ok(exit::DONE)
}

fn table(shown: &[Shown<'_>]) -> String {
    let header =
        ["subject", "standing", "issued", "renew from", "until", "revoked", "reached at", "serial"];
    let mut sheet = Sheet::new("Certificates", &header);
    for Shown { record, standing, due } in shown {
        sheet.row(vec![
            tables::text(&record.subject),
            tables::text(standing),
            tables::text(when(record.from)),
            tables::text(when(*due)),
            tables::text(when(record.until)),
            tables::optional(record.revoked.map(when)),
            tables::list(&record.names),
            tables::text(&record.serial),
        ]);
    }
    sheet.text()
}

/// To the minute, for people.
fn when(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%MZ").to_string()
}
