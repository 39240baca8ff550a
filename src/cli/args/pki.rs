//! `sillon pki`

use std::{io, net::IpAddr, path::PathBuf, str::FromStr};

use clap::{Args, Subcommand};

use crate::{
    model::{InvalidValue, Name},
    pki::{Lifetime, Serial, Subject, Which},
};

/// `sillon pki`
#[derive(Debug, Args)]
pub struct PkiArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: PkiCommand,
}

/// What can be done with certificates.
#[derive(Debug, Subcommand)]
pub enum PkiCommand {
    /// Make a CA for the fabric
    #[command(after_help = INIT_EXAMPLES)]
    Init(InitArgs),
    /// Make a key and a request, so that the CA never sees the key
    #[command(after_help = REQUEST_EXAMPLES)]
    Request(RequestArgs),
    /// Issue a certificate
    #[command(after_help = ISSUE_EXAMPLES)]
    Issue(IssueArgs),
    /// Issue a certificate in the place of one that ends
    #[command(after_help = RENEW_EXAMPLES)]
    Renew(RenewArgs),
    /// Revoke certificates
    #[command(after_help = REVOKE_EXAMPLES)]
    Revoke(RevokeArgs),
    /// Sign the revocation list anew; it says of itself that it is good for 90 days
    Refresh(RefreshArgs),
    /// Print what was issued
    #[command(after_help = PKI_SHOW_EXAMPLES)]
    Show(ShowIssuedArgs),
}

/// Where the CA is.
#[derive(Debug, Args)]
pub struct CaDir {
    /// The directory of the CA
    #[arg(long, value_name = "DIR", default_value = "/etc/sillon/pki", env = "SILLON_PKI")]
    pub dir: PathBuf,
}

/// How long a certificate lives.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("lifetime"))]
pub struct Long {
    /// It is valid for so many days [default: 7 for a node, 30 for others; renewed: as before]
    #[arg(
        long,
        value_name = "N",
        group = "lifetime",
        value_parser = clap::value_parser!(u32).range(1..=36_500),
    )]
    pub days: Option<u32>,
    /// It is valid for so many hours
    #[arg(
        long,
        value_name = "N",
        group = "lifetime",
        value_parser = clap::value_parser!(u32).range(1..=876_000),
    )]
    pub hours: Option<u32>,
}

impl Long {
    /// If anything was said.
    pub fn lifetime(&self) -> Option<Lifetime> {
        self.days.map(Lifetime::days).or(self.hours.map(Lifetime::hours))
    }
}

/// How a controller is reached.
#[derive(Debug, Args)]
pub struct Reached {
    /// A DNS name by which a controller is reached; may be given several times
    #[arg(long, value_name = "NAME")]
    pub dns: Vec<String>,
    /// An address by which a controller is reached; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Vec<IpAddr>,
}

impl Reached {
    /// All of them.
    pub fn names(&self) -> Vec<String> {
        self.dns.iter().cloned().chain(self.ip.iter().map(ToString::to_string)).collect()
    }
}

/// `sillon pki init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where to make it
    #[command(flatten)]
    pub dir: CaDir,
    /// What the fabric is called, in the name of the CA
    #[arg(long, value_name = "NAME", default_value = "fabric")]
    pub fabric: Name,
    /// The CA is good for so many days
    #[arg(
        long,
        value_name = "N",
        default_value = "3650",
        value_parser = clap::value_parser!(u32).range(1..=36_500),
    )]
    pub days: u32,
}

/// `sillon pki request`
#[derive(Debug, Args)]
pub struct RequestArgs {
    /// Who or what the certificate is for: owner, operator/NAME, auditor, node/NAME or
    /// controller/NAME
    pub subject: Subject,
    /// How it is reached
    #[command(flatten)]
    pub reached: Reached,
    /// Where to write NAME.csr and NAME.key
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
}

/// `sillon pki issue`
#[derive(Debug, Args)]
pub struct IssueArgs {
    /// Who or what it is for: owner, operator/NAME, auditor, node/NAME or controller/NAME
    pub subject: Subject,
    /// The CA
    #[command(flatten)]
    pub dir: CaDir,
    /// How long it lives
    #[command(flatten)]
    pub long: Long,
    /// How it is reached
    #[command(flatten)]
    pub reached: Reached,
    /// A request (PKCS #10, PEM) that brings the key; whatever else it says is not looked at
    #[arg(long, value_name = "FILE")]
    pub csr: Option<PathBuf>,
    /// Where to write NAME.crt and NAME.key
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
}

/// `sillon pki renew`
#[derive(Debug, Args)]
pub struct RenewArgs {
    /// The certificate, which is replaced
    pub certificate: PathBuf,
    /// Its key, which is replaced by a new one [default: beside the certificate, with the ending
    /// .key]
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The CA
    #[command(flatten)]
    pub dir: CaDir,
    /// How long the new one lives
    #[command(flatten)]
    pub long: Long,
    /// A request (PKCS #10, PEM) that brings the key; no key is written
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub csr: Option<PathBuf>,
    /// Do nothing before two thirds of its time are over (for a timer)
    #[arg(long)]
    pub if_due: bool,
}

/// `sillon pki revoke`
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// A subject (all of its certificates), a certificate's file, or a serial number
    #[arg(value_name = "SUBJECT|FILE|SERIAL")]
    pub which: Revoked,
    /// The CA
    #[command(flatten)]
    pub dir: CaDir,
}

/// What shall be revoked.
#[derive(Debug, Clone)]
pub struct Revoked(pub Which);

impl FromStr for Revoked {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if let Ok(subject) = text.parse() {
            return Ok(Self(Which::Subject(subject)));
        }
        let path = PathBuf::from(text);
        // One that can't be looked at is a file as well: whoever reads it says why.
        let is_file = match path.metadata() {
            Ok(metadata) => metadata.is_file(),
            Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
        };
        if is_file {
            return Ok(Self(Which::File(path)));
        }
        text.parse::<Serial>().map(|serial| Self(Which::Serial(serial))).map_err(|_| {
            let help =
                "give owner, operator/NAME, auditor, node/NAME, controller/NAME, a file or a \
                 serial number";
            InvalidValue::new(
                format_args!("{text:?} is no subject, no file that is there, and no serial number"),
                help,
            )
        })
    }
}

/// `sillon pki refresh`
#[derive(Debug, Args)]
pub struct RefreshArgs {
    /// The CA
    #[command(flatten)]
    pub dir: CaDir,
}

/// `sillon pki show`
#[derive(Debug, Args)]
pub struct ShowIssuedArgs {
    /// Only what was issued to this subject
    pub subject: Option<Subject>,
    /// The CA
    #[command(flatten)]
    pub dir: CaDir,
    /// Also what was replaced long ago: expired, or revoked and expired
    #[arg(long)]
    pub all: bool,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

const INIT_EXAMPLES: &str = "\
Examples:
  sudo sillon pki init --fabric north        a CA in /etc/sillon/pki
  sillon pki init --dir ~/ca --fabric north --days 1825

Keep the key (ca.key) to yourself: it belongs here and in a backup, and nowhere else.
Controllers, agents and operators get ca.crt and crl.pem.

An existing CA is never overwritten. To replace it, make the new one in another directory, add its
ca.crt and crl.pem to those of the controllers and agents, issue all certificates again, and then
remove the old ca.crt.";

const REQUEST_EXAMPLES: &str = "\
Examples:
  sillon pki request operator/alder
      alder makes operator-alder.csr, and operator-alder.key to keep
  sillon pki issue operator/alder --csr operator-alder.csr
      the owner makes operator-alder.crt from it

The owner decides what the certificate says. The key stays with whoever made it.";

const ISSUE_EXAMPLES: &str = "\
Examples:
  sillon pki issue owner --out ~/.config/sillon
  sillon pki issue operator/alder --csr operator-alder.csr
  sillon pki issue node/edge1 --out /etc/sillon
  sillon pki issue controller/c1 --dns c1.example --ip 192.0.2.1

Certificates are short-lived: 7 days for a node, 30 days for all others. Renew them after two thirds
of that; `sillon pki renew --if-due` does so from a timer.

A controller's certificate is for servers only, all others are for clients only. The identity is a
URI, such as sillon:operator/alder, so that another CA can issue certificates for this fabric too.";

const RENEW_EXAMPLES: &str = "\
Examples:
  sillon pki renew node-edge1.crt --if-due   from a timer, each hour
  sillon pki renew operator-alder.crt --csr new.csr

Controllers and agents read their files again when these change. The old certificate stays valid
until it expires.";

const REVOKE_EXAMPLES: &str = "\
Examples:
  sillon pki revoke operator/alder           every certificate of alder that is still valid
  sillon pki revoke node-edge1.crt
  sillon pki revoke 4f0c9be2a1d34aa08b0f0e8d6ad1b5c2

Copy crl.pem to the controllers. They read it again when it changes, and close the connections of
revoked certificates. What was revoked before stays revoked. The list is always signed again.";

const PKI_SHOW_EXAMPLES: &str = "\
Examples:
  sillon pki show
  sillon pki show operator/alder --all
  sillon pki show --json | jq -r '.[] | select(.standing == \"due\") | .subject'";
