//! `peers add`, `forget`, `cleanup` and `revoke`.

use crate::cli::input;
use crate::client::{Answer, NodeClient, RegisterArgs};
use crate::output::{Exit, Failure, Output, counted};
use meshwork_proto::ErrorCode;

const ADD_EXAMPLES: &str = "\
Examples:
  meshwork peers add /ip4/192.0.2.7/tcp/4001
  meshwork peers add 12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN --address /dns/mesh.example.org/tcp/4001
  meshwork peers add /ip4/192.0.2.7/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN --no-connect

Exit code 3: it is in the book now, but could not be connected to.";

/// Arguments of `peers add`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(after_help = ADD_EXAMPLES)]
pub(crate) struct AddOptions {
    /// Its address (a multiaddress) or its peer id
    #[arg(value_name = "ADDRESS|PEER_ID")]
    pub(crate) target: String,
    /// Another address of it, may be given several times
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) address: Vec<String>,
    /// Only enter it into the book
    #[arg(long)]
    pub(crate) no_connect: bool,
    /// How long connecting may take
    #[arg(long, value_name = "TIME", value_parser = input::seconds, default_value = "10s")]
    pub(crate) timeout: f64,
    /// Enter it into the book of this peer (id or address)
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

impl AddOptions {
    fn arguments(&self) -> RegisterArgs {
        let mut addresses = self.address.clone();
        let is_address = self.target.starts_with('/');
        if is_address {
            addresses.insert(0, self.target.clone());
        }
        RegisterArgs {
            peer_id: (!is_address).then(|| self.target.clone()),
            addresses,
            connect: !self.no_connect,
            timeout_s: Some(self.timeout),
            peer: self.peer.clone(),
        }
    }
}

pub(super) async fn add(options: &AddOptions, client: &NodeClient, output: Output) -> Result<(), Failure> {
    let progress = output.progress();
    progress.say(format!("connecting to {}", options.target));
    let answer = client.register_peer(&options.arguments()).await;
    progress.finish();
    let answer = answer?;
    let problem = answer.text("problem").map(str::to_owned);
    if output.is_json() {
        output.json(&answer.0)?;
        return if problem.is_some() { Err(Failure::Shown(Exit::Unreachable)) } else { Ok(()) };
    }
    let target = answer.shown("target");
    match problem {
        Some(problem) => {
            let message =
                format!("peer {target} is in the book now, but could not be connected to: {problem}");
            Err(Failure::new(ErrorCode::Unreachable, message))
        }
        None => {
            let known = if answer.is_true("new") { "" } else { ", and was in the book already" };
            output.line(format!("{target} is {}{known}", answer.shown("state")))
        }
    }
}

const FORGET_EXAMPLES: &str = "\
Examples:
  meshwork peers forget 12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN

It is not kept out: it may connect again, or be found again. `meshwork peers revoke` keeps it out.";

/// Arguments of `peers forget`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = FORGET_EXAMPLES)]
pub(crate) struct ForgetOptions {
    /// Id of the peer
    #[arg(value_name = "PEER_ID")]
    pub(crate) target: String,
    /// Have this peer (id or address) forget it; it must have made this node its admin
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

pub(super) async fn forget(
    options: &ForgetOptions,
    client: &NodeClient,
    output: Output,
) -> Result<(), Failure> {
    let answer = client.forget_peer(&options.target, options.peer.as_deref()).await?;
    let known = answer.is_true("known");
    if output.is_json() {
        output.json(&answer.0)?;
        return if known { Ok(()) } else { Err(Failure::Shown(Exit::NotFound)) };
    }
    if known {
        return output.line(format!("{} is forgotten", options.target));
    }
    Err(Failure::new(ErrorCode::UnknownPeer, format!("peer {} is not in the book", options.target)))
}

const CLEANUP_EXAMPLES: &str = "\
Examples:
  meshwork peers cleanup                       who has been silent for its time to live
  meshwork peers cleanup --silent 10m --dry-run  only say who would be forgotten

The node does so by itself; connected peers are never forgotten.";

/// Arguments of `peers cleanup`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(after_help = CLEANUP_EXAMPLES)]
pub(crate) struct CleanupOptions {
    /// Forget who has been silent for so long [default: the time to live of each source]
    #[arg(long, value_name = "TIME", value_parser = input::seconds)]
    pub(crate) silent: Option<f64>,
    /// Only say who would be forgotten
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Clean up the book of this peer (id or address); it must have made this node its admin
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

pub(super) async fn clean_up(
    options: &CleanupOptions,
    client: &NodeClient,
    output: Output,
) -> Result<(), Failure> {
    let answer = client.clean_up_peers(options.silent, options.dry_run, options.peer.as_deref()).await?;
    if output.is_json() {
        return output.json(&answer.0);
    }
    for peer in answer.texts("forgotten") {
        output.line(peer)?;
    }
    let count = counted(answer.whole("count").unwrap_or(0), "peer");
    let done = if options.dry_run { "would be forgotten" } else { "forgotten" };
    output.note(format!("{count} {done}, {} in the book", answer.whole("kept").unwrap_or(0)));
    Ok(())
}

const REVOKE_EXAMPLES: &str = "\
Examples:
  meshwork peers revoke 12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN
  meshwork peers revoke 12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN --undo

It holds at this node. Who knows the mesh secret can come back under another id: change the secret too (`meshwork
secret`). --undo also ends a ban for misbehaviour.";

/// Arguments of `peers revoke`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = REVOKE_EXAMPLES)]
pub(crate) struct RevokeOptions {
    /// Id of the peer
    #[arg(value_name = "PEER_ID")]
    pub(crate) target: String,
    /// Take an earlier revocation, or a ban, back
    #[arg(long)]
    pub(crate) undo: bool,
    /// Have this peer (id or address) revoke it; it must have made this node its admin
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

pub(super) async fn revoke(
    options: &RevokeOptions,
    client: &NodeClient,
    output: Output,
) -> Result<(), Failure> {
    let answer = client.revoke_peer(&options.target, options.undo, options.peer.as_deref()).await?;
    if output.is_json() { output.json(&answer.0) } else { output.line(revoked(&options.target, &answer)) }
}

fn revoked(target: &str, answer: &Answer) -> String {
    match (answer.is_true("revoked"), answer.is_true("changed")) {
        (true, true) => {
            let closed = answer.whole("closed").unwrap_or(0);
            format!("{target} is revoked; {} closed", counted(closed, "connection"))
        }
        (true, false) => format!("{target} was revoked already"),
        (false, true) => format!("{target} is let in again"),
        (false, false) => format!("{target} was not shut out"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_peer_is_added_by_address_or_by_id() {
        let options = |target: &str, no_connect| AddOptions {
            target: target.into(),
            address: vec!["/ip4/192.0.2.8/tcp/1".into()],
            no_connect,
            timeout: 10.0,
            peer: None,
        };
        let by_address = options("/ip4/192.0.2.7/tcp/1", false).arguments();
        assert_eq!((by_address.peer_id, by_address.connect), (None, true));
        assert_eq!(by_address.addresses, ["/ip4/192.0.2.7/tcp/1", "/ip4/192.0.2.8/tcp/1"]);
        let by_id = options("12D3KooW", true).arguments();
        assert_eq!((by_id.peer_id.as_deref(), by_id.connect), (Some("12D3KooW"), false));
        assert_eq!(by_id.addresses.len(), 1);
    }

    #[test]
    fn a_revocation_says_what_it_changed() {
        let said =
            |revoked, changed| revoked_text(&json!({"revoked": revoked, "changed": changed, "closed": 1}));
        assert_eq!(said(true, true), "p is revoked; 1 connection closed");
        assert_eq!(said(true, false), "p was revoked already");
        assert_eq!(said(false, true), "p is let in again");
        assert_eq!(said(false, false), "p was not shut out");
    }

    fn revoked_text(answer: &serde_json::Value) -> String {
        revoked("p", &Answer(answer.clone()))
    }
}
