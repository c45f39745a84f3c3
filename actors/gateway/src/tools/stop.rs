//! `p2p_taskqueue_shutdown`: drains a node.

use super::input::seconds;
use super::{Failure, Hints, MeshTool};
use crate::node::{Node, PATIENCE, millis};
use meshwork_proto::node::Shutdown;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Seconds that running tasks have when none are given.
const DEFAULT_DEADLINE_S: f64 = 30.0;
/// Most seconds that running tasks may be given: a day.
const MAX_DEADLINE_S: f64 = 86_400.0;

/// Drains a node.
pub(crate) struct ShutdownTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShutdownIn {
    /// Seconds that running tasks may still take; then they are given back to their owners. 30 if absent.
    #[schemars(range(min = 0, max = 86_400))]
    deadline_s: Option<f64>,
    /// Whether the process ends afterwards (true if absent), or the node stays and takes no work.
    exit: Option<bool>,
    /// Peer to stop, as peer id or multiaddress; this node if absent. Needs the admin role there.
    peer: Option<String>,
}

/// The drain has begun.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ShutdownOut {
    /// The peer that drains.
    peer_id: String,
    /// Always draining.
    status: String,
    /// Tasks running when it began.
    running: u64,
    /// Seconds they may still take.
    deadline_s: f64,
    /// Whether the process ends afterwards.
    exit: bool,
}

impl MeshTool for ShutdownTool {
    const NAME: &'static str = "p2p_taskqueue_shutdown";
    const TITLE: &'static str = "Shut down a node";
    const DESCRIPTION: &'static str = "Drains a node: it takes no new work, running tasks finish within the deadline or are \
        given back to their owners, and then the process ends (unless exit is false). Waiting tasks stay in the \
        queue and go on after the next start. Answers at once.";
    const EXAMPLE: &'static str = r#"{"deadline_s": 60}"#;
    const HINTS: Hints = Hints { read_only: false, destructive: true, idempotent: true, open_world: false };
    type Input = ShutdownIn;
    type Output = ShutdownOut;

    async fn run(node: &Node, input: ShutdownIn) -> Result<ShutdownOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let deadline = seconds("deadline_s", input.deadline_s.unwrap_or(DEFAULT_DEADLINE_S), MAX_DEADLINE_S)?;
        let shutdown = Shutdown { deadline_ms: millis(deadline), exit: input.exit.unwrap_or(true) };
        let answer = node.ask(&at, shutdown, PATIENCE).await?;
        Ok(ShutdownOut {
            peer_id: answer.peer.to_string(),
            status: "draining".into(),
            running: answer.value.running,
            deadline_s: super::record::secs(answer.value.deadline_ms),
            exit: answer.value.exit,
        })
    }
}
