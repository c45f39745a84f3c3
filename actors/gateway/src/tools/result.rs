//! `p2p_taskqueue_get_result`: the result itself, from wherever it is.

use super::input::{MAX_WAIT_S, seconds, task_id};
use super::record::ErrorOut;
use super::{Failure, Hints, MeshTool, READS, document};
use crate::node::{Node, PATIENCE, millis};
use meshwork_proto::queue::GetTask;
use meshwork_proto::task::Payload;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Reads a result.
pub(crate) struct GetResult;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GetResultIn {
    /// The task's id.
    task_id: String,
    /// Seconds to wait for the end of the task, at most 60; 0 if absent. Ask again while it is not finished.
    #[schemars(range(min = 0, max = 60))]
    wait_s: Option<f64>,
    /// Peer that owns it, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// The result of a task.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct GetResultOut {
    /// The task's id.
    task_id: String,
    /// The peer that owns it.
    peer_id: String,
    /// queued, running, completed, failed or cancelled.
    status: String,
    /// What the tool gave, when it completed; null while it has not, and when it is too large to be shown.
    result: Value,
    /// What went wrong, when it failed or was cancelled; the last attempt's error while it waits for the next.
    error: Option<ErrorOut>,
    /// Content id of the result.
    output_cid: Option<String>,
    /// Length of the result in bytes.
    result_len: Option<u64>,
    /// Attempts begun.
    attempts: u32,
    /// Who ran it last.
    worker: Option<String>,
    /// When it finished, in seconds since 1970-01-01 UTC.
    finished: Option<f64>,
    /// What to do next, when there is something to say.
    hint: Option<String>,
}

impl MeshTool for GetResult {
    const NAME: &'static str = "p2p_taskqueue_get_result";
    const TITLE: &'static str = "Get a task's result";
    const DESCRIPTION: &'static str = "Gives the result of a task, and waits for it if asked to. A task that failed is \
        no error of this tool: status is then failed, and error says why. Results above 64 MiB are not shown: they stay \
        in the artifact store under output_cid.";
    const EXAMPLE: &'static str = r#"{"task_id": "01890a5d2c7e7b6e8f0a1b2c3d4e5f60", "wait_s": 30}"#;
    const HINTS: Hints = READS;
    type Input = GetResultIn;
    type Output = GetResultOut;

    async fn run(node: &Node, input: GetResultIn) -> Result<GetResultOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let id = task_id(&input.task_id)?;
        let wait = seconds("wait_s", input.wait_s.unwrap_or(0.0), MAX_WAIT_S)?;
        let answer =
            node.ask(&at, GetTask { id, wait_ms: millis(wait) }, wait.saturating_add(PATIENCE)).await?;
        let (owner, task) = (answer.peer, answer.value);
        let (result, hint) = match &task.output {
            Some(output) => document::show(node, &owner, output).await?,
            None if task.status.is_finished() => (Value::Null, None),
            None => (Value::Null, Some(not_yet(&task.status.to_string()))),
        };
        Ok(GetResultOut {
            task_id: task.id.to_string(),
            peer_id: owner.to_string(),
            status: task.status.to_string(),
            result,
            error: task.error.as_ref().map(ErrorOut::from),
            output_cid: task.output_cid.as_ref().map(ToString::to_string),
            result_len: task.output.as_ref().map(Payload::len),
            attempts: task.attempts,
            worker: task.worker.as_ref().map(ToString::to_string),
            finished: task.finished.map(|time| super::record::secs(time.0)),
            hint,
        })
    }
}

fn not_yet(status: &str) -> String {
    format!(
        "the task is {status}: ask again with wait_s, or see p2p_taskqueue_task_status for what it waits for"
    )
}
