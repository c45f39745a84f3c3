//! `p2p_taskqueue_status` and `p2p_taskqueue_worker_stats`.

use super::record::{WorkerOut, secs};
use super::{Failure, Hints, MeshTool, READS};
use crate::node::{Node, PATIENCE};
use meshwork_proto::queue::{QueueStats, Stats};
use meshwork_proto::task::TaskStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Counts of a queue.
pub(crate) struct Status;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatusIn {
    /// Also counts by type, and each worker.
    detail: Option<bool>,
    /// Peer whose queue to look at, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// Limits of a queue.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Limits {
    /// Most unfinished tasks.
    max_tasks: u64,
    /// Largest payload in bytes.
    max_payload_bytes: u64,
}

/// Counts of a queue.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StatusOut {
    /// The peer whose queue it is.
    peer_id: String,
    /// Tasks by state.
    counts: BTreeMap<String, u64>,
    /// Unfinished tasks by type and state, with detail.
    by_type: BTreeMap<String, BTreeMap<String, u64>>,
    /// Age in seconds of the oldest task that could run now.
    oldest_age_s: Option<f64>,
    /// Tasks that wait for a time.
    delayed: u64,
    /// Tools that waiting tasks need and nobody serves.
    unserved_tools: Vec<String>,
    /// How many workers asked for work lately.
    workers: usize,
    /// Each of them, with detail.
    worker_list: Vec<WorkerOut>,
    /// What the queue accepts.
    limits: Limits,
    /// Whether the node takes no more work.
    draining: bool,
    /// Since the start: submitted, claimed, completed, failed, retried, leases lost, stale reports refused.
    totals: BTreeMap<String, u64>,
}

fn by_name(counts: &BTreeMap<TaskStatus, u64>) -> BTreeMap<String, u64> {
    counts.iter().map(|(status, count)| (status.to_string(), *count)).collect()
}

impl StatusOut {
    fn new(peer_id: String, stats: QueueStats, detail: bool) -> Self {
        // Every state is there, so that a script need not ask whether it is.
        let mut counts: BTreeMap<String, u64> =
            TaskStatus::ALL.into_iter().map(|status| (status.to_string(), 0)).collect();
        counts.extend(by_name(&stats.by_status));
        let worker_list =
            if detail { stats.workers.iter().map(WorkerOut::from).collect() } else { Vec::new() };
        Self {
            peer_id,
            counts,
            by_type: stats.by_type.iter().map(|(name, counts)| (name.clone(), by_name(counts))).collect(),
            oldest_age_s: stats.oldest_ready_ms.map(secs),
            delayed: stats.delayed,
            unserved_tools: stats.unserved_tools,
            workers: stats.workers.len(),
            worker_list,
            limits: Limits { max_tasks: stats.max_tasks, max_payload_bytes: stats.max_payload_bytes },
            draining: stats.draining,
            totals: stats.totals,
        }
    }
}

impl MeshTool for Status {
    const NAME: &'static str = "p2p_taskqueue_status";
    const TITLE: &'static str = "Queue status";
    const DESCRIPTION: &'static str = "Counts the tasks of a queue by state, says how old the oldest waiting one is, how \
        many workers there are, which tools nobody serves, what the limits are and whether the node is draining.";
    const EXAMPLE: &'static str = r#"{"detail": true}"#;
    const HINTS: Hints = READS;
    type Input = StatusIn;
    type Output = StatusOut;

    async fn run(node: &Node, input: StatusIn) -> Result<StatusOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let detail = input.detail.unwrap_or(false);
        let answer = node.ask(&at, Stats { detail }, PATIENCE).await?;
        Ok(StatusOut::new(answer.peer.to_string(), answer.value, detail))
    }
}

/// Workers of a queue.
pub(crate) struct WorkerStats;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkerStatsIn {
    /// Peer whose workers to list, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// Workers of a queue.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WorkerStatsOut {
    /// The peer whose queue they work for.
    peer_id: String,
    /// The workers.
    workers: Vec<WorkerOut>,
}

impl MeshTool for WorkerStats {
    const NAME: &'static str = "p2p_taskqueue_worker_stats";
    const TITLE: &'static str = "Worker statistics";
    const DESCRIPTION: &'static str = "Lists the workers that asked this queue for work lately: which tools and labels \
        each offers, what it runs, and how many attempts it completed, failed and lost.";
    const EXAMPLE: &'static str = "{}";
    const HINTS: Hints = READS;
    type Input = WorkerStatsIn;
    type Output = WorkerStatsOut;

    async fn run(node: &Node, input: WorkerStatsIn) -> Result<WorkerStatsOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let answer = node.ask(&at, Stats { detail: true }, PATIENCE).await?;
        let workers = answer.value.workers.iter().map(WorkerOut::from).collect();
        Ok(WorkerStatsOut { peer_id: answer.peer.to_string(), workers })
    }
}
