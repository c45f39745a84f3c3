//! `p2p_workflow_cancel`, `_pause`, `_resume`, `_signal` and `_retry`: what changes the course of a run.

use super::{CHANGES, ask_for, run_id};
use crate::dispatch::canonical;
use crate::node::{Node, PATIENCE};
use crate::tools::{Failure, Hints, MeshTool};
use meshwork_proto::Json;
use meshwork_proto::workflow::{ControlRun, RunAction};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest reason of a cancellation that is kept, in characters.
const MAX_REASON: usize = 500;

/// Where a run stands after a change.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Changed {
    /// The run's id.
    workflow_id: String,
    /// The peer that coordinates it.
    peer_id: String,
    /// pending, running, paused, completed, failed or cancelled.
    state: String,
}

async fn change(
    node: &Node,
    peer: Option<&str>,
    workflow_id: &str,
    action: RunAction,
) -> Result<Changed, Failure> {
    let at = node.at(peer)?;
    let id = run_id(workflow_id)?;
    let answer = ask_for(node, &at, id, ControlRun { id, action }, PATIENCE).await?;
    Ok(Changed {
        workflow_id: answer.value.id.to_string(),
        peer_id: answer.peer.to_string(),
        state: answer.value.state.to_string(),
    })
}

/// Gives up a run.
pub(crate) struct CancelTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelIn {
    /// The run's id.
    workflow_id: String,
    /// Why; kept in the run's history.
    reason: Option<String>,
    /// Whether completed steps that have a compensation are taken back, in reverse order (false if absent).
    compensate: Option<bool>,
    /// Peer at which it was submitted, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

impl MeshTool for CancelTool {
    const NAME: &'static str = "p2p_workflow_cancel";
    const TITLE: &'static str = "Cancel a workflow";
    const DESCRIPTION: &'static str = "Gives up a run: nothing more of it is started, running steps are cancelled, and \
        results that come late are refused. With compensate, what completed is taken back where the definition says how.";
    const EXAMPLE: &'static str = r#"{"workflow_id": "01890a5d2c7e7b6e8f0a1b2c3d4e5f60", "reason": "not needed any more", "compensate": true}"#;
    // Compensations are tools, which may do anything.
    const HINTS: Hints = Hints { read_only: false, destructive: true, idempotent: true, open_world: true };
    type Input = CancelIn;
    type Output = Changed;

    async fn run(node: &Node, input: CancelIn) -> Result<Changed, Failure> {
        if let Some(reason) = &input.reason
            && reason.chars().count() > MAX_REASON
        {
            return Err(Failure::invalid(format!("reason has more than {MAX_REASON} characters")));
        }
        let action =
            RunAction::Cancel { reason: input.reason, compensate: input.compensate.unwrap_or(false) };
        change(node, input.peer.as_deref(), &input.workflow_id, action).await
    }
}

/// Arguments of tools that need no more than the run.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunIn {
    /// The run's id.
    workflow_id: String,
    /// Peer at which it was submitted, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// Pauses a run.
pub(crate) struct PauseTool;

impl MeshTool for PauseTool {
    const NAME: &'static str = "p2p_workflow_pause";
    const TITLE: &'static str = "Pause a workflow";
    const DESCRIPTION: &'static str = "Starts no further steps of a run until it is resumed with p2p_workflow_resume. Steps \
        that run already go on, and their results count.";
    const EXAMPLE: &'static str = r#"{"workflow_id": "01890a5d2c7e7b6e8f0a1b2c3d4e5f60"}"#;
    const HINTS: Hints = CHANGES;
    type Input = RunIn;
    type Output = Changed;

    async fn run(node: &Node, input: RunIn) -> Result<Changed, Failure> {
        change(node, input.peer.as_deref(), &input.workflow_id, RunAction::Pause).await
    }
}

/// Resumes a run.
pub(crate) struct ResumeTool;

impl MeshTool for ResumeTool {
    const NAME: &'static str = "p2p_workflow_resume";
    const TITLE: &'static str = "Resume a workflow";
    const DESCRIPTION: &'static str =
        "Lets a paused run go on: steps that became ready meanwhile are started.";
    const EXAMPLE: &'static str = r#"{"workflow_id": "01890a5d2c7e7b6e8f0a1b2c3d4e5f60"}"#;
    const HINTS: Hints = CHANGES;
    type Input = RunIn;
    type Output = Changed;

    async fn run(node: &Node, input: RunIn) -> Result<Changed, Failure> {
        change(node, input.peer.as_deref(), &input.workflow_id, RunAction::Resume).await
    }
}

/// Sends a signal.
pub(crate) struct SignalTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignalIn {
    /// The run's id.
    workflow_id: String,
    /// Name of the signal, as the step says for which it waits.
    name: String,
    /// What comes with it, any JSON up to 32 KiB; becomes the output of the step that waits. null if absent.
    payload: Option<Value>,
    /// Peer at which it was submitted, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

impl MeshTool for SignalTool {
    const NAME: &'static str = "p2p_workflow_signal";
    const TITLE: &'static str = "Signal a workflow";
    const DESCRIPTION: &'static str = "Delivers a signal to a run: the step that waits for it goes on, with the payload as \
        its output. A signal that comes before its step waits is kept for it.";
    const EXAMPLE: &'static str =
        r#"{"workflow_id": "01890a5d2c7e7b6e8f0a1b2c3d4e5f60", "name": "approved", "payload": {"by": "me"}}"#;
    // What waits for it are steps, which may do anything.
    const HINTS: Hints = Hints { read_only: false, destructive: false, idempotent: false, open_world: true };
    type Input = SignalIn;
    type Output = Changed;

    async fn run(node: &Node, input: SignalIn) -> Result<Changed, Failure> {
        let (bytes, _) = canonical("payload", &input.payload.unwrap_or(Value::Null))?;
        let action = RunAction::Signal { name: input.name, payload: Json::from_checked(bytes) };
        change(node, input.peer.as_deref(), &input.workflow_id, action).await
    }
}

/// Runs a finished run on.
pub(crate) struct RetryTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryIn {
    /// The run's id.
    workflow_id: String,
    /// Step from which on: it and all that need it run again, whatever became of them; if absent, what has not completed.
    from_step: Option<String>,
    /// Peer at which it was submitted, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

impl MeshTool for RetryTool {
    const NAME: &'static str = "p2p_workflow_retry";
    const TITLE: &'static str = "Retry a workflow";
    const DESCRIPTION: &'static str = "Runs a failed or cancelled run on under the same id, with fresh attempts: completed \
        steps stay so, unless they are at or behind from_step.";
    const EXAMPLE: &'static str =
        r#"{"workflow_id": "01890a5d2c7e7b6e8f0a1b2c3d4e5f60", "from_step": "fetch"}"#;
    // Tools run again, and former results give way to new ones.
    const HINTS: Hints = Hints { read_only: false, destructive: true, idempotent: false, open_world: true };
    type Input = RetryIn;
    type Output = Changed;

    async fn run(node: &Node, input: RetryIn) -> Result<Changed, Failure> {
        let action = RunAction::Retry { from: input.from_step };
        change(node, input.peer.as_deref(), &input.workflow_id, action).await
    }
}
