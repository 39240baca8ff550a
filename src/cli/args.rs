//! The commands and their options, as clap reads them.

mod audit;
mod fabric;
mod pki;

pub use self::audit::*;
pub use self::fabric::*;
pub use self::pki::*;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::agent::remote::Url;
use crate::model::{MacAddr, Name};
use crate::store::Place;

/// Carves isolated layer-2 segments for competing operators out of shared ports
#[derive(Debug, Parser)]
#[command(name = "sillon", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    /// Say more; twice says everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Also into a file or a pipe
    Always,
    /// Not at all
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run this machine as a node: attach the programs to its ports and keep them as FILE says
    #[command(after_help = AGENT_EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Agent(Box<AgentArgs>),
    /// Keep a fabric: who rents what, and what every node shall do
    #[command(after_help = CONTROLLER_EXAMPLES)]
    Controller(ControllerArgs),
    /// Check a configuration without touching the kernel
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Prove that what a node's maps hold keeps its operators apart
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
    /// Look at a node, or take it down
    #[command(arg_required_else_help = true)]
    Node(NodeArgs),
    /// Take what a controller keeps elsewhere and back
    #[command(arg_required_else_help = true, after_help = STORE_EXAMPLES)]
    Store(StoreArgs),
    /// Print objects of the fabric
    #[command(after_help = fabric::GET_EXAMPLES)]
    Get(GetArgs),
    /// Print all of one object
    Describe(OneArgs),
    /// Remove an object
    Delete(OneArgs),
    /// Make the fabric what files say
    #[command(after_help = fabric::APPLY_EXAMPLES)]
    Apply(ApplyArgs),
    /// Compare the fabric with what files say
    #[command(after_help = fabric::DIFF_EXAMPLES)]
    Diff(DiffArgs),
    /// Offer servers, take them, and give them back
    #[command(arg_required_else_help = true, after_help = fabric::LEASE_EXAMPLES)]
    Lease(LeaseArgs),
    /// Attach a segment to a port
    #[command(after_help = fabric::ATTACH_EXAMPLES)]
    Attach(AttachArgs),
    /// Remove an attachment
    Detach(DetachArgs),
    /// Print what happens in the fabric
    #[command(after_help = fabric::EVENTS_EXAMPLES)]
    Events(EventsArgs),
    /// Print as whom the controller knows you
    Whoami(WhoamiArgs),
    /// Choose which controller is asked, and as whom
    #[command(arg_required_else_help = true, after_help = fabric::CONTEXT_EXAMPLES)]
    Context(ContextArgs),
    /// Make and revoke certificates: who may come in, and as whom
    #[command(arg_required_else_help = true)]
    Pki(PkiArgs),
    /// Read and check the log of all changes
    #[command(arg_required_else_help = true)]
    Audit(AuditArgs),
}

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
    /// The controllers to follow instead, as https://HOST or https://HOST:PORT; one after the other is tried
    #[arg(long, value_name = "URL", value_delimiter = ',', group = "source", requires_all = ["node", "cert", "key", "ca"])]
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
    /// For how many seconds the node goes on after its certificate was revoked, before its ports are shut
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

/// `sillon controller`
#[derive(Debug, Args)]
pub struct ControllerArgs {
    /// The controller's configuration (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
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
    /// Tell the controller that a node's machine is gone for good: nobody waits any more for what it had to give up (owner)
    #[command(after_help = FORGET_EXAMPLES)]
    Forget(ForgetArgs),
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
}

/// `sillon node flush`
#[derive(Debug, Args)]
pub struct FlushArgs {
    /// Which node
    #[command(flatten)]
    pub which: WhichNode,
}

/// `sillon node forget`
#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// The node, as the fabric calls it
    pub name: Name,
    /// Whom to ask
    #[command(flatten)]
    pub connect: fabric::Connect,
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
    /// All of it
    All,
}

/// `sillon store`
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub command: StoreCommand,
}

/// What can be done with a store. STORE is the controller's FILE, or `etcd://HOST:PORT,HOST:PORT/PREFIX` (`etcds://` with TLS).
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
    pub store: Place,
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
    pub store: Place,
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
    pub store: Place,
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
    pub from: Place,
    /// The store to write; it has to be empty
    pub to: Place,
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
    #[arg(long, value_name = "FILE", env = "SILLON_ETCD_CERT", requires_all = ["etcd_ca", "etcd_key"])]
    pub etcd_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", env = "SILLON_ETCD_KEY", requires_all = ["etcd_ca", "etcd_cert"])]
    pub etcd_key: Option<PathBuf>,
}

/// Where the agent's socket is, if nothing else is said.
pub const DEFAULT_RUN_DIR: &str = "/run/sillon";
/// Where an agent keeps what its controller sent.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/sillon/agent";

const EXAMPLES: &str = "\
Examples:
  sillon check node.toml                   is this configuration right?
  sudo sillon agent --config node.toml     run the node that it describes
  sudo sillon node show                    what it does
  sudo sillon verify                       is everything in it where it belongs?
  sudo sillon node show drops --json       what it dropped and why, for a program
  sudo sillon node flush                   take it down

  sillon get segments                      what there is in the fabric, from its controller
  sillon apply -f fabric.yaml              make it what a file says

Exit codes: 0 done, 1 failed, 2 wrong usage or wrong input, 3 there is a difference, 4 refused for lack of rights";

const AGENT_EXAMPLES: &str = "\
Examples:
  sudo sillon agent --config node.toml
  sudo sillon agent --config node.toml --xdp-mode generic    where the driver has no XDP
  sudo sillon agent reload --config node.toml                after a change of the file
  sudo sillon agent --controller https://ctl1.example,https://ctl2.example --node edge1 \
      --cert node-edge1.crt --key node-edge1.key --ca ca.crt

Stopping the agent leaves the node forwarding, and starting it again takes over what is there.
`sillon node flush` takes the node down.";

const CONTROLLER_EXAMPLES: &str = "\
Examples:
  sillon controller --config controller.toml

The file:
  store = \"/var/lib/sillon/fabric.db\"         where the fabric is kept; made if it is not there.
                                              For several controllers: \"etcd://HOST:PORT,HOST:PORT/PREFIX\", or
                                              \"etcds://…\" with [etcd] ca = …, certificate = …, key = …
  [agents]
  listen = [\"0.0.0.0:7471\"]                   where nodes' agents are served
  [api]                                       where the owner and the operators are served; none if left out
  listen = [\"0.0.0.0:7470\"]
  secret = \"api.secret\"                       32 random bytes, the same for all controllers of one store; may be left out
  [tls]
  certificate = \"controller.crt\"              what `sillon pki issue controller/NAME` made
  key = \"controller.key\"
  roots = [\"ca.crt\"]                          whose certificates are taken
  revocations = [\"crl.pem\"]                   unless there are no revocation lists
  [audit]                                     without it, the log of changes has no signed checkpoints
  name = \"north.example/audit\"
  key = \"audit.key\"                           what `sillon audit key --name north.example/audit` made

Paths are relative to the file. SIGHUP reads certificates again, which happens by itself, too. SIGTERM ends it.";

const RELOAD_EXAMPLES: &str = "\
Examples:
  sudo sillon agent reload --config node.toml
  sudo sillon agent reload --node edge1

A file with an error changes nothing.";

const THAW_EXAMPLES: &str = "\
Examples:
  sudo sillon agent thaw --node edge1 --segment alder-lan
  sudo sillon agent thaw --node edge1 --segment alder-lan 02:00:00:00:00:01

`sillon node show fdb` says which are frozen. They thaw by themselves after the segment's `freeze` seconds.";

const CHECK_EXAMPLES: &str = "\
Examples:
  sillon check node.toml
  sillon check node.toml --json | jq '.diagnostics[].message'

Exits with 0 if the file is right (warnings are allowed), and with 2 if it is not.";

const VERIFY_EXAMPLES: &str = "\
Examples:
  sudo sillon verify
  sudo sillon verify --node edge1 --json | jq '.violations[]'

It reads the maps that the programs use, whether an agent runs or not, and looks at every entry: each port and tag must lead
to one segment, each VNI to one segment, and every FDB entry, binding, flood list, line and tunnel must stay inside its segment.

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

A machine that is only cut off still forwards what it last had: revoke its certificate first, and be sure. What waited for it (a lease in
quarantine, a VNI or VID that was freed) goes on at once. The node takes part again only after it was deleted and made anew.";

const FLUSH_EXAMPLES: &str = "\
Examples:
  sudo sillon node flush
  sudo sillon node flush --node edge1

The node stops forwarding. Stop its agent first.";

const STORE_EXAMPLES: &str = "\
Examples:
  sillon store export /var/lib/sillon/store.db backup.sillon
  sillon store migrate /var/lib/sillon/store.db etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379

STORE is the controller's FILE, or etcd://HOST:PORT,HOST:PORT/PREFIX (etcds:// with TLS; the prefix is \"sillon\" if none is given).
Exit codes: 0 done, 1 failed, 2 wrong usage or wrong input, and nothing was changed";

const EXPORT_EXAMPLES: &str = "\
Examples:
  sillon store export /var/lib/sillon/store.db backup.sillon
  sillon store export etcds://10.0.0.1,10.0.0.2,10.0.0.3 --etcd-ca ca.pem backup.sillon --force
  sillon store export /var/lib/sillon/store.db - | gzip > backup.sillon.gz

A controller has its FILE for itself: stop it before. Controllers on etcd may go on; what is exported is what there was at one moment.";

const IMPORT_EXAMPLES: &str = "\
Examples:
  sillon store import /var/lib/sillon/store.db backup.sillon
  sillon store import etcd://10.0.0.1,10.0.0.2,10.0.0.3 backup.sillon --replace

Stop the controllers before. With --replace, versions that were in use before are not used again.";

const COMPACT_EXAMPLES: &str = "\
Examples:
  sillon store compact etcd://10.0.0.1,10.0.0.2,10.0.0.3
  sillon store compact /var/lib/sillon/store.db --keep 0

Who follows the changes and is further behind than what is kept begins anew with all that is there.
A controller has its FILE for itself: stop it before. Controllers on etcd may go on.";

const MIGRATE_EXAMPLES: &str = "\
Examples:
  sillon store migrate /var/lib/sillon/store.db etcd://10.0.0.1,10.0.0.2,10.0.0.3
  sillon store migrate etcd://10.0.0.1,10.0.0.2,10.0.0.3 store.db

Stop the controllers before, and start them with the other store after. What was written is read back and compared.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Command, ErrorKind> {
        Cli::try_parse_from(line.split(' ')).map(|cli| cli.command).map_err(|error| error.kind())
    }

    #[test]
    fn the_definitions_agree_with_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_agent_needs_a_configuration_unless_it_is_told_something() {
        assert_eq!(parse("sillon agent").unwrap_err(), ErrorKind::MissingRequiredArgument);
        let Ok(Command::Agent(agent)) = parse("sillon agent --config a.toml --xdp-mode generic -v") else {
            panic!()
        };
        let run = agent.run.unwrap();
        assert_eq!((run.run_dir.to_str(), run.xdp_mode), (Some("/run/sillon"), XdpMode::Generic));
        let Ok(Command::Agent(agent)) = parse("sillon agent reload --node edge1 -v") else { panic!() };
        assert!(matches!(agent.command, Some(AgentCommand::Reload(_))) && agent.run.is_none());
    }

    #[test]
    fn a_reload_means_one_agent() {
        assert_eq!(parse("sillon agent reload").unwrap_err(), ErrorKind::MissingRequiredArgument);
        let both = "sillon agent reload --node a --config b";
        assert_eq!(parse(both).unwrap_err(), ErrorKind::ArgumentConflict);
        assert_eq!(parse("sillon agent reload --node ../a").unwrap_err(), ErrorKind::ValueValidation);
        assert_eq!(
            parse("sillon agent --config a reload --node a").unwrap_err(),
            ErrorKind::ArgumentConflict
        );
    }

    #[test]
    fn a_node_shows_all_unless_told_what() {
        let Ok(Command::Node(node)) = parse("sillon node show") else { panic!() };
        assert!(matches!(node.command, NodeCommand::Show(ShowArgs { what: What::All, .. })));
        assert_eq!(parse("sillon node show fbd").unwrap_err(), ErrorKind::InvalidValue);
    }
}
