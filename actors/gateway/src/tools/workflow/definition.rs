//! A definition and inputs as arguments: canonical, checked for their size, and handed on with the run or with a question.

use super::CHECKED;
use crate::dispatch::canonical;
use crate::node::{At, Node};
use crate::tools::{Failure, document};
use bytes::Bytes;
use meshwork_proto::task::Payload;
use meshwork_proto::workflow::{Problem, SubmitRun, ValidateWorkflow, WorkflowError};
use meshwork_proto::{Cid, ErrorCode, Json, MeshError, PeerId};
use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// A definition and inputs.
pub(in crate::tools) struct Definition {
    definition: (Bytes, Cid),
    inputs: (Bytes, Cid),
    allow_unknown_tools: bool,
}

impl Definition {
    /// Reads the arguments; refuses what is larger than it may be before anything is stored.
    pub(in crate::tools) fn read(
        node: &Node,
        workflow: JsonObject,
        inputs: Option<JsonObject>,
        allow_unknown_tools: Option<bool>,
    ) -> Result<Self, MeshError> {
        let definition = canonical("workflow", &Value::Object(workflow))?;
        check("definition", &definition.0, node.limits.definition_bytes)?;
        let inputs = canonical("inputs", &Value::Object(inputs.unwrap_or_default()))?;
        check("inputs", &inputs.0, node.limits.inputs_bytes)?;
        Ok(Self { definition, inputs, allow_unknown_tools: allow_unknown_tools.unwrap_or(false) })
    }

    /// The run, its large documents put into the own store.
    pub(in crate::tools) async fn run(
        &self,
        node: &Node,
        target_peers: BTreeSet<PeerId>,
        idempotency_key: Option<String>,
    ) -> Result<SubmitRun, MeshError> {
        let (definition, definition_cid) = self.definition.clone();
        let (inputs, inputs_cid) = self.inputs.clone();
        Ok(SubmitRun {
            definition: document::keep(&node.artifacts, "definition", definition, definition_cid).await?,
            definition_cid,
            inputs: document::keep(&node.artifacts, "inputs", inputs, inputs_cid).await?,
            inputs_cid,
            target_peers,
            idempotency_key,
            allow_unknown_tools: self.allow_unknown_tools,
            parent: None,
        })
    }

    /// The question what is wrong with it; with the inputs, or with the definition alone.
    pub(in crate::tools) fn question(&self, with_inputs: bool) -> ValidateWorkflow {
        let inline = |(bytes, _): &(Bytes, Cid)| Payload::Inline(Json::from_checked(bytes.clone()));
        ValidateWorkflow {
            definition: inline(&self.definition),
            inputs: with_inputs.then(|| inline(&self.inputs)),
            allow_unknown_tools: self.allow_unknown_tools,
        }
    }
}

fn check(what: &'static str, bytes: &Bytes, max: u64) -> Result<(), MeshError> {
    let len = bytes.len() as u64;
    if len <= max {
        return Ok(());
    }
    Err(MeshError::from_coded(&WorkflowError::TooLarge { what, len, max }))
}

/// One thing that is wrong with a definition or with inputs.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::tools) struct ProblemOut {
    /// Id of the step; null = the workflow itself or its inputs.
    step: Option<String>,
    /// Path of the field, such as input.text, needs[1] or inputs.who.
    field: String,
    /// What is wrong, with which value, and what would be right.
    message: String,
}

impl From<Problem> for ProblemOut {
    fn from(problem: Problem) -> Self {
        let Problem { step, field, message } = problem;
        Self { step, field, message }
    }
}

/// The failure for a definition that was refused: an error is one sentence, so whoever refused is asked for all problems.
pub(in crate::tools) async fn explain(
    node: &Node,
    at: &At,
    error: MeshError,
    definition: &Definition,
) -> Failure {
    let invalid = error.code == ErrorCode::InvalidWorkflow;
    let mut failure = Failure::from(error);
    if invalid && let Ok(answer) = node.ask(at, definition.question(true), CHECKED).await {
        let problems: Vec<ProblemOut> = answer.value.problems.into_iter().map(ProblemOut::from).collect();
        if let Ok(problems) = serde_json::to_value(problems) {
            failure.hints.insert("problems".to_owned(), problems);
        }
    }
    failure
}
