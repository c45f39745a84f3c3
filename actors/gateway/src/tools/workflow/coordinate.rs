//! `p2p_workflow_coordinate`: spreads a run over peers, and hands its coordination over.

use super::{CHANGES, MAX_PEERS, ask_for, peers, run_id};
use crate::node::{At, Node, PATIENCE};
use crate::tools::{Failure, Hints, MeshTool};
use meshwork_proto::discovery::ListPeers;
use meshwork_proto::workflow::{ControlRun, CoordinateRun, RunAction};
use meshwork_proto::{ErrorCode, MeshError, PeerId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Spreads a run or hands it over.
pub(crate) struct CoordinateTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CoordinateIn {
    /// The run's id.
    workflow_id: String,
    /// Ids of the peers that may work on it and coordinate its sub-workflows; an empty list: any peer.
    #[schemars(length(max = 64))]
    target_peers: Option<Vec<String>>,
    /// Takes the peers that are connected to its coordinator now, and the coordinator itself, instead of target_peers.
    discover: Option<bool>,
    /// Id of the peer that is to coordinate it from now on; who does if absent.
    coordinator: Option<String>,
    /// Keeps a run that is being handed over to a peer that does not answer. If that peer has taken it over without being
    /// heard, both go on with it and steps may run twice; what it did is void when the run is handed over to it once more.
    take_back: Option<bool>,
    /// Peer at which it was submitted, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// Who coordinates a run.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CoordinateOut {
    /// The run's id.
    workflow_id: String,
    /// The peer that coordinates it; while it moves, the one that did before.
    peer_id: String,
    /// The peer that is to have it, while it moves: steps that run end first.
    moving_to: Option<String>,
    /// The coordinator first, then who coordinates its sub-workflows, then its target peers.
    coordinating_peers: Vec<String>,
    /// Raised each time another peer takes it over; what an earlier coordinator decides is void.
    epoch: u32,
}

impl MeshTool for CoordinateTool {
    const NAME: &'static str = "p2p_workflow_coordinate";
    const TITLE: &'static str = "Coordinate a workflow across peers";
    const DESCRIPTION: &'static str = "Says which peers may work on a run from now on (target_peers, or those that are \
        connected with discover), moves its coordination to another peer (coordinator), and shows who coordinates it. \
        While it moves, nothing new is started and running steps end. A run whose next coordinator never answers is kept \
        with take_back. Without changes it only shows.";
    const EXAMPLE: &'static str = r#"{"workflow_id": "01890a5d2c7e7b6e8f0a1b2c3d4e5f60", "discover": true}"#;
    const HINTS: Hints = CHANGES;
    type Input = CoordinateIn;
    type Output = CoordinateOut;

    async fn run(node: &Node, input: CoordinateIn) -> Result<CoordinateOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let id = run_id(&input.workflow_id)?;
        let coordinator = match input.coordinator.as_deref().map(str::parse::<PeerId>).transpose() {
            Ok(coordinator) => coordinator,
            Err(error) => return Err(Failure::invalid(format!("coordinator: {error}"))),
        };
        let peers = match (input.target_peers, input.discover.unwrap_or(false)) {
            (Some(_), true) => {
                return Err(Failure::invalid(
                    "target_peers and discover both say which peers: give one of them",
                ));
            }
            (Some(targets), false) => Some(peers("target_peers", targets)?),
            (None, true) => Some(connected(node, &at).await?),
            (None, false) => None,
        };
        if input.take_back.unwrap_or(false) {
            if coordinator.is_some() {
                let problem = "coordinator and take_back both say who is to have the run: give one of them";
                return Err(Failure::invalid(problem));
            }
            let back = ControlRun { id, action: RunAction::TakeBack };
            ask_for(node, &at, id, back, PATIENCE).await?;
        }
        let call = CoordinateRun { id, peers, coordinator };
        let answer = ask_for(node, &at, id, call, PATIENCE).await?.value;
        Ok(CoordinateOut {
            workflow_id: answer.id.to_string(),
            peer_id: answer.coordinator.to_string(),
            moving_to: answer.moving_to.as_ref().map(ToString::to_string),
            coordinating_peers: answer.coordinating_peers.iter().map(ToString::to_string).collect(),
            epoch: answer.epoch,
        })
    }
}

/// The members that are connected to a node, the nearest ones if there are many, and the node itself.
async fn connected(node: &Node, at: &At) -> Result<BTreeSet<PeerId>, MeshError> {
    let answer = node.ask(at, ListPeers { capability: None, max_peers: 0 }, PATIENCE).await?;
    let mut near: Vec<(u64, PeerId)> = answer
        .value
        .into_iter()
        .filter(|view| view.connected && view.role.is_some())
        .map(|view| (view.rtt_us.unwrap_or(u64::MAX), view.peer))
        .collect();
    if near.is_empty() {
        let message = format!(
            "no member of the mesh is connected to peer {}: connect one (p2p_peer_register), or name target_peers",
            answer.peer
        );
        return Err(MeshError::new(ErrorCode::Unreachable, message));
    }
    near.sort();
    let near = near.into_iter().map(|(_, peer)| peer).take(MAX_PEERS - 1);
    Ok(near.chain([answer.peer]).collect())
}
