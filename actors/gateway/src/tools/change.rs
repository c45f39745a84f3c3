//! `p2p_taskqueue_cancel`, `_update_task`, `_priority` and `_resubmit`.

use super::input::{MAX_TIME_S, invalid, limit_ms, seconds, task_id};
use super::record::TaskRecord;
use super::{Failure, Hints, MeshTool};
use crate::dispatch::canonical;
use crate::node::{Answer, Node, PATIENCE, millis};
use meshwork_proto::queue::{Cancel, Resubmit, Submitted, TaskChanges, Update};
use meshwork_proto::task::{MAX_PRIORITY, MIN_PRIORITY};
use meshwork_proto::{Json, MeshError};
use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// Longest reason of a cancellation that is kept, in characters.
const MAX_REASON: usize = 500;

/// Where a task stands after a change.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Changed {
    /// The task's id.
    task_id: String,
    /// The peer that owns it.
    peer_id: String,
    /// Where it stands now.
    status: String,
}

impl From<Answer<Submitted>> for Changed {
    fn from(answer: Answer<Submitted>) -> Self {
        Self {
            task_id: answer.value.id.to_string(),
            peer_id: answer.peer.to_string(),
            status: answer.value.status.to_string(),
        }
    }
}

/// Gives up a task.
pub(crate) struct CancelTask;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelIn {
    /// The task's id.
    task_id: String,
    /// Why; kept in the task's record.
    reason: Option<String>,
    /// Peer that owns it, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

impl MeshTool for CancelTask {
    const NAME: &'static str = "p2p_taskqueue_cancel";
    const TITLE: &'static str = "Cancel a task";
    const DESCRIPTION: &'static str = "Gives up a task. One that waits is cancelled at once; for one that runs the worker \
        is told to stop, and status stays running until it has.";
    const EXAMPLE: &'static str =
        r#"{"task_id": "01890a5d2c7e7b6e8f0a1b2c3d4e5f60", "reason": "not needed any more"}"#;
    const HINTS: Hints = Hints { read_only: false, destructive: true, idempotent: true, open_world: false };
    type Input = CancelIn;
    type Output = Changed;

    async fn run(node: &Node, input: CancelIn) -> Result<Changed, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let id = task_id(&input.task_id)?;
        if let Some(reason) = &input.reason
            && reason.chars().count() > MAX_REASON
        {
            return Err(Failure::invalid(format!("reason has more than {MAX_REASON} characters")));
        }
        Ok(node.ask(&at, Cancel { id, reason: input.reason }, PATIENCE).await?.into())
    }
}

/// Changes a task.
pub(crate) struct UpdateTask;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateIn {
    /// The task's id.
    task_id: String,
    /// Free data in place of what is kept with the task.
    metadata: Option<JsonObject>,
    /// Labels that a worker must have, in place of those before.
    labels: Option<BTreeSet<String>>,
    /// How often it may be tried.
    #[schemars(range(min = 1, max = 1000))]
    max_attempts: Option<u32>,
    /// Seconds that one attempt may run.
    #[schemars(range(min = 0.001, max = 31_536_000))]
    timeout_s: Option<f64>,
    /// Seconds that it may wait for its first attempt, counted from its submission.
    #[schemars(range(min = 0.001, max = 31_536_000))]
    expires_s: Option<f64>,
    /// Peer that owns it, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

impl UpdateIn {
    fn changes(self) -> Result<TaskChanges, MeshError> {
        let metadata = match self.metadata {
            Some(metadata) => Some(Json::from_checked(canonical("metadata", &Value::Object(metadata))?.0)),
            None => None,
        };
        let changes = TaskChanges {
            metadata,
            labels: self.labels,
            max_attempts: self.max_attempts,
            timeout_ms: limit_ms("timeout_s", self.timeout_s)?,
            expires_ms: limit_ms("expires_s", self.expires_s)?,
            priority: None,
        };
        if changes == TaskChanges::default() {
            return Err(invalid(
                "nothing to change: give metadata, labels, max_attempts, timeout_s or expires_s",
            ));
        }
        Ok(changes)
    }
}

impl MeshTool for UpdateTask {
    const NAME: &'static str = "p2p_taskqueue_update_task";
    const TITLE: &'static str = "Change a task";
    const DESCRIPTION: &'static str = "Changes what may be changed of a task that is not finished: metadata, labels, \
        attempts and time limits; what is not given stays. Gives the whole record. For the priority use \
        p2p_taskqueue_priority.";
    const EXAMPLE: &'static str =
        r#"{"task_id": "01890a5d2c7e7b6e8f0a1b2c3d4e5f60", "max_attempts": 5, "labels": ["gpu"]}"#;
    // What was there before is overwritten.
    const HINTS: Hints = Hints { read_only: false, destructive: true, idempotent: true, open_world: false };
    type Input = UpdateIn;
    type Output = TaskRecord;

    async fn run(node: &Node, input: UpdateIn) -> Result<TaskRecord, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let id = task_id(&input.task_id)?;
        let update = Update { id, changes: input.changes()? };
        let answer = node.ask(&at, update, PATIENCE).await?;
        Ok(TaskRecord::new(&answer.peer, &answer.value))
    }
}

/// Changes a task's priority.
pub(crate) struct SetPriority;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PriorityIn {
    /// The task's id.
    task_id: String,
    /// 1 to 10; 10 is run first.
    #[schemars(range(min = 1, max = 10))]
    priority: u8,
    /// Peer that owns it, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// The new priority.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PriorityOut {
    /// The task's id.
    task_id: String,
    /// The peer that owns it.
    peer_id: String,
    /// Where it stands.
    status: String,
    /// Its priority now.
    priority: u8,
}

impl MeshTool for SetPriority {
    const NAME: &'static str = "p2p_taskqueue_priority";
    const TITLE: &'static str = "Change a task's priority";
    const DESCRIPTION: &'static str = "Moves a waiting task forward (10) or back (1). A task that runs already is not \
        interrupted for another.";
    const EXAMPLE: &'static str = r#"{"task_id": "01890a5d2c7e7b6e8f0a1b2c3d4e5f60", "priority": 10}"#;
    const HINTS: Hints = Hints { read_only: false, destructive: false, idempotent: true, open_world: false };
    type Input = PriorityIn;
    type Output = PriorityOut;

    async fn run(node: &Node, input: PriorityIn) -> Result<PriorityOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let id = task_id(&input.task_id)?;
        if !(MIN_PRIORITY..=MAX_PRIORITY).contains(&input.priority) {
            let message =
                format!("priority {} is out of range: expected 1 to 10, 10 is run first", input.priority);
            return Err(Failure::invalid(message));
        }
        let changes = TaskChanges { priority: Some(input.priority), ..TaskChanges::default() };
        let answer = node.ask(&at, Update { id, changes }, PATIENCE).await?;
        Ok(PriorityOut {
            task_id: answer.value.id.to_string(),
            peer_id: answer.peer.to_string(),
            status: answer.value.status.to_string(),
            priority: answer.value.spec.priority,
        })
    }
}

/// Runs a finished task again.
pub(crate) struct ResubmitTask;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResubmitIn {
    /// The task's id.
    task_id: String,
    /// Seconds before it may run.
    #[schemars(range(min = 0, max = 31_536_000))]
    delay_s: Option<f64>,
    /// Peer that owns it, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

impl MeshTool for ResubmitTask {
    const NAME: &'static str = "p2p_taskqueue_resubmit";
    const TITLE: &'static str = "Run a finished task again";
    const DESCRIPTION: &'static str = "Puts a finished task (completed, failed or cancelled) back into the queue under \
        the same id, with its history and a fresh set of attempts.";
    const EXAMPLE: &'static str = r#"{"task_id": "01890a5d2c7e7b6e8f0a1b2c3d4e5f60", "delay_s": 10}"#;
    // Its former result gives way to the new one, and its tool runs again.
    const HINTS: Hints = Hints { read_only: false, destructive: true, idempotent: false, open_world: true };
    type Input = ResubmitIn;
    type Output = Changed;

    async fn run(node: &Node, input: ResubmitIn) -> Result<Changed, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let id = task_id(&input.task_id)?;
        let delay = seconds("delay_s", input.delay_s.unwrap_or(0.0), MAX_TIME_S)?;
        Ok(node.ask(&at, Resubmit { id, delay_ms: millis(delay) }, PATIENCE).await?.into())
    }
}
