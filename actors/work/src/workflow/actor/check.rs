//! Checking what is submitted: the definition, the tools that it names, the inputs.

use super::WorkflowActor;
use super::definitions::{Definitions, limits};
use super::stored::Reader;
use super::tools::Tools;
use crate::workflow::definition::Workflow;
use crate::workflow::logic::{CheckId, Checked, SubSubmit};
use meshwork_kit::{Ctx, Reply};
use meshwork_proto::canonical::to_canonical;
use meshwork_proto::task::Payload;
use meshwork_proto::workflow::{Problem, SubmitRun, ValidateWorkflow, Validated, WorkflowError};
use meshwork_proto::{Cid, Json};
use serde_json::{Map, Value};
use std::rc::Rc;
use std::sync::Arc;

impl WorkflowActor {
    pub(super) fn check(&mut self, id: CheckId, what: SubSubmit, ctx: &mut Ctx<'_, Self>) {
        let checker = self.checker(ctx);
        let checked = async move { checker.submission(what).await };
        ctx.spawn_then(checked, move |actor, checked, ctx| {
            actor.step(ctx, |state, turn| state.checked(turn, id, checked));
        });
    }

    /// Checks a definition, and inputs if there are any, without running anything.
    pub(in crate::workflow) fn validate(
        &mut self,
        what: ValidateWorkflow,
        reply: Reply<Result<Validated, WorkflowError>>,
        ctx: &mut Ctx<'_, Self>,
    ) {
        let checker = self.checker(ctx);
        ctx.spawn(async move { reply.send(checker.validation(what).await) });
    }

    fn checker(&self, ctx: &Ctx<'_, Self>) -> Checker {
        let (definitions, tools) = (Rc::clone(&self.definitions), Rc::clone(&self.tools));
        Checker { reader: self.reader(ctx), definitions, tools }
    }
}

struct Checker {
    reader: Reader,
    definitions: Rc<Definitions>,
    tools: Rc<Tools>,
}

impl Checker {
    async fn submission(&self, what: SubSubmit) -> Result<Checked, WorkflowError> {
        let SubSubmit { submit, read } = what;
        let SubmitRun { definition, definition_cid, inputs, inputs_cid, allow_unknown_tools, .. } = submit;
        let workflow = self.workflow(&definition, Some(definition_cid)).await?;
        let mut problems = self.check_tools(&workflow, allow_unknown_tools).await?;
        let inputs = match read {
            Some((run, seq)) => {
                let unread = |error: meshwork_proto::MeshError| WorkflowError::Unavailable(error.to_string());
                self.reader.event_payload(run, seq).await.map_err(unread)?
            }
            None => inputs,
        };
        let given =
            self.document(&inputs, "inputs", Some(inputs_cid), self.reader.shared.options.max_inputs_bytes);
        let given = object(given.await?)?;
        let filled = match workflow.fill_inputs(&given) {
            Ok(filled) => filled,
            Err(wrong) => {
                problems.extend(wrong);
                return Err(WorkflowError::Invalid(problems));
            }
        };
        if !problems.is_empty() {
            return Err(WorkflowError::Invalid(problems));
        }
        let bytes = to_canonical(&filled).map_err(|error| wrong("inputs", error.to_string()))?;
        let inputs_cid = Cid::of(&bytes);
        let inputs = self.reader.keep(bytes.into()).await?;
        Ok(Checked { workflow, inputs, inputs_cid })
    }

    async fn validation(&self, what: ValidateWorkflow) -> Result<Validated, WorkflowError> {
        let ValidateWorkflow { definition, inputs, allow_unknown_tools } = what;
        let workflow = match self.workflow(&definition, None).await {
            Ok(workflow) => workflow,
            Err(WorkflowError::Invalid(problems)) => {
                return Ok(Validated { name: String::new(), order: Vec::new(), problems });
            }
            Err(error) => return Err(error),
        };
        let mut problems = self.check_tools(&workflow, allow_unknown_tools).await?;
        if let Some(inputs) = inputs {
            let max = self.reader.shared.options.max_inputs_bytes;
            match self.document(&inputs, "inputs", None, max).await.and_then(object) {
                Ok(given) => problems.extend(workflow.fill_inputs(&given).err().into_iter().flatten()),
                Err(WorkflowError::Invalid(wrong)) => problems.extend(wrong),
                Err(error) => return Err(error),
            }
        }
        Ok(Validated { name: workflow.name.clone(), order: order_of(&workflow), problems })
    }

    /// The definition, ready to be run.
    async fn workflow(&self, definition: &Payload, cid: Option<Cid>) -> Result<Arc<Workflow>, WorkflowError> {
        let options = &self.reader.shared.options;
        let (len, max) = (definition.len(), options.max_definition_bytes);
        if len > max {
            return Err(WorkflowError::TooLarge { what: "definition", len, max });
        }
        let document = self.document(definition, "definition", cid, max).await?;
        let cid = Cid::of(document.bytes());
        self.definitions.compile(&self.reader.runtime, cid, document, limits(options)).await
    }

    /// A document in its canonical form; `cid` is what it is said to be.
    async fn document(
        &self,
        payload: &Payload,
        what: &'static str,
        cid: Option<Cid>,
        max: u64,
    ) -> Result<Json, WorkflowError> {
        let json = self.reader.payload(payload, max).await?;
        if cid == Some(Cid::of(json.bytes())) {
            return Ok(json);
        }
        let value = json.parse().map_err(|error| wrong(what, format!("is not JSON: {error}")))?;
        let bytes = to_canonical(&value).map_err(|error| wrong(what, error.to_string()))?;
        match (cid, Cid::of(&bytes)) {
            (Some(said), found) if said != found => {
                let problem = format!("{what} has the content id {found}, not {said} as was said");
                Err(WorkflowError::InvalidArgument(problem))
            }
            _ => Ok(Json::from_checked(bytes.into())),
        }
    }

    /// Problems with the tools that a workflow names.
    async fn check_tools(
        &self,
        workflow: &Arc<Workflow>,
        allow_unknown: bool,
    ) -> Result<Vec<Problem>, WorkflowError> {
        if self.definitions.was_checked(workflow) {
            return Ok(Vec::new());
        }
        let port = &self.reader.shared.deps.describe_tools;
        let shapes = self.tools.describe(port, workflow.tool_names()).await;
        let shapes = shapes.map_err(|error| WorkflowError::Unavailable(error.to_string()))?;
        let problems = workflow.check_tools(&shapes, allow_unknown);
        if problems.is_empty() && !allow_unknown {
            self.definitions.set_checked(workflow);
        }
        Ok(problems)
    }
}

/// Inputs by name; nothing at all stands for none.
fn object(json: Json) -> Result<Value, WorkflowError> {
    match json.parse() {
        Ok(Value::Null) => Ok(Value::Object(Map::new())),
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(wrong("inputs", "are not an object: expected values by the names of the inputs".into())),
        Err(error) => Err(wrong("inputs", format!("are not JSON: {error}"))),
    }
}

fn wrong(field: &'static str, message: String) -> WorkflowError {
    WorkflowError::Invalid(vec![Problem { step: None, field: field.to_owned(), message }])
}

/// Ids of the steps, each behind those that it needs.
fn order_of(workflow: &Workflow) -> Vec<String> {
    let steps = workflow.order.iter().filter_map(|step| workflow.steps.get(*step as usize));
    steps.map(|step| step.id.clone()).collect()
}
