//! `p2p_peer_register`: enters a peer by hand.

use super::{FINDS, bounded, subject, within};
use crate::node::{Node, PATIENCE, millis};
use crate::tools::{Failure, Hints, MeshTool};
use meshwork_proto::PeerId;
use meshwork_proto::discovery::{RegisterError, RegisterPeer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Enters a peer.
pub(crate) struct RegisterTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegisterIn {
    /// The peer's id; whoever answers at the address if absent.
    peer_id: Option<String>,
    /// Its address, a multiaddress with or without /p2p/ and the peer's id.
    address: Option<String>,
    /// Its addresses, if there are several.
    #[schemars(length(max = 64))]
    addresses: Option<Vec<String>>,
    /// Whether to connect to it now (true if absent), or only to enter it.
    connect: Option<bool>,
    /// Seconds that connecting may take, at most 120; 10 if absent.
    #[schemars(range(min = 0, max = 120))]
    timeout_s: Option<f64>,
    /// Peer into whose book to enter it, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// What became of it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RegisterOut {
    /// The peer whose book it was entered into.
    peer_id: String,
    /// The peer that was entered: as given, or as it answered.
    target: String,
    /// Where it stands now: connected, known, stale, left or banned.
    state: String,
    /// Whether it was new to the book.
    new: bool,
    /// Why it could not be connected to, if it could not; the node tries again by itself.
    problem: Option<String>,
}

impl MeshTool for RegisterTool {
    const NAME: &'static str = "p2p_peer_register";
    const TITLE: &'static str = "Enter a peer";
    const DESCRIPTION: &'static str = "Enters a peer into the node's book by its id, its address or both, and connects to \
        it. It becomes a member only if both sides admit each other (the mesh secret, or allowed by name): problem says \
        what is missing.";
    const EXAMPLE: &'static str = r#"{"address": "/ip4/192.0.2.7/tcp/4001"}"#;
    const HINTS: Hints = FINDS;
    type Input = RegisterIn;
    type Output = RegisterOut;

    async fn run(node: &Node, input: RegisterIn) -> Result<RegisterOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let peer = input.peer_id.as_deref().map(subject).transpose()?;
        let mut addresses = input.addresses.unwrap_or_default();
        addresses.extend(input.address);
        let addresses = bounded(addresses)?;
        let connect_within = within(input.timeout_s)?;
        let connect_within = if input.connect.unwrap_or(true) { connect_within } else { Duration::ZERO };
        check(peer.as_ref(), &addresses, connect_within)?;
        let register = RegisterPeer { peer, addresses, connect_within_ms: millis(connect_within) };
        let answer = node.ask(&at, register, connect_within.saturating_add(PATIENCE)).await?;
        Ok(RegisterOut {
            peer_id: answer.peer.to_string(),
            target: answer.value.peer.to_string(),
            state: answer.value.state.as_str().into(),
            new: answer.value.new,
            problem: answer.value.problem,
        })
    }
}

/// What can be seen to be of no use without asking anybody.
fn check(peer: Option<&PeerId>, addresses: &[String], connect_within: Duration) -> Result<(), Failure> {
    if peer.is_some() {
        return Ok(());
    }
    if addresses.is_empty() {
        return Err(Failure::from_coded(&RegisterError::Nothing));
    }
    if connect_within.is_zero() && !addresses.iter().any(|address| address.contains("/p2p/")) {
        return Err(Failure::invalid(
            "without connecting nobody says who is at the address: give peer_id, or an address that ends in \
             /p2p/<peer id>, or leave connect out",
        ));
    }
    Ok(())
}
