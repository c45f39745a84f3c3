//! `peers`: who is in the mesh, how each was found, and what changes that.

mod change;
mod contacts;
mod discover;
mod list;
mod pair;
mod watch;

use super::Globals;
use crate::output::{Failure, Output};
use clap::builder::PossibleValuesParser;
use meshwork_proto::discovery::{PeerState, Source};

const EXAMPLES: &str = "\
Examples:
  meshwork peers                        everybody the node knows, connected ones first
  meshwork peers --capability gpu       who has that label, or serves that tool
  meshwork peers --announce             first tell all peers what this node offers
  meshwork peers discover               look for more now
  meshwork peers add /ip4/192.0.2.7/tcp/4001
  meshwork peers pair                   let a new node in with a code of nine digits";

/// Arguments of `peers`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PeersArgs {
    /// Without a command: what `list` takes.
    #[command(flatten)]
    pub(crate) list: list::ListOptions,
    /// What to do; list if absent.
    #[command(subcommand)]
    pub(crate) command: Option<PeersCommand>,
}

/// What can be done with peers.
#[derive(Debug, Clone, PartialEq, clap::Subcommand)]
pub(crate) enum PeersCommand {
    /// List the peers that the node knows, connected ones first
    List(list::ListOptions),
    /// Look for peers now, by all ways that are switched on
    Discover(discover::DiscoverOptions),
    /// Enter a peer by its address or its id, and connect to it
    Add(change::AddOptions),
    /// Forget a peer: it may come back by itself
    Forget(change::ForgetOptions),
    /// Forget the peers that have been silent for long
    Cleanup(change::CleanupOptions),
    /// Keep a peer out for good, or take that back
    Revoke(change::RevokeOptions),
    /// Let a new node in with a short code, or join with one
    Pair(pair::PairOptions),
    /// Show who comes and goes, until Ctrl-C
    Watch(watch::WatchOptions),
    /// Read first contacts and dial them, now
    Bootstrap(contacts::BootstrapOptions),
    /// List the first contacts, and why one of them fails
    Contacts(contacts::ContactsOptions),
}

pub(super) async fn execute(args: &PeersArgs, globals: &Globals, output: Output) -> Result<(), Failure> {
    if args.command.is_some() && args.list != list::ListOptions::default() {
        return Err(Failure::usage(
            "flags of `peers` itself have no effect on its commands: write them behind the command, as in \
             `meshwork peers list --max 10`",
        ));
    }
    let client = globals.connect().await?;
    match &args.command {
        None => list::execute(&args.list, &client, output).await,
        Some(PeersCommand::List(options)) => list::execute(options, &client, output).await,
        Some(PeersCommand::Discover(options)) => discover::execute(options, &client, output).await,
        Some(PeersCommand::Add(options)) => change::add(options, &client, output).await,
        Some(PeersCommand::Forget(options)) => change::forget(options, &client, output).await,
        Some(PeersCommand::Cleanup(options)) => change::clean_up(options, &client, output).await,
        Some(PeersCommand::Revoke(options)) => change::revoke(options, &client, output).await,
        Some(PeersCommand::Pair(options)) => pair::execute(options, &client, output).await,
        Some(PeersCommand::Watch(options)) => watch::execute(options, &client, output).await,
        Some(PeersCommand::Bootstrap(options)) => contacts::bootstrap(options, &client, output).await,
        Some(PeersCommand::Contacts(options)) => contacts::list(options, &client, output).await,
    }
}

/// The names of states, for help, checks and completions.
fn states() -> PossibleValuesParser {
    PossibleValuesParser::new(PeerState::ALL.map(PeerState::as_str))
}

/// The names of sources.
fn sources() -> PossibleValuesParser {
    PossibleValuesParser::new(Source::ALL.iter().map(|source| source.as_str()))
}
