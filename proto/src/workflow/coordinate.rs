//! Who coordinates a run: spreading it over peers, and handing it over.

use super::{WorkflowOp, workflow_op};
use crate::{Cid, PeerId, RunId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Spreads a run over peers, and hands its coordination to another one if asked to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinateRun {
    /// Which.
    pub id: RunId,
    /// Peers whose executors may work on it and which may coordinate its sub-workflows; none = as it was; empty = any.
    pub peers: Option<BTreeSet<PeerId>>,
    /// Who is to coordinate it; none = who does.
    pub coordinator: Option<PeerId>,
}
workflow_op!(CoordinateRun => Coordinated, "coordinate_run");

/// Who coordinates a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coordinated {
    /// Which.
    pub id: RunId,
    /// Who coordinates it now; while it moves, who did before.
    pub coordinator: PeerId,
    /// Who is to have it, while it moves: its running steps end first.
    pub moving_to: Option<PeerId>,
    /// The coordinator first, then who coordinates its sub-workflows, then its target peers.
    pub coordinating_peers: Vec<PeerId>,
    /// Raised at each hand-over: what a coordinator with a lower one decides is void.
    pub epoch: u32,
}

/// Takes a run over (from its coordinator, which starts nothing more); answered when it is durable here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeOverRun {
    /// Which.
    pub id: RunId,
    /// The new epoch.
    pub epoch: u32,
    /// Everything that happened, as an artifact in the store of the peer that asks.
    pub history: Cid,
    /// Its length in bytes.
    pub len: u64,
}
workflow_op!(TakeOverRun => TakenOver, "take_over_run");

/// A run was taken over; asking again with the same epoch gives the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOver {
    /// The epoch under which it is coordinated here.
    pub epoch: u32,
}
