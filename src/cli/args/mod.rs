//! The commands and their options, as clap reads them.

mod agent;
mod audit;
mod fabric;
mod node;
mod pki;
mod store;

pub use self::{agent::*, audit::*, fabric::*, node::*, pki::*, store::*};

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

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
    #[command(
        after_help = agent::AGENT_EXAMPLES,
        args_conflicts_with_subcommands = true,
        subcommand_negates_reqs = true,
    )]
    Agent(Box<AgentArgs>),
    /// Keep a fabric: who rents what, and what every node shall do
    #[command(after_help = CONTROLLER_EXAMPLES)]
    Controller(ControllerArgs),
    /// Check a configuration without touching the kernel
    #[command(after_help = node::CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Prove that what a node's maps hold keeps its operators apart
    #[command(after_help = node::VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
    /// Look at a node, or take it down
    #[command(arg_required_else_help = true)]
    Node(NodeArgs),
    /// Take what a controller keeps elsewhere and back
    #[command(arg_required_else_help = true, after_help = store::STORE_EXAMPLES)]
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
    /// Keep what was applied with --confirm
    #[command(after_help = fabric::CONFIRM_EXAMPLES)]
    Confirm(TrialArgs),
    /// Take back what was applied with --confirm, at once
    #[command(after_help = fabric::CONFIRM_EXAMPLES)]
    Rollback(TrialArgs),
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
    /// Print what makes a shell complete our commands
    #[command(after_help = COMPLETION_EXAMPLES)]
    Completion(CompletionArgs),
    /// Write our manual pages
    #[command(hide = true)]
    Man(ManArgs),
}

/// `sillon controller`
#[derive(Debug, Args)]
pub struct ControllerArgs {
    /// The controller's configuration (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// `sillon completion`
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// The shell
    pub shell: Shell,
}

/// `sillon man`
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Where to write them, one a command
    #[arg(value_name = "DIR")]
    pub out: PathBuf,
}

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

Exit codes:
  0 done
  1 failed
  2 wrong usage or wrong input
  3 there is a difference
  4 refused for lack of rights";

const CONTROLLER_EXAMPLES: &str = "\
Examples:
  sillon controller --config controller.toml

The file:
  store = \"/var/lib/sillon/fabric.db\"   keeps the fabric; made if it is not there. Several
                                        controllers share \"etcd://HOST:PORT,HOST:PORT/PREFIX\",
                                        or \"etcds://…\" with [etcd] ca, certificate and key
  [agents]
  listen = [\"0.0.0.0:7471\"]             serves the nodes' agents
  [api]                                 serves the owner and the operators; may be left out
  listen = [\"0.0.0.0:7470\"]
  secret = \"api.secret\"                 32 random bytes, the same for all controllers of one
                                        store; may be left out if there is one
  [tls]
  certificate = \"controller.crt\"        made by `sillon pki issue controller/NAME`
  key = \"controller.key\"
  roots = [\"ca.crt\"]                    the CAs whose certificates are taken
  revocations = [\"crl.pem\"]             their revocation lists, if there are any
  [audit]                               signs checkpoints of the log of changes; may be left out
  name = \"north.example/audit\"
  key = \"audit.key\"                     made by `sillon audit key --name north.example/audit`

Paths are relative to the file. Certificates are read again when they change, and on SIGHUP.
SIGTERM stops the controller.";

const COMPLETION_EXAMPLES: &str = "\
Examples:
  source <(sillon completion bash)                                          for this shell
  sillon completion bash > ~/.local/share/bash-completion/completions/sillon
  sillon completion zsh > ~/.zfunc/_sillon                                  a directory of $fpath
  sillon completion fish > ~/.config/fish/completions/sillon.fish

The Debian package brings them along.";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

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
        let Ok(Command::Agent(agent)) = parse("sillon agent --config a.toml --xdp-mode generic -v")
        else {
            panic!()
        };
        let run = agent.run.unwrap();
        assert_eq!((run.run_dir.to_str(), run.xdp_mode), (Some("/run/sillon"), XdpMode::Generic));
        let Ok(Command::Agent(agent)) = parse("sillon agent reload --node edge1 -v") else {
            panic!()
        };
        assert!(matches!(agent.command, Some(AgentCommand::Reload(_))) && agent.run.is_none());
    }

    #[test]
    fn a_reload_means_one_agent() {
        assert_eq!(parse("sillon agent reload").unwrap_err(), ErrorKind::MissingRequiredArgument);
        let both = "sillon agent reload --node a --config b";
        assert_eq!(parse(both).unwrap_err(), ErrorKind::ArgumentConflict);
        assert_eq!(
            parse("sillon agent reload --node ../a").unwrap_err(),
            ErrorKind::ValueValidation
        );
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
