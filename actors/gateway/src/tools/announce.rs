//! `p2p_taskqueue_discover_peers`, `_announce` and `_heartbeat`.

use super::input::task_id;
use super::record::{OfferOut, PeerOut, secs};
use super::{Failure, Hints, MeshTool, READS};
use crate::node::{Node, PATIENCE};
use meshwork_proto::discovery::{Announce, ListPeers};
use meshwork_proto::id::IdError;
use meshwork_proto::queue::{LeaseReport, Renew, Renewal};
use meshwork_proto::{Fence, MeshError, WorkerId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most peers that are listed.
const MAX_PEERS: u32 = 1000;

/// Tells or renews, without harm when it is done twice.
const TELLS: Hints = Hints { read_only: false, destructive: false, idempotent: true, open_world: false };

/// Lists peers.
pub(crate) struct DiscoverPeers;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DiscoverIn {
    /// Only peers that serve this tool or have this label.
    capability: Option<String>,
    /// At most so many.
    #[schemars(range(min = 1, max = 1000))]
    max_peers: Option<u32>,
    /// Peer whose peers to list, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// Known peers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DiscoverOut {
    /// The peer that knows them.
    peer_id: String,
    /// How many are listed.
    count: usize,
    /// The peers, connected ones first.
    peers: Vec<PeerOut>,
}

impl MeshTool for DiscoverPeers {
    const NAME: &'static str = "p2p_taskqueue_discover_peers";
    const TITLE: &'static str = "Discover peers";
    const DESCRIPTION: &'static str = "Lists the peers that the node knows, connected ones first: their ids, addresses, \
        tools, labels, load and round-trip time. A peer_id from here is what the argument peer of every tool takes.";
    const EXAMPLE: &'static str = r#"{"capability": "echo", "max_peers": 10}"#;
    const HINTS: Hints = READS;
    type Input = DiscoverIn;
    type Output = DiscoverOut;

    async fn run(node: &Node, input: DiscoverIn) -> Result<DiscoverOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let max_peers = input.max_peers.unwrap_or(MAX_PEERS);
        if !(1..=MAX_PEERS).contains(&max_peers) {
            let message =
                format!("max_peers is {max_peers}, which is out of range: expected 1 to {MAX_PEERS}");
            return Err(Failure::invalid(message));
        }
        let answer = node.ask(&at, ListPeers { capability: input.capability, max_peers }, PATIENCE).await?;
        let peers: Vec<PeerOut> = answer.value.iter().map(PeerOut::from).collect();
        Ok(DiscoverOut { peer_id: answer.peer.to_string(), count: peers.len(), peers })
    }
}

/// Announces a node.
pub(crate) struct AnnounceTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnnounceIn {
    /// Peer that is to announce itself, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// The result of an announcement.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AnnounceOut {
    /// The peer that announced itself.
    peer_id: String,
    /// Peers that acknowledged it.
    reached: u32,
    /// Peers that did not.
    missed: u32,
    /// What was said.
    offers: OfferOut,
}

impl MeshTool for AnnounceTool {
    const NAME: &'static str = "p2p_taskqueue_announce";
    const TITLE: &'static str = "Announce this node";
    const DESCRIPTION: &'static str = "Tells all connected peers now what the node offers (tools, labels, free slots); it \
        does so by itself regularly and after changes. Says how many peers heard it.";
    const EXAMPLE: &'static str = "{}";
    const HINTS: Hints = TELLS;
    type Input = AnnounceIn;
    type Output = AnnounceOut;

    async fn run(node: &Node, input: AnnounceIn) -> Result<AnnounceOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let answer = node.ask(&at, Announce, PATIENCE).await?;
        Ok(AnnounceOut {
            peer_id: answer.peer.to_string(),
            reached: answer.value.reached,
            missed: answer.value.missed,
            offers: OfferOut::from(&answer.value.advertisement),
        })
    }
}

/// Renews a lease, or signals that a node lives.
pub(crate) struct Heartbeat;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeartbeatIn {
    /// The task whose lease to renew; without it, the node signals to its peers that it lives.
    task_id: Option<String>,
    /// The fence of the lease, as it was granted.
    fence: Option<u64>,
    /// The worker that holds the lease.
    worker_id: Option<String>,
    /// Peer that owns the task, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// What came of a heartbeat.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct HeartbeatOut {
    /// The peer that answered: it lives.
    peer_id: String,
    /// renewed, cancel_requested (stop, and report the task as cancelled) or lost (stop, and report nothing); alive
    /// without a task.
    state: String,
    /// The task.
    task_id: Option<String>,
    /// Seconds for which the lease holds from now.
    lease_s: Option<f64>,
    /// Peers that heard that the node lives, without a task.
    reached: Option<u32>,
}

impl MeshTool for Heartbeat {
    const NAME: &'static str = "p2p_taskqueue_heartbeat";
    const TITLE: &'static str = "Heartbeat";
    const DESCRIPTION: &'static str = "With task_id, fence and worker_id: renews the lease of a task that a worker outside \
        of the node runs; do so every 10 seconds, for a lease lasts 30. Without a task: signals to the peers that the \
        node lives.";
    const EXAMPLE: &'static str =
        r#"{"task_id": "01890a5d2c7e7b6e8f0a1b2c3d4e5f60", "fence": 4294967297, "worker_id": "my-worker"}"#;
    const HINTS: Hints = TELLS;
    type Input = HeartbeatIn;
    type Output = HeartbeatOut;

    async fn run(node: &Node, input: HeartbeatIn) -> Result<HeartbeatOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let Some((worker, lease)) = lease(&input)? else {
            let answer = node.ask(&at, Announce, PATIENCE).await?;
            return Ok(HeartbeatOut {
                peer_id: answer.peer.to_string(),
                state: "alive".into(),
                task_id: None,
                lease_s: None,
                reached: Some(answer.value.reached),
            });
        };
        let id = lease.id;
        let answer = node.ask(&at, Renew { worker, leases: vec![lease] }, PATIENCE).await?;
        let (state, lease_s) = match answer.value.first() {
            Some(Renewal::Renewed { lease_ms }) => ("renewed", Some(secs(*lease_ms))),
            Some(Renewal::CancelRequested) => ("cancel_requested", None),
            Some(Renewal::Lost) | None => ("lost", None),
        };
        Ok(HeartbeatOut {
            peer_id: answer.peer.to_string(),
            state: state.into(),
            task_id: Some(id.to_string()),
            lease_s,
            reached: None,
        })
    }
}

/// The lease that the arguments name; none when they name none at all.
fn lease(input: &HeartbeatIn) -> Result<Option<(WorkerId, LeaseReport)>, Failure> {
    match (&input.task_id, input.fence, &input.worker_id) {
        (None, None, None) => Ok(None),
        (Some(id), Some(fence), Some(worker)) => {
            let id = task_id(id)?;
            let worker = worker.parse().map_err(|error: IdError| MeshError::from_coded(&error))?;
            Ok(Some((worker, LeaseReport { id, fence: Fence(fence), progress: None })))
        }
        _ => Err(Failure::invalid(
            "task_id, fence and worker_id belong together: give all three to renew a lease, or none to signal that the \
             node lives",
        )),
    }
}
