//! `p2p_peer_cleanup`, `p2p_peer_forget` and `p2p_peer_revoke`: who is gone, and who shall be.

use super::{TAKES, subject};
use crate::node::{Node, PATIENCE, millis};
use crate::tools::input::{MAX_TIME_S, invalid, seconds};
use crate::tools::{Failure, Hints, MeshTool};
use meshwork_proto::discovery::{CleanUp, ForgetPeer};
use meshwork_proto::transport::RevokePeer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Forgets silent peers.
pub(crate) struct CleanupTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CleanupIn {
    /// Forget peers that nothing has confirmed for so many seconds; the time to live of each source if absent.
    #[schemars(range(min = 0, max = 31_536_000))]
    silent_s: Option<f64>,
    /// Only say who would be forgotten.
    dry_run: Option<bool>,
    /// Peer whose book to clean up, as peer id or multiaddress; this node if absent. Needs the admin role there.
    peer: Option<String>,
}

/// Who was forgotten.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CleanupOut {
    /// The peer whose book it is.
    peer_id: String,
    /// Whether nothing was changed.
    dry_run: bool,
    /// How many peers were forgotten, or would be.
    count: usize,
    /// Their ids.
    forgotten: Vec<String>,
    /// How many peers are in the book after that.
    kept: u32,
}

impl MeshTool for CleanupTool {
    const NAME: &'static str = "p2p_peer_cleanup";
    const TITLE: &'static str = "Forget silent peers";
    const DESCRIPTION: &'static str = "Forgets the peers that nothing has confirmed for their time to live, or for silent_s \
        seconds, with their addresses and what they offered. The node does so by itself regularly. Connected peers are \
        never forgotten, and a forgotten peer comes back when it is heard of again.";
    const EXAMPLE: &'static str = r#"{"silent_s": 600, "dry_run": true}"#;
    const HINTS: Hints = TAKES;
    type Input = CleanupIn;
    type Output = CleanupOut;

    async fn run(node: &Node, input: CleanupIn) -> Result<CleanupOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let dry_run = input.dry_run.unwrap_or(false);
        let silent_ms = match input.silent_s {
            None => None,
            Some(silent_s) => match millis(seconds("silent_s", silent_s, MAX_TIME_S)?) {
                // To the book zero is "never": nobody would be forgotten, which is not what was meant.
                0 => {
                    return Err(
                        invalid(format!("silent_s is {silent_s}: expected more than 0 seconds")).into()
                    );
                }
                millis => Some(millis),
            },
        };
        let answer = node.ask(&at, CleanUp { silent_ms, ttl_ms: BTreeMap::new(), dry_run }, PATIENCE).await?;
        let forgotten: Vec<String> = answer.value.forgotten.iter().map(ToString::to_string).collect();
        Ok(CleanupOut {
            peer_id: answer.peer.to_string(),
            dry_run,
            count: forgotten.len(),
            forgotten,
            kept: answer.value.kept,
        })
    }
}

/// Forgets a peer.
pub(crate) struct ForgetTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForgetIn {
    /// Id of the peer to forget.
    peer_id: String,
    /// Peer that is to forget it, as peer id or multiaddress; this node if absent. Needs the admin role there.
    peer: Option<String>,
}

/// What became of it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ForgetOut {
    /// The peer that forgot it.
    peer_id: String,
    /// The peer that was forgotten.
    target: String,
    /// Whether it was in the book.
    known: bool,
}

impl MeshTool for ForgetTool {
    const NAME: &'static str = "p2p_peer_forget";
    const TITLE: &'static str = "Forget a peer";
    const DESCRIPTION: &'static str = "Closes the connection to a peer and removes it from the book with its addresses. It \
        may come back by itself or be found again: to keep it out use p2p_peer_revoke.";
    const EXAMPLE: &'static str = r#"{"peer_id": "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"}"#;
    const HINTS: Hints = TAKES;
    type Input = ForgetIn;
    type Output = ForgetOut;

    async fn run(node: &Node, input: ForgetIn) -> Result<ForgetOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let peer = subject(&input.peer_id)?;
        let target = peer.to_string();
        let answer = node.ask(&at, ForgetPeer { peer }, PATIENCE).await?;
        Ok(ForgetOut { peer_id: answer.peer.to_string(), target, known: answer.value })
    }
}

/// Revokes a peer.
pub(crate) struct RevokeTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeIn {
    /// Id of the peer to revoke.
    peer_id: String,
    /// Takes an earlier revocation, or a ban for misbehaviour, back.
    undo: Option<bool>,
    /// Peer that is to keep it out, as peer id or multiaddress; this node if absent. Needs the admin role there.
    peer: Option<String>,
}

/// What it changed.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RevokeOut {
    /// The peer that keeps it out.
    peer_id: String,
    /// The peer that is meant.
    target: String,
    /// Whether it is revoked now.
    revoked: bool,
    /// Whether that is a change.
    changed: bool,
    /// Connections that were closed.
    closed: u32,
}

impl MeshTool for RevokeTool {
    const NAME: &'static str = "p2p_peer_revoke";
    const TITLE: &'static str = "Revoke a peer";
    const DESCRIPTION: &'static str = "Keeps a peer out of this node for good, whatever it proves: its connections are \
        closed at once and it is not admitted again, until undo takes that back. It holds at this node; other nodes of \
        the mesh must revoke it too, or the mesh secret be changed.";
    const EXAMPLE: &'static str = r#"{"peer_id": "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"}"#;
    const HINTS: Hints = TAKES;
    type Input = RevokeIn;
    type Output = RevokeOut;

    async fn run(node: &Node, input: RevokeIn) -> Result<RevokeOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let peer = subject(&input.peer_id)?;
        let target = peer.to_string();
        let answer = node.ask(&at, RevokePeer { peer, undo: input.undo.unwrap_or(false) }, PATIENCE).await?;
        Ok(RevokeOut {
            peer_id: answer.peer.to_string(),
            target,
            revoked: answer.value.revoked,
            changed: answer.value.changed,
            closed: answer.value.closed,
        })
    }
}
