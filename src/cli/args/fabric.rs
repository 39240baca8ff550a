//! The commands that ask a controller.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use reqwest::Url;

use crate::{
    fabric::{EncapWish, Key, Kind, PortKey, Trial},
    identity::Identity,
    model::Name,
};

/// Which controller is asked, and as whom.
#[derive(Debug, Args)]
pub struct Connect {
    /// The context to use; `sillon context list` prints them
    #[arg(long, value_name = "NAME", env = "SILLON_CONTEXT")]
    pub context: Option<Name>,
    /// Where contexts are kept [default: ~/.config/sillon/contexts.toml]
    #[arg(long, value_name = "FILE", env = "SILLON_CONTEXTS")]
    pub contexts: Option<PathBuf>,
}

/// How objects are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs
    Json,
    /// For files
    Yaml,
}

/// A kind, in the singular or the plural.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindArg(pub Kind);

impl std::str::FromStr for KindArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let singular = text.strip_suffix('s').unwrap_or(text);
        let found = Kind::ALL.into_iter().find(|kind| kind.as_str() == singular);
        found.map(Self).ok_or_else(|| {
            let all: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
            format!("it is one of {}", all.join(", "))
        })
    }
}

/// A lease, with or without `lease/` in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseArg(pub Key);

impl std::str::FromStr for LeaseArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix("lease/").unwrap_or(text);
        match format!("lease/{name}").parse() {
            Ok(key @ Key::Lease(_)) => Ok(Self(key)),
            _ => Err("write OPERATOR/NAME, like alder/l1".to_owned()),
        }
    }
}

/// `sillon get`
#[derive(Debug, Args)]
pub struct GetArgs {
    /// The kind of objects
    pub kind: KindArg,
    /// One object's name; else all that can be seen
    pub name: Option<String>,
    /// How to print them
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
    /// Only those of this operator
    #[arg(long, value_name = "NAME")]
    pub operator: Option<Name>,
    /// Only those that have to do with this server
    #[arg(long, value_name = "NAME")]
    pub server: Option<Name>,
    /// Only those on this node
    #[arg(long, value_name = "NAME")]
    pub node: Option<Name>,
    /// Whom to ask
    #[command(flatten)]
    pub connect: Connect,
}

/// `sillon describe`, `sillon delete`
#[derive(Debug, Args)]
pub struct OneArgs {
    /// The kind of object
    pub kind: KindArg,
    /// Its name
    pub name: String,
    /// Whom to ask
    #[command(flatten)]
    pub connect: Connect,
}

/// `sillon apply`
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// What to apply: a TOML or YAML file, or a directory of them
    #[arg(short, long = "file", value_name = "FILE|DIR", required = true)]
    pub files: Vec<PathBuf>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Take all of it back after this time, like 5m, unless `sillon confirm` comes before
    #[arg(long, value_name = "TIME")]
    pub confirm: Option<Lasts>,
    /// Whom to ask
    #[command(flatten)]
    pub connect: Connect,
}

/// For how long something is on trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lasts(pub u32);

impl std::str::FromStr for Lasts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lasts: Option<u32> =
            text.parse().ok().and_then(|lasts: SignedDuration| lasts.as_secs().try_into().ok());
        let may_be = |seconds: &u32| (1..=Trial::LONGEST).contains(seconds);
        lasts
            .filter(may_be)
            .map(Self)
            .ok_or_else(|| "write a time like 90s, 5m or 1h, up to 24h".to_owned())
    }
}

/// `sillon confirm`, `sillon rollback`
#[derive(Debug, Args)]
pub struct TrialArgs {
    /// Whose: owner or operator/NAME; your own if left out
    #[arg(long, value_name = "IDENTITY")]
    pub of: Option<Identity>,
    /// Whom to ask
    #[command(flatten)]
    pub connect: Connect,
}

/// `sillon diff`
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// What to compare: a TOML or YAML file, or a directory of them
    #[arg(short, long = "file", value_name = "FILE|DIR", required = true)]
    pub files: Vec<PathBuf>,
    /// Whom to ask
    #[command(flatten)]
    pub connect: Connect,
}

/// `sillon lease`
#[derive(Debug, Args)]
pub struct LeaseArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: LeaseCommand,
}

/// How a lease goes on.
#[derive(Debug, Subcommand)]
pub enum LeaseCommand {
    /// Offer a server to an operator (owner)
    Offer(OfferArgs),
    /// Take an offer (operator)
    Accept(StepArgs),
    /// End a lease, or withdraw an offer (owner)
    Drain(DrainArgs),
    /// End the quarantine of a server that was given back (owner)
    Confirm(StepArgs),
    /// Take a server from who has it, at once and wholly, and offer it to another (owner)
    Transfer(TransferArgs),
}

/// `sillon lease offer`
#[derive(Debug, Args)]
pub struct OfferArgs {
    /// The lease, as OPERATOR/NAME
    pub lease: LeaseArg,
    /// The server
    #[arg(long, value_name = "NAME")]
    pub server: Name,
    /// When it can begin; at once if left out
    #[arg(long, value_name = "TIME")]
    pub from: Option<Timestamp>,
    /// When it ends
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,
    /// How long the server is quarantined afterwards if the owner does not confirm
    #[arg(long, value_name = "SECONDS")]
    pub quarantine: Option<u32>,
    /// Whom to ask
    #[command(flatten)]
    pub connect: Connect,
}

/// `sillon lease accept`, `sillon lease confirm`
#[derive(Debug, Args)]
pub struct StepArgs {
    /// The lease, as OPERATOR/NAME
    pub lease: LeaseArg,
    /// Whom to ask
    #[command(flatten)]
    pub connect: Connect,
}

/// `sillon lease drain`
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// The lease, as OPERATOR/NAME
    pub lease: LeaseArg,
    /// When what is still attached is detached; now if left out
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,
    /// Whom to ask
    #[command(flatten)]
    pub connect: Connect,
}

/// `sillon lease transfer`
#[derive(Debug, Args)]
pub struct TransferArgs {
    /// The server
    pub server: Name,
    /// The new lease, as OPERATOR/NAME
    #[arg(long, value_name = "LEASE")]
    pub to: LeaseArg,
    /// Whom to ask
    #[command(flatten)]
    pub connect: Connect,
}

/// `sillon attach`
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// The segment, as OPERATOR/NAME
    pub segment: String,
    /// The port, as NODE/INTERFACE
    pub port: PortKey,
    /// Which frames of the port: untagged, "dot1q 10", "qinq 10.5", port; "dot1q" draws a VID
    pub encap: EncapArg,
    /// What to call the attachment; SEGMENT-NODE-INTERFACE if left out
    #[arg(long, value_name = "NAME")]
    pub name: Option<Name>,
    /// Whom to ask
    #[command(flatten)]
    pub connect: Connect,
}

/// An encapsulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncapArg(pub EncapWish);

impl std::str::FromStr for EncapArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        serde_json::from_value(text.into()).map(Self).map_err(|error| error.to_string())
    }
}

/// `sillon detach`
#[derive(Debug, Args)]
pub struct DetachArgs {
    /// The attachment, as OPERATOR/NAME
    pub attachment: String,
    /// Whom to ask
    #[command(flatten)]
    pub connect: Connect,
}

/// `sillon events`
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Go on with what happens from now on
    #[arg(short, long)]
    pub follow: bool,
    /// Begin after this place; each event that is printed as JSON has one
    #[arg(long, value_name = "ID")]
    pub after: Option<String>,
    /// Print a line of JSON for each
    #[arg(long)]
    pub json: bool,
    /// Whom to ask
    #[command(flatten)]
    pub connect: Connect,
}

/// `sillon whoami`
#[derive(Debug, Args)]
pub struct WhoamiArgs {
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
    /// Whom to ask
    #[command(flatten)]
    pub connect: Connect,
}

/// `sillon context`
#[derive(Debug, Args)]
pub struct ContextArgs {
    /// Where contexts are kept [default: ~/.config/sillon/contexts.toml]
    #[arg(long, value_name = "FILE", env = "SILLON_CONTEXTS", global = true)]
    pub contexts: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: ContextCommand,
}

/// What can be done with contexts.
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// Print them
    List,
    /// Use one from now on
    Use {
        /// Its name
        name: Name,
    },
    /// Make one, or make it another; the first one is used from then on
    Set(SetArgs),
}

/// `sillon context set`
#[derive(Debug, Args)]
pub struct SetArgs {
    /// Its name
    pub name: Name,
    /// The controller, as https://HOST or https://HOST:PORT
    #[arg(long, value_name = "URL")]
    pub server: Url,
    /// The own certificate (PEM)
    #[arg(long, value_name = "FILE")]
    pub cert: PathBuf,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Certificates of the CAs that the controller's certificate may be of (PEM)
    #[arg(long, value_name = "FILE", required = true)]
    pub ca: Vec<PathBuf>,
}

pub(super) const GET_EXAMPLES: &str = "\
Examples:
  sillon get segments
  sillon get segment alder/lan -o yaml
  sillon get attachments --server s1
  sillon get leases -o json | jq '.[].status.state'";

pub(super) const APPLY_EXAMPLES: &str = "\
Examples:
  sillon apply -f fabric.yaml
  sillon apply -f examples/ --yes
  sillon apply -f fabric.yaml --confirm 5m     reverts after five minutes, unless confirmed

A file has many objects. In YAML, each is a document:
  kind: segment
  name: alder/lan
  spec: { service: lan, ageing: 600 }
  ---
  kind: attachment
  ...

In TOML, each is a table of the list `object`:
  [[object]]
  kind = \"segment\"
  name = \"alder/lan\"
  spec = { service = \"lan\", ageing = 600 }

It shows what would change and asks before it changes anything. All of it is one transaction: either
everything is done or nothing. What is already so is not shown.
`sillon confirm --help` explains --confirm.";

pub(super) const CONFIRM_EXAMPLES: &str = "\
Examples:
  sillon apply -f fabric.yaml --confirm 5m
  sillon confirm                               all is well: keep the change
  sillon rollback                              it is not: revert it now
  sillon get trials                            what waits, until when, and what would be reverted

This is like a confirmed commit of NETCONF (RFC 6241 section 8.4): if you lock yourself out, the
change reverts by itself. The controllers do that, whatever happens to this machine.

What somebody changed in the meantime stays. If a rule is against the revert, since something else
uses by now what would go, the trial stays, says why, and tries again until it can be done or is
confirmed. Each identity has one trial at a time; the owner may end any.";

pub(super) const DIFF_EXAMPLES: &str = "\
Examples:
  sillon diff -f fabric.yaml

Exits with 0 and says nothing if all is so already, and with 3 if something is not.";

pub(super) const LEASE_EXAMPLES: &str = "\
Examples:
  sillon lease offer alder/l1 --server s1 --until 2027-01-01T00:00:00Z     (owner)
  sillon lease accept alder/l1                                             (operator)
  sillon lease drain alder/l1 --until 2026-12-24T00:00:00Z                 (owner)
  sillon lease confirm alder/l1                                            (owner)
  sillon lease transfer s1 --to birch/l9                                   (owner)";

pub(super) const CONTEXT_EXAMPLES: &str = "\
Examples:
  sillon context set lab --server https://ctl1.example:7470 \\
      --cert owner.crt --key owner.key --ca ca.crt
  sillon context use lab
  sillon context list";

pub(super) const EVENTS_EXAMPLES: &str = "\
Examples:
  sillon events -f
  sillon events -f --json | jq '.events[].key'";

pub(super) const ATTACH_EXAMPLES: &str = "\
Examples:
  sillon attach alder/lan edge1/p0 untagged
  sillon attach alder/lan edge1/h0 dot1q --name north
  sillon detach alder/north";
