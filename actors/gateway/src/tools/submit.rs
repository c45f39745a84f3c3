//! `p2p_taskqueue_submit`: from arguments to a durable task.

use super::input::{MAX_TIME_S, limit_ms, seconds};
use super::{Failure, Hints, MeshTool, document};
use crate::dispatch::{Artifacts, canonical, resolve_tool};
use crate::node::{Node, PATIENCE, millis};
use meshwork_proto::queue::Submit;
use meshwork_proto::task::{DEFAULT_MAX_ATTEMPTS, DEFAULT_PRIORITY, Payload, TaskSpec};
use meshwork_proto::{Json, MeshError};
use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// Accepts a task.
pub(crate) struct SubmitTask;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubmitIn {
    /// The name of the tool to run with the payload as its arguments; or "tool.call", then the payload is {tool, arguments}.
    task_type: String,
    /// Arguments of the tool by name. Any size up to the node's limit: large ones travel as artifacts.
    payload: JsonObject,
    /// A model the task is for; part of what makes two tasks the same work.
    model_name: Option<String>,
    /// 1 to 10; 10 is run first. 5 if absent.
    #[schemars(range(min = 1, max = 10))]
    priority: Option<u8>,
    /// The same key with the same type, model and payload gives the first task again instead of a new one.
    pub(super) idempotency_key: Option<String>,
    /// How often it may be tried. 3 if absent; lost workers do not count.
    #[schemars(range(min = 1, max = 1000))]
    max_attempts: Option<u32>,
    /// Seconds before it may run.
    #[schemars(range(min = 0, max = 31_536_000))]
    delay_s: Option<f64>,
    /// Seconds that one attempt may run.
    #[schemars(range(min = 0.001, max = 31_536_000))]
    timeout_s: Option<f64>,
    /// Seconds that it may wait in the queue before its first attempt.
    #[schemars(range(min = 0.001, max = 31_536_000))]
    expires_s: Option<f64>,
    /// Labels that a worker must have, all of them.
    labels: Option<BTreeSet<String>>,
    /// Named queue, for grouping and counts.
    queue: Option<String>,
    /// Whose work it is, for limits and fairness.
    tenant: Option<String>,
    /// Tasks that share this key run one at a time.
    concurrency_key: Option<String>,
    /// Free data that is kept with the task.
    metadata: Option<JsonObject>,
    /// Peer that is to own the task, as peer id or multiaddress; this node if absent.
    pub(super) peer: Option<String>,
}

/// The accepted task.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SubmitOut {
    /// Its id.
    task_id: String,
    /// The peer that owns it.
    peer_id: String,
    /// Where it stands.
    status: String,
    /// Whether the idempotency key was known and this is the first task again.
    existing: bool,
}

impl MeshTool for SubmitTask {
    const NAME: &'static str = "p2p_taskqueue_submit";
    const TITLE: &'static str = "Submit a task";
    const DESCRIPTION: &'static str = "Puts a task into the durable queue; once this returns it is never lost. A worker \
        of this node or of a connected peer that serves the tool runs it, and it is tried again when it fails. Read the \
        result with p2p_taskqueue_get_result. tools_list_categories shows which tools there are; a type that nobody \
        serves waits until somebody does.";
    const EXAMPLE: &'static str =
        r#"{"task_type": "echo", "payload": {"text": "hello"}, "idempotency_key": "hello-1"}"#;
    // The tool that it has run may do anything.
    const HINTS: Hints = Hints { read_only: false, destructive: true, idempotent: false, open_world: true };
    type Input = SubmitIn;
    type Output = SubmitOut;

    async fn run(node: &Node, input: SubmitIn) -> Result<SubmitOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let spec = specify(&node.artifacts, input).await?;
        let answer = node.ask(&at, Submit(spec), PATIENCE).await?;
        Ok(SubmitOut {
            task_id: answer.value.id.to_string(),
            peer_id: answer.peer.to_string(),
            status: answer.value.status.to_string(),
            existing: answer.value.existing,
        })
    }
}

/// The specification that the arguments ask for. A large payload is put into the own artifact store; a peer that is to
/// own the task fetches it from here.
pub(super) async fn specify(artifacts: &Artifacts, input: SubmitIn) -> Result<TaskSpec, MeshError> {
    let payload = Value::Object(input.payload);
    let tool = resolve_tool(&input.task_type, &payload)?;
    let (bytes, input_cid) = canonical("payload", &payload)?;
    drop(payload);
    let metadata = match input.metadata {
        Some(metadata) => Some(Json::from_checked(canonical("metadata", &Value::Object(metadata))?.0)),
        None => None,
    };
    let delay_ms = match input.delay_s {
        Some(delay) => millis(seconds("delay_s", delay, MAX_TIME_S)?),
        None => 0,
    };
    let spec = TaskSpec {
        task_type: input.task_type,
        tool,
        model_name: input.model_name,
        // Checked below before anything is stored.
        payload: Payload::Stored { cid: input_cid, len: bytes.len() as u64 },
        input_cid,
        priority: input.priority.unwrap_or(DEFAULT_PRIORITY),
        idempotency_key: input.idempotency_key,
        max_attempts: input.max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS),
        delay_ms,
        timeout_ms: limit_ms("timeout_s", input.timeout_s)?,
        expires_ms: limit_ms("expires_s", input.expires_s)?,
        labels: input.labels.unwrap_or_default(),
        target_peers: BTreeSet::new(),
        queue: input.queue,
        tenant: input.tenant,
        concurrency_key: input.concurrency_key,
        metadata,
        parents: Vec::new(),
    };
    spec.check().map_err(|error| MeshError::from_coded(&error))?;
    let payload = document::keep(artifacts, "payload", bytes, input_cid).await?;
    Ok(TaskSpec { payload, ..spec })
}
