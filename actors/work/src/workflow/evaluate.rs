//! Evaluation: what a unit needs, out of the documents that it reads. No I/O, so that it can run on any thread.

use crate::workflow::definition::{
    Action, InputCheck, OutputRule, Step, StepIx, TaskAction, Wait, Workflow, check_input, read_time,
};
use crate::workflow::expression::{
    Budget, EvalError, Expression, RunFacts, Scope, StepOutcome, StepOutputs, Template,
};
use crate::workflow::logic::{Prepare, WHOLE, Wanted};
use bytes::Bytes;
use meshwork_proto::canonical::to_canonical;
use meshwork_proto::{Cid, ErrorCode, MeshError, UnixMillis};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The documents that an evaluation reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Documents {
    /// The run's inputs.
    pub(crate) inputs: Option<Arc<Value>>,
    /// Outcomes of steps.
    pub(crate) steps: BTreeMap<StepIx, Outcome>,
    /// The list that the item is taken from.
    pub(crate) items: Option<Arc<Value>>,
    /// What the tool takes, if that is known.
    pub(crate) tool: Option<Arc<InputCheck>>,
}

/// What became of a step.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Output(Arc<Value>),
    Nothing,
    Failed(MeshError),
}

/// What an evaluation gave.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Evaluated {
    /// The condition is false.
    Skip,
    /// A list, in canonical form, and how long it is.
    Items(u32, Bytes),
    /// The input of a task, a sub-workflow or a compensation, in canonical form.
    Input(Bytes, Cid),
    /// The unit waits, until this time if there is one.
    Wait(Option<UnixMillis>),
    /// The result of the run, in canonical form.
    Output(Bytes, Cid),
}

/// Why there is no value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Trouble {
    /// It is too much for this thread: with a larger budget there may be one.
    TooMuch,
    /// There is none.
    Failed(MeshError),
}

impl From<EvalError> for Trouble {
    fn from(error: EvalError) -> Self {
        if error.is_out_of_budget() { Self::TooMuch } else { Self::Failed(MeshError::from_coded(&error)) }
    }
}

impl StepOutputs for Documents {
    fn of(&self, step: StepIx) -> StepOutcome<'_> {
        match self.steps.get(&step) {
            Some(Outcome::Output(value)) => StepOutcome::Output(value),
            Some(Outcome::Failed(error)) => StepOutcome::Failed(error),
            Some(Outcome::Nothing) | None => StepOutcome::Nothing,
        }
    }
}

/// Evaluates what is wanted.
///
/// # Errors
/// When there is no value, or not within the budget.
pub(crate) fn evaluate(
    prepare: &Prepare,
    documents: &Documents,
    mut budget: Budget,
    max_output: u64,
) -> Result<Evaluated, Trouble> {
    let none = Value::Object(Map::new());
    let scope = Scope {
        inputs: documents.inputs.as_deref().unwrap_or(&none),
        steps: documents,
        item: item(prepare, documents),
        run: RunFacts { id: prepare.run, created: prepare.created },
    };
    let budget = &mut budget;
    if prepare.unit == WHOLE {
        return output(&prepare.workflow, documents, &scope, budget, max_output);
    }
    let Some(step) = prepare.workflow.steps.get(prepare.unit.step as usize) else {
        return Err(failed(ErrorCode::Internal, "the workflow has no such step"));
    };
    if prepare.wanted != Wanted::Undo && !holds(step, &prepare.wanted, &scope, budget)? {
        return Ok(Evaluated::Skip);
    }
    match (&prepare.wanted, &step.action) {
        (Wanted::Items, _) => items(step, &scope, budget, prepare),
        (Wanted::Undo, _) => match &step.compensate {
            Some(task) => task_input(&prepare.workflow, task, documents, &scope, budget),
            None => Err(failed(ErrorCode::Internal, "the step has no compensation")),
        },
        (_, Action::Task(task)) => task_input(&prepare.workflow, task, documents, &scope, budget),
        (_, Action::Workflow(sub)) => {
            let value = sub.inputs.evaluate_within(&scope, budget)?;
            canonical(&value).map(|(bytes, cid)| Evaluated::Input(bytes, cid))
        }
        (_, Action::Wait(wait)) => time(wait, &scope, budget),
    }
}

/// Whether the condition of a unit is true, as far as it is asked for here: that of a step with items is asked once,
/// unless it speaks of the item.
fn holds(step: &Step, wanted: &Wanted, scope: &Scope<'_>, budget: &mut Budget) -> Result<bool, Trouble> {
    let asked =
        |when: &&Expression| step.for_each.is_none() || when.needs().item == (*wanted == Wanted::Input);
    match step.when.as_ref().filter(asked) {
        Some(when) => Ok(when.test_within(scope, budget)?),
        None => Ok(true),
    }
}

fn item<'a>(prepare: &Prepare, documents: &'a Documents) -> Option<(&'a Value, u32)> {
    let index = prepare.unit.item?;
    let list = documents.items.as_deref().and_then(Value::as_array);
    // An expression that speaks of the index alone has no list.
    let item = list.and_then(|list| list.get(index as usize)).unwrap_or(&Value::Null);
    Some((item, index))
}

fn items(
    step: &Step,
    scope: &Scope<'_>,
    budget: &mut Budget,
    prepare: &Prepare,
) -> Result<Evaluated, Trouble> {
    let Some(for_each) = &step.for_each else {
        return Err(failed(ErrorCode::Internal, "the step has no for_each"));
    };
    let value = for_each.items.evaluate_within(scope, budget)?;
    let Value::Array(list) = &value else {
        let found = crate::workflow::expression::clip(&value.to_string());
        return Err(failed(ErrorCode::Expression, format!("for_each gives {found}: expected a list")));
    };
    let count = list.len() as u64;
    match u32::try_from(count).ok().filter(|_| count <= prepare.room) {
        Some(count) => canonical(&value).map(|(bytes, _)| Evaluated::Items(count, bytes)),
        None => {
            let Prepare { room, max_items, .. } = prepare;
            let message = format!(
                "for_each gives {count} items: a run may have {max_items} (workflows.max_items), this one {room} more"
            );
            Err(failed(ErrorCode::TooLarge, message))
        }
    }
}

/// The input of a task: it has to be what the tool takes.
fn task_input(
    workflow: &Workflow,
    task: &TaskAction,
    documents: &Documents,
    scope: &Scope<'_>,
    budget: &mut Budget,
) -> Result<Evaluated, Trouble> {
    let value = task.input.evaluate_within(scope, budget)?;
    check_input(workflow, task, documents.tool.as_deref(), &value).map_err(Trouble::Failed)?;
    canonical(&value).map(|(bytes, cid)| Evaluated::Input(bytes, cid))
}

fn time(wait: &Wait, scope: &Scope<'_>, budget: &mut Budget) -> Result<Evaluated, Trouble> {
    let Wait::Until(template) = wait else { return Ok(Evaluated::Wait(None)) };
    let value = template.evaluate_within(scope, budget)?;
    match read_time(&value) {
        Ok(at) => Ok(Evaluated::Wait(Some(at))),
        Err(problem) => Err(failed(ErrorCode::Expression, format!("wait.until {problem}"))),
    }
}

fn output(
    workflow: &Workflow,
    documents: &Documents,
    scope: &Scope<'_>,
    budget: &mut Budget,
    max: u64,
) -> Result<Evaluated, Trouble> {
    let value = match &workflow.output {
        OutputRule::Template(template) => template_value(template, scope, budget)?,
        OutputRule::Steps(steps) => Value::Object(
            steps
                .iter()
                .filter_map(|step| {
                    Some((workflow.steps.get(*step as usize)?.id.clone(), outcome(documents, *step)))
                })
                .collect(),
        ),
    };
    let (bytes, cid) = canonical(&value)?;
    if bytes.len() as u64 > max {
        let message = format!("result of the run has {} bytes: the limit is {max} bytes", bytes.len());
        return Err(failed(ErrorCode::TooLarge, message));
    }
    Ok(Evaluated::Output(bytes, cid))
}

fn template_value(template: &Template, scope: &Scope<'_>, budget: &mut Budget) -> Result<Value, Trouble> {
    Ok(template.evaluate_within(scope, budget)?)
}

fn outcome(documents: &Documents, step: StepIx) -> Value {
    match documents.steps.get(&step) {
        Some(Outcome::Output(value)) => (**value).clone(),
        _ => Value::Null,
    }
}

/// The one byte form of a value, and its content id.
fn canonical(value: &Value) -> Result<(Bytes, Cid), Trouble> {
    let bytes = to_canonical(value).map_err(|error| failed(ErrorCode::Expression, error.to_string()))?;
    let cid = Cid::of(&bytes);
    Ok((bytes.into(), cid))
}

fn failed(code: ErrorCode, message: impl Into<String>) -> Trouble {
    Trouble::Failed(MeshError::new(code, message))
}
