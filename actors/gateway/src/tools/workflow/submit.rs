//! `p2p_workflow_submit`: from a definition to a durable run.

use super::definition::{Definition, explain};
use super::status::{output, watch};
use super::{CHECKED, RunAt, ask_for, peers};
use crate::node::{Node, PATIENCE};
use crate::tools::input::{MAX_WAIT_S, seconds};
use crate::tools::record::ErrorOut;
use crate::tools::{Failure, Hints, Listener, MeshTool, outcome};
use meshwork_proto::workflow::{GetRun, RunState, RunView};
use meshwork_proto::{MeshError, PeerId};
use rmcp::model::{CallToolResult, ContentBlock, JsonObject};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The argument with which a client says how long it waits for the end.
const WAIT: &str = "wait_s";

/// Accepts a run.
pub(crate) struct SubmitTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubmitIn {
    /// The definition: {name, inputs, steps: [{id, tool, input, needs, when, for_each, retry, ...}], output}, or in short
    /// {tasks: [{type, model, payload}, ...]}, run in order. The resource meshwork://workflow.schema.json is its JSON Schema.
    workflow: JsonObject,
    /// Inputs by name; those with a default may be left out.
    inputs: Option<JsonObject>,
    /// Ids of the only peers that may work on its steps; any peer if absent.
    #[schemars(length(max = 64))]
    target_peers: Option<Vec<String>>,
    /// The same key with the same definition and inputs gives the first run again instead of a new one.
    idempotency_key: Option<String>,
    /// Whether tools that nobody serves now are fine (false if absent): their steps wait until somebody does.
    allow_unknown_tools: Option<bool>,
    /// Seconds to wait for the end of the run, at most 60; if absent not at all. A client with MCP's Tasks extension gets a
    /// task for a run that goes on longer, unless this is 0.
    #[schemars(range(min = 0, max = 60))]
    wait_s: Option<f64>,
    /// Peer that is to coordinate it, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// The accepted run.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SubmitOut {
    /// Its id.
    workflow_id: String,
    /// The peer that coordinates it.
    peer_id: String,
    /// pending, running, paused, completed, failed or cancelled.
    state: String,
    /// Whether the idempotency key was known and this is the first run again; null in the result of a task.
    existing: Option<bool>,
    /// Its result, when it completed while it was waited for.
    output: Value,
    /// Why it failed or was cancelled, when that was waited for.
    error: Option<ErrorOut>,
    /// What to do next, when there is something to say.
    hint: Option<String>,
}

impl MeshTool for SubmitTool {
    const NAME: &'static str = "p2p_workflow_submit";
    const TITLE: &'static str = "Submit a workflow";
    const DESCRIPTION: &'static str = "Starts a run of a workflow: steps that need one another, each run where its tool \
        is, in parallel where they can be. Once this returns the run is never lost: it goes on after a restart, and no \
        completed step runs again. The definition is checked first, all problems are named with step and field. Watch it \
        with p2p_workflow_status.";
    const EXAMPLE: &'static str = r#"{"workflow": {"name": "greet", "inputs": {"who": {"type": "string", "default": "world"}}, "steps": [{"id": "hello", "tool": "echo", "input": {"text": "hello ${inputs.who}"}}], "output": "${steps.hello.output}"}, "inputs": {"who": "mesh"}}"#;
    // The tools that it has run may do anything.
    const HINTS: Hints = Hints { read_only: false, destructive: true, idempotent: false, open_world: true };
    type Input = SubmitIn;
    type Output = SubmitOut;

    async fn run(node: &Node, input: SubmitIn) -> Result<SubmitOut, Failure> {
        Self::run_heard(node, input, &Listener::nobody()).await
    }

    async fn run_heard(node: &Node, input: SubmitIn, listener: &Listener) -> Result<SubmitOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let wait = seconds(WAIT, input.wait_s.unwrap_or(0.0), MAX_WAIT_S)?;
        let targets = peers("target_peers", input.target_peers.unwrap_or_default())?;
        let definition = Definition::read(node, input.workflow, input.inputs, input.allow_unknown_tools)?;
        let run = definition.run(node, targets, input.idempotency_key).await?;
        let answer = match node.ask(&at, run, CHECKED).await {
            Ok(answer) => answer,
            Err(error) => return Err(explain(node, &at, error, &definition).await),
        };
        let submitted = answer.value;
        if wait.is_zero() {
            return Ok(SubmitOut {
                workflow_id: submitted.id.to_string(),
                peer_id: answer.peer.to_string(),
                state: submitted.state.to_string(),
                existing: Some(submitted.existing),
                output: Value::Null,
                error: None,
                hint: None,
            });
        }
        // Where it was accepted: an address may lead to somebody else the next time.
        let at = RunAt::new(node, submitted.id, answer.peer).at;
        let run = watch(node, &at, submitted.id, wait, false, listener).await?;
        Ok(SubmitOut::of(node, &run.peer, &run.value, Some(submitted.existing)).await?)
    }
}

impl SubmitOut {
    async fn of(
        node: &Node,
        peer: &PeerId,
        run: &RunView,
        existing: Option<bool>,
    ) -> Result<Self, MeshError> {
        let (output, hint) = output(node, peer, run).await?;
        Ok(Self {
            workflow_id: run.id.to_string(),
            peer_id: peer.to_string(),
            state: run.state.to_string(),
            existing,
            output,
            error: run.error.as_ref().map(ErrorOut::from),
            hint,
        })
    }
}

/// Whether these arguments say that the answer is wanted at once, whatever becomes of the run.
pub(crate) fn answer_at_once(arguments: &JsonObject) -> bool {
    arguments.get(WAIT).and_then(Value::as_f64).is_some_and(|wait| wait == 0.0)
}

/// The run that a submission gave, read again where it was accepted, if it still goes on.
pub(crate) async fn goes_on(node: &Node, result: &CallToolResult) -> Option<(RunAt, RunView)> {
    let answer = result.structured_content.as_ref().filter(|_| result.is_error != Some(true))?;
    let text = |member: &str| answer.get(member).and_then(Value::as_str);
    let state: RunState = text("state")?.parse().ok()?;
    if state.is_finished() {
        return None;
    }
    let run = RunAt::new(node, text("workflow_id")?.parse().ok()?, text("peer_id")?.parse().ok()?);
    let call = GetRun { id: run.id, wait_ms: 0, seen: None, steps: false };
    let answer = ask_for(node, &run.at, run.id, call, PATIENCE).await.ok()?;
    Some((run, answer.value))
}

/// What the submission of a run that has finished since gives: an error if the run failed.
pub(crate) async fn ended(node: &Node, peer: &PeerId, run: &RunView) -> Result<CallToolResult, MeshError> {
    let answer = SubmitOut::of(node, peer, run, None).await?;
    let mut result = outcome::success(&answer);
    if let Some(error) = run.error.as_ref().filter(|_| run.state == RunState::Failed) {
        result.is_error = Some(true);
        result.content = vec![ContentBlock::text(error.to_string())];
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_wait_of_no_time_asks_for_the_answer_at_once() {
        for (arguments, expected) in [
            (json!({"wait_s": 0}), true),
            (json!({"wait_s": 0.0}), true),
            (json!({"wait_s": 5}), false),
            (json!({}), false),
            (json!({"wait_s": null}), false),
        ] {
            let Value::Object(arguments) = arguments else { panic!("not an object") };
            assert_eq!(answer_at_once(&arguments), expected, "{arguments:?}");
        }
    }
}
