//! `sillon node`, `sillon verify` and `sillon check`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::fabric::Connect;
use crate::model::Name;

/// `sillon check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration to check (TOML)
    pub file: PathBuf,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// `sillon verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Which node
    #[command(flatten)]
    pub which: WhichNode,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// `sillon node`
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub command: NodeCommand,
}

/// What can be done with a node that is there, whether its agent runs or not.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Print what a node holds and counts
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ShowArgs),
    /// Take everything down: detach the programs, remove the maps, restore the ports
    #[command(after_help = FLUSH_EXAMPLES)]
    Flush(FlushArgs),
    /// Tell the controller that a node's machine is gone for good: nobody waits any more for what
    /// it had to give up (owner)
    #[command(after_help = FORGET_EXAMPLES)]
    Forget(ForgetArgs),
}

/// `sillon node forget`
#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// The node, as the fabric calls it
    pub name: Name,
    /// Whom to ask
    #[command(flatten)]
    pub connect: Connect,
}

/// `sillon node show`
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// What to print
    #[arg(default_value = "all")]
    pub what: What,
    /// Which node
    #[command(flatten)]
    pub which: WhichNode,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
    /// Where its agent says what it left out
    #[arg(long, value_name = "DIR", default_value = super::agent::DEFAULT_RUN_DIR)]
    pub run_dir: PathBuf,
}

/// `sillon node flush`
#[derive(Debug, Args)]
pub struct FlushArgs {
    /// Which node
    #[command(flatten)]
    pub which: WhichNode,
}

/// Which node of this machine is meant.
#[derive(Debug, Args)]
pub struct WhichNode {
    /// The name of the node; not needed where there is only one
    #[arg(long, value_name = "NAME")]
    pub node: Option<Name>,
    /// Where its maps and links are pinned [default: /sys/fs/bpf/sillon/NODE]
    #[arg(long, value_name = "DIR")]
    pub bpffs: Option<PathBuf>,
}

/// What `sillon node show` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// The ports and their attachments
    Ports,
    /// The segments
    Segments,
    /// The addresses that were learned
    Fdb,
    /// Who has which IP address, in segments that answer ARP and neighbour discovery
    Bindings,
    /// The other nodes and the way to them
    Remotes,
    /// What the attachments may send and be sent, and what became of it
    Guards,
    /// How many frames were dropped, and why
    Drops,
    /// What is asked of the node and not carried out, and why
    LeftOut,
    /// All of it
    All,
}

pub(super) const CHECK_EXAMPLES: &str = "\
Examples:
  sillon check node.toml
  sillon check node.toml --json | jq '.diagnostics[].message'

Exits with 0 if the file is right (warnings are allowed), and with 2 if it is not.";

pub(super) const VERIFY_EXAMPLES: &str = "\
Examples:
  sudo sillon verify
  sudo sillon verify --node edge1 --json | jq '.violations[]'

It reads the maps that the programs use, whether an agent runs or not, and checks every entry: each
port and tag leads to one segment, each VNI leads to one segment, and every FDB entry, binding,
flood list, line and tunnel stays inside its segment.

Exits with 0 if that is so, and with 1 if it is not.";

const SHOW_EXAMPLES: &str = "\
Examples:
  sudo sillon node show
  sudo sillon node show fdb --node edge1
  sudo sillon node show bindings           whom ARP and neighbour discovery are answered for
  sudo sillon node show guards             bandwidth profiles with their colours, and storm control
  sudo sillon node show drops --json";

const FORGET_EXAMPLES: &str = "\
Examples:
  sillon pki revoke node/edge7 && sillon node forget edge7

Only do this if the machine is gone for good. One that is merely cut off still forwards what it
last had, so revoke its certificate first.

Whatever waited for the node goes on at once: a lease in quarantine, a VNI or VID that was freed.
The node can come back only after it was deleted and made again.";

const FLUSH_EXAMPLES: &str = "\
Examples:
  sudo sillon node flush
  sudo sillon node flush --node edge1

The node stops forwarding. Stop its agent first.";
