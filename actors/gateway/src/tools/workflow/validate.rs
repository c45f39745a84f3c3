//! `p2p_workflow_validate`: checks a definition without running anything.

use super::CHECKED;
use super::definition::{Definition, ProblemOut};
use crate::node::Node;
use crate::tools::{Failure, Hints, MeshTool, READS};
use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Checks a definition.
pub(crate) struct ValidateTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ValidateIn {
    /// The definition, as p2p_workflow_submit takes it.
    workflow: JsonObject,
    /// Inputs by name, to be checked too; not looked at if absent.
    inputs: Option<JsonObject>,
    /// Whether tools that nobody serves now are fine (false if absent).
    allow_unknown_tools: Option<bool>,
    /// Peer that is to check it against the tools it sees, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// What was found.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ValidateOut {
    /// The peer that checked it.
    peer_id: String,
    /// Whether it can be run.
    valid: bool,
    /// Name of the workflow.
    name: String,
    /// Ids of its steps, each behind those that it needs.
    steps: Vec<String>,
    /// What is wrong; empty when it can be run.
    problems: Vec<ProblemOut>,
}

impl MeshTool for ValidateTool {
    const NAME: &'static str = "p2p_workflow_validate";
    const TITLE: &'static str = "Check a workflow";
    const DESCRIPTION: &'static str = "Checks the definition of a workflow, and its inputs if they are given, without \
        running anything: cycles, unknown steps and tools, expressions, types that do not fit the tools' schemas. Names \
        each problem with its step and field, all at once.";
    const EXAMPLE: &'static str = r#"{"workflow": {"name": "greet", "steps": [{"id": "hello", "tool": "echo", "input": {"text": "hi"}}]}}"#;
    const HINTS: Hints = READS;
    type Input = ValidateIn;
    type Output = ValidateOut;

    async fn run(node: &Node, input: ValidateIn) -> Result<ValidateOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let with_inputs = input.inputs.is_some();
        let definition = Definition::read(node, input.workflow, input.inputs, input.allow_unknown_tools)?;
        let answer = node.ask(&at, definition.question(with_inputs), CHECKED).await?;
        Ok(ValidateOut {
            peer_id: answer.peer.to_string(),
            valid: answer.value.problems.is_empty(),
            name: answer.value.name,
            steps: answer.value.order,
            problems: answer.value.problems.into_iter().map(ProblemOut::from).collect(),
        })
    }
}
