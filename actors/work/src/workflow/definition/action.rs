//! What a step does: a task, another workflow, or a wait.

use super::document::{CompensateDoc, StepDoc};
use super::inputs::Inputs;
use super::problems::At;
use super::step::{Surroundings, check_text, one_of};
use super::{Action, SubAction, TaskAction, Wait};
use crate::workflow::expression::{Names, Needs, Node, Template, clip};
use meshwork_proto::task::TOOL_CALL;
use meshwork_proto::workflow::StepKind;
use serde_json::Value;

impl Action {
    /// Reads what a step does; none if it is wrong.
    pub(super) fn read<'d>(
        step: &mut StepDoc,
        raw: &'d Value,
        around: &Surroundings<'_, 'd, '_>,
        names: &Names<'_>,
        at: &mut At<'_>,
    ) -> Option<Self> {
        let members = [
            ("tool", step.tool.is_some()),
            ("task_type", step.task_type.is_some()),
            ("workflow", step.workflow.is_some()),
            ("wait", step.wait.is_some()),
        ];
        if let Err(problem) = one_of(&members) {
            at.add("tool", problem);
            return None;
        }
        if let Some(wait) = step.wait.take() {
            return Wait::read(wait, names, at).map(Self::Wait);
        }
        if let Some(workflow) = step.workflow.take() {
            return SubAction::read(step, &workflow, raw, around, names, at).map(Self::Workflow);
        }
        let input = at.object("input", step.input.take(), names);
        TaskAction::read([step.tool.take(), step.task_type.take(), step.model.take()], input, at, "")
            .map(Self::Task)
    }

    pub(super) fn needs(&self) -> Option<&Needs> {
        match self {
            Self::Task(task) => Some(task.input.needs()),
            Self::Workflow(sub) => Some(sub.inputs.needs()),
            Self::Wait(wait) => wait.needs(),
        }
    }

    pub(super) fn kind(&self) -> StepKind {
        match self {
            Self::Task(_) => StepKind::Task,
            Self::Workflow(_) => StepKind::Workflow,
            Self::Wait(_) => StepKind::Wait,
        }
    }

    pub(super) fn shown(&self) -> String {
        match self {
            Self::Task(task) => task.tool.clone(),
            Self::Workflow(sub) => sub.name.clone(),
            Self::Wait(wait) => wait.shown(),
        }
    }
}

impl TaskAction {
    /// Reads a task; `within` stands in front of its fields.
    fn read(
        [tool, task_type, model]: [Option<String>; 3],
        input: Template,
        at: &mut At<'_>,
        within: &str,
    ) -> Option<Self> {
        let field = if tool.is_some() { "tool" } else { "task_type" };
        let name = tool.or(task_type)?;
        at.check(&format!("{within}{field}"), check_text(&name));
        if name == TOOL_CALL {
            at.add(
                format_args!("{within}{field}"),
                "tool.call names the tool in its payload: write tool: NAME instead",
            );
        }
        if let Some(model) = &model {
            at.check(&format!("{within}model"), check_text(model));
        }
        Some(Self { task_type: name.clone(), tool: name, model, input })
    }

    /// Reads what takes a step back; none if it is wrong.
    pub(super) fn compensation(document: CompensateDoc, names: &Names<'_>, at: &mut At<'_>) -> Option<Self> {
        let members = [("tool", document.tool.is_some()), ("task_type", document.task_type.is_some())];
        if let Err(problem) = one_of(&members) {
            at.add("compensate", problem);
            return None;
        }
        let input = at.object("compensate.input", document.input, names);
        Self::read([document.tool, document.task_type, document.model], input, at, "compensate.")
    }
}

impl SubAction {
    fn read<'d>(
        step: &mut StepDoc,
        workflow: &Value,
        raw: &'d Value,
        around: &Surroundings<'_, 'd, '_>,
        names: &Names<'_>,
        at: &mut At<'_>,
    ) -> Option<Self> {
        if step.inputs.is_some() && step.input.is_some() {
            at.add("input", "is there beside inputs: they are the same, write one of them");
        }
        let inputs = at.object("inputs", step.inputs.take().or_else(|| step.input.take()), names);
        let (name, part) = match workflow {
            Value::String(name) => match around.library.find(name) {
                Ok(part) => (name.clone(), part?),
                Err(problem) => {
                    at.add("workflow", problem);
                    return None;
                }
            },
            _ => match around.library.read_inline(raw.get("workflow")?) {
                Ok(part) => (part.workflow.name.clone(), part),
                Err(problems) => {
                    at.add_within("workflow", problems);
                    return None;
                }
            },
        };
        check_inputs(&inputs, &part.workflow.inputs, at);
        let (definition, definition_cid) = (part.definition, part.cid);
        Some(Self { name, definition, definition_cid, inputs, workflow: part.workflow })
    }
}

/// Compares what is given to a sub-workflow with what it declares.
fn check_inputs(given: &Template, declared: &Inputs, at: &mut At<'_>) {
    let given: Vec<(&str, Option<&Value>)> = match given.node() {
        Node::Constant(Value::Object(members)) => {
            members.iter().map(|(name, value)| (name.as_str(), Some(value))).collect()
        }
        Node::Object(members) => members
            .iter()
            .map(|(name, node)| match node {
                Node::Constant(value) => (name.as_str(), Some(value)),
                _ => (name.as_str(), None),
            })
            .collect(),
        _ => return,
    };
    for (name, value) in &given {
        if declared.schema(name).is_none() {
            at.add(format_args!("inputs.{}", clip(name)), declared.unknown(name));
        } else if let Some((within, problem)) = value.and_then(|value| declared.unfit(name, value)) {
            at.add(format_args!("inputs.{name}{within}"), problem);
        }
    }
    for name in declared.required() {
        if !given.iter().any(|(there, _)| *there == name) {
            at.add(format_args!("inputs.{name}"), "is missing: the workflow requires it");
        }
    }
}
