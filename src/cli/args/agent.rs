//! `sillon agent`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::{
    agent::remote::Url,
    model::{MacAddr, Name},
};

/// `sillon agent`
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// To run one; there unless a subcommand is.
    #[command(flatten)]
    pub run: Option<RunArgs>,
    /// To talk to the one that runs.
    #[command(subcommand)]
    pub command: Option<AgentCommand>,
}

/// `sillon agent --config FILE`, or with `--controller`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub struct RunArgs {
    /// The configuration of the node (TOML)
    #[arg(long, value_name = "FILE", group = "source")]
    pub config: Option<PathBuf>,
    /// The controllers to follow instead, as https://HOST or https://HOST:PORT; they are tried one
    /// after the other
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        group = "source",
        requires_all = ["node", "cert", "key", "ca"],
    )]
    pub controller: Vec<Url>,
    /// The name of the node, with --controller
    #[arg(long, value_name = "NAME", requires = "controller")]
    pub node: Option<Name>,
    /// The node's certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "controller")]
    pub cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", requires = "controller")]
    pub key: Option<PathBuf>,
    /// Certificates of the CAs that controllers' certificates may be of (PEM)
    #[arg(long, value_name = "FILE", requires = "controller")]
    pub ca: Vec<PathBuf>,
    /// Revocation lists of these CAs (PEM)
    #[arg(long, value_name = "FILE", requires = "controller")]
    pub crl: Vec<PathBuf>,
    /// Where what the controller sent is kept, for when none answers
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
    /// For how many seconds the node goes on after its certificate was revoked, before its ports
    /// are shut
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    pub revoked_grace: u32,
    /// Where maps and links are pinned [default: /sys/fs/bpf/sillon/NODE]
    #[arg(long, value_name = "DIR")]
    pub bpffs: Option<PathBuf>,
    /// Where the agent's socket is
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUN_DIR)]
    pub run_dir: PathBuf,
    /// How XDP is attached
    #[arg(long, value_name = "MODE", default_value = "native")]
    pub xdp_mode: XdpMode,
}

/// How XDP is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum XdpMode {
    /// In the driver
    Native,
    /// In the kernel, for drivers without XDP: works everywhere, and is slow
    Generic,
}

/// What a running agent can be told.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Make the running agent read its file again; what did not change loses no frame
    #[command(after_help = RELOAD_EXAMPLES)]
    Reload(ReloadArgs),
    /// Let addresses move again that were frozen for moving too often
    #[command(after_help = THAW_EXAMPLES)]
    Thaw(ThawArgs),
}

/// `sillon agent reload`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub struct ReloadArgs {
    /// The configuration file of the agent that is meant, which names its node
    #[arg(long, value_name = "FILE", group = "which")]
    pub config: Option<PathBuf>,
    /// The name of the node that is meant
    #[arg(long, value_name = "NAME", group = "which")]
    pub node: Option<Name>,
    /// Where the agent's socket is
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUN_DIR)]
    pub run_dir: PathBuf,
}

/// `sillon agent thaw`
#[derive(Debug, Args)]
pub struct ThawArgs {
    /// The name of the node whose agent is meant
    #[arg(long, value_name = "NAME")]
    pub node: Name,
    /// The segment
    #[arg(long, value_name = "NAME")]
    pub segment: Name,
    /// Only this address; else all that are frozen there
    #[arg(value_name = "MAC")]
    pub mac: Option<MacAddr>,
    /// Where the agent's socket is
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUN_DIR)]
    pub run_dir: PathBuf,
}

/// Where the agent's socket is, if nothing else is said.
pub const DEFAULT_RUN_DIR: &str = "/run/sillon";
/// Where an agent keeps what its controller sent.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/sillon/agent";

pub(super) const AGENT_EXAMPLES: &str = "\
Examples:
  sudo sillon agent --config node.toml
  sudo sillon agent --config node.toml --xdp-mode generic    where the driver has no XDP
  sudo sillon agent reload --config node.toml                after a change of the file
  sudo sillon agent --controller https://ctl1.example,https://ctl2.example --node edge1 \\
      --cert node-edge1.crt --key node-edge1.key --ca ca.crt

Stopping the agent leaves the node forwarding, and starting it again takes over what is there.
`sillon node flush` takes the node down.";

const RELOAD_EXAMPLES: &str = "\
Examples:
  sudo sillon agent reload --config node.toml
  sudo sillon agent reload --node edge1

A file with an error changes nothing.";

const THAW_EXAMPLES: &str = "\
Examples:
  sudo sillon agent thaw --node edge1 --segment alder-lan
  sudo sillon agent thaw --node edge1 --segment alder-lan 02:00:00:00:00:01

`sillon node show fdb` shows which addresses are frozen. They thaw by themselves after the segment's
`freeze` seconds.";
