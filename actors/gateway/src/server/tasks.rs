//! Runs of workflows as tasks of MCP's Tasks extension (`io.modelcontextprotocol/tasks`), for clients that declare it: the
//! submission of a run that goes on gives a task, which the client polls, in whichever era of the protocol it speaks.
//!
//! The id of a task is that of its run (`<id>@<peer>` if it was submitted to a peer). Nothing is kept here: a task is read from
//! its run each time, so it outlives requests, sessions and this process, and any client that knows the id can go on with it.

use crate::node::{Node, PATIENCE};
use crate::tools::workflow::{RunAt, answer_at_once, ask_for, ended, goes_on, in_words};
use chrono::{DateTime, SecondsFormat};
use meshwork_proto::workflow::{ControlRun, GetRun, RunAction, RunState, RunView};
use meshwork_proto::{ErrorCode, MeshError, UnixMillis};
use rmcp::model::{
    CallToolResponse, CallToolResult, CreateTaskResult, DetailedTask, GetTaskResult, JsonObject, Task,
    TaskPayload, TaskStatus,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Value, json};

/// The tool whose calls may become tasks.
const SUBMIT: &str = "p2p_workflow_submit";
/// How often a client should look, in milliseconds.
const POLL_MS: u64 = 1_000;
/// Why a run was cancelled, in its history.
const BY_CLIENT: &str = "cancelled by the client (tasks/cancel)";

/// Whether a call may be answered with a task.
pub(super) fn may_answer(tool: &str, arguments: &JsonObject, context: &RequestContext<RoleServer>) -> bool {
    tool == SUBMIT
        && !answer_at_once(arguments)
        && context.client_capabilities().is_some_and(|client| client.supports_tasks())
}

/// The answer to a submission: a task if the run goes on.
pub(super) async fn answer(node: &Node, result: CallToolResult) -> CallToolResponse {
    match goes_on(node, &result).await {
        Some((at, run)) => CreateTaskResult::new(task(&at, &run, TaskStatus::Working)).into(),
        None => result.into(),
    }
}

/// Answers `tasks/get`.
pub(super) async fn get(node: &Node, id: &str) -> Result<GetTaskResult, ErrorData> {
    let at = read(node, id)?;
    let call = GetRun { id: at.id, wait_ms: 0, seen: None, steps: false };
    let answer = ask_for(node, &at.at, at.id, call, PATIENCE).await.map_err(|error| fault(&error))?;
    let run = &answer.value;
    let payload = match run.state {
        RunState::Pending | RunState::Running | RunState::Paused => TaskPayload::Working,
        RunState::Cancelled => TaskPayload::Cancelled,
        RunState::Completed | RunState::Failed => {
            let result = ended(node, &answer.peer, run).await.map_err(|error| fault(&error))?;
            TaskPayload::Completed { result: object(&result)? }
        }
    };
    let task = task(&at, run, payload.status());
    Ok(GetTaskResult::new(DetailedTask::new(task, payload)))
}

/// Answers `tasks/cancel`: the run is given up. One that is finished already stays as it is.
pub(super) async fn cancel(node: &Node, id: &str) -> Result<(), ErrorData> {
    let at = read(node, id)?;
    let action = RunAction::Cancel { reason: Some(BY_CLIENT.to_owned()), compensate: false };
    match ask_for(node, &at.at, at.id, ControlRun { id: at.id, action }, PATIENCE).await {
        Ok(_) => Ok(()),
        Err(error) if error.code == ErrorCode::WrongState => Ok(()),
        Err(error) => Err(fault(&error)),
    }
}

/// Answers `tasks/update`: runs never ask a client for anything, so there is nothing that its answers could belong to.
pub(super) async fn update(node: &Node, id: &str) -> Result<(), ErrorData> {
    get(node, id).await.map(drop)
}

fn read(node: &Node, id: &str) -> Result<RunAt, ErrorData> {
    RunAt::parse(node, id).map_err(|error| ErrorData::invalid_params(error.message, None))
}

fn task(at: &RunAt, run: &RunView, status: TaskStatus) -> Task {
    // Runs are kept long after they have finished: how long is not for the client to count.
    Task::new(at.to_string(), status, timestamp(run.created), timestamp(run.updated))
        .with_status_message(in_words(run))
        .with_poll_interval_ms(POLL_MS)
}

fn object(result: &CallToolResult) -> Result<JsonObject, ErrorData> {
    match serde_json::to_value(result) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) | Err(_) => Err(ErrorData::internal_error("the result cannot be written as JSON", None)),
    }
}

/// ISO 8601 in UTC, as the protocol has times.
fn timestamp(time: UnixMillis) -> String {
    let millis = i64::try_from(time.0).ok();
    let time = millis.and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The protocol's error for what went wrong; its data has our stable code.
fn fault(error: &MeshError) -> ErrorData {
    let data = Some(json!({ "code": error.code.as_str() }));
    match error.code {
        ErrorCode::UnknownWorkflow | ErrorCode::InvalidArgument => {
            ErrorData::invalid_params(error.message.clone(), data)
        }
        _ => ErrorData::internal_error(error.message.clone(), data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_protocol_has_them() {
        assert_eq!(timestamp(UnixMillis(1_700_000_000_500)), "2023-11-14T22:13:20.500Z");
        assert_eq!(timestamp(UnixMillis(u64::MAX)), "1970-01-01T00:00:00.000Z");
    }
}
