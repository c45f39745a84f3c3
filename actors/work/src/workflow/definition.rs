//! Definitions: from a JSON document to a workflow that can be run.
//!
//! Owns: the format (its JSON Schema is published, see [`schema`]), what is a mistake in it, and every default. A
//! [`Workflow`] that was read is right in all that can be known without running it: its steps need one another in no
//! circle, every expression is compiled, every name stands for something. What the tools of the mesh take is compared
//! in a second step, [`Workflow::check_tools`], because whoever reads a definition has to ask for it first.
//!
//! Everything that is wrong is told at once, each with its step and field.

mod action;
mod document;
mod graph;
mod inputs;
mod members;
mod place;
mod problems;
mod read;
mod schema;
mod shapes;
mod step;
mod sub;
#[cfg(test)]
mod tests;
mod wait;

pub(crate) use super::expression::StepIx;
pub(crate) use inputs::Inputs;
pub use schema::schema;
pub(crate) use shapes::{InputCheck, check_input};
pub(crate) use wait::{Wait, read_time};

use super::expression::{Expression, MAX_EXPRESSION, Template};
use meshwork_proto::workflow::{Problem, StepKind, ToolShape};
use meshwork_proto::{Cid, Json, PeerId};
use problems::Problems;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a definition may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Most steps.
    pub(crate) max_steps: u32,
    /// Most elements of a `for_each`.
    pub(crate) max_items: u32,
    /// Most workflows within workflows.
    pub(crate) max_depth: u8,
    /// Longest expression in bytes.
    pub(crate) max_expression: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_steps: 10_000, max_items: 100_000, max_depth: 8, max_expression: MAX_EXPRESSION }
    }
}

/// A workflow that was read.
#[derive(Debug)]
pub(crate) struct Workflow {
    pub(crate) name: String,
    /// Most milliseconds of a run.
    pub(crate) timeout_ms: Option<u64>,
    /// Most tasks in flight of a run; none = the node's limit.
    pub(crate) max_parallel: Option<u32>,
    pub(crate) inputs: Inputs,
    /// In the order in which they were written.
    pub(crate) steps: Vec<Step>,
    /// All steps, each behind those that it needs.
    pub(crate) order: Vec<StepIx>,
    pub(crate) output: OutputRule,
}

/// What a run gives.
#[derive(Debug)]
pub(crate) enum OutputRule {
    /// What a template gives over the finished run.
    Template(Template),
    /// The outputs of these steps by id: those that no other step needs.
    Steps(Vec<StepIx>),
}

/// A step.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) id: String,
    pub(crate) action: Action,
    /// Steps that have to be finished before: sorted, those that its expressions refer to included. There is no circle.
    pub(crate) needs: Vec<StepIx>,
    /// Steps that need it, sorted.
    pub(crate) needed_by: Vec<StepIx>,
    /// Refers to an item only when there is a `for_each`.
    pub(crate) when: Option<Expression>,
    pub(crate) for_each: Option<ForEach>,
    pub(crate) retry: Retry,
    /// Most milliseconds of one attempt.
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) on_failure: OnFailure,
    /// What takes it back; may refer to its own output.
    pub(crate) compensate: Option<TaskAction>,
    pub(crate) place: Place,
    pub(crate) priority: u8,
    pub(crate) pure: bool,
    /// Tool or task type; the name of the sub-workflow; what is waited for.
    pub(crate) what: String,
    pub(crate) kind: StepKind,
}

/// What a step does.
#[derive(Debug)]
pub(crate) enum Action {
    /// Has a task done.
    Task(TaskAction),
    /// Runs another workflow.
    Workflow(SubAction),
    /// Waits.
    Wait(Wait),
}

/// A task that is submitted.
#[derive(Debug)]
pub(crate) struct TaskAction {
    pub(crate) task_type: String,
    pub(crate) tool: String,
    pub(crate) model: Option<String>,
    /// Gives an object.
    pub(crate) input: Template,
}

/// A workflow that is run.
#[derive(Debug)]
pub(crate) struct SubAction {
    pub(crate) name: String,
    /// Its canonical bytes; whatever it takes from the definition around it is in them.
    pub(crate) definition: Json,
    pub(crate) definition_cid: Cid,
    /// Gives an object.
    pub(crate) inputs: Template,
    /// As it was read.
    pub(crate) workflow: Arc<Workflow>,
}

/// A step that is done for each element of a list.
#[derive(Debug)]
pub(crate) struct ForEach {
    /// Gives a list.
    pub(crate) items: Template,
    /// Most elements that are worked on at a time.
    pub(crate) max_parallel: Option<u32>,
}

/// How often a step is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Retry {
    pub(crate) max_attempts: u32,
    /// Before the second attempt.
    pub(crate) backoff_ms: u64,
    pub(crate) max_backoff_ms: u64,
    /// At least 1.
    pub(crate) factor: f64,
}

impl Default for Retry {
    /// One attempt.
    fn default() -> Self {
        Self { max_attempts: 1, backoff_ms: 1000, max_backoff_ms: 60_000, factor: 2.0 }
    }
}

/// What happens when a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum OnFailure {
    /// The run fails.
    #[default]
    Fail,
    /// The run goes on without its output.
    Continue,
    /// The run fails, and completed steps are taken back.
    Compensate,
}

/// Where a step runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) peer: Option<PeerId>,
    pub(crate) capability: Option<String>,
    pub(crate) labels: BTreeSet<String>,
    /// At the peer that ran this step, which is among those that are needed.
    pub(crate) same_as: Option<StepIx>,
}

impl Workflow {
    /// Reads a definition, in the long or in the short form, and checks everything that needs no list of tools.
    ///
    /// # Errors
    /// All that is wrong with it, up to a page.
    pub(crate) fn parse(document: &Value, limits: &Limits) -> Result<Self, Vec<Problem>> {
        read::root(document, limits)
    }

    /// The tools that it calls: those of its steps, of their compensations, and of the workflows that it runs.
    pub(crate) fn tool_names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for workflow in self.with_parts() {
            names.extend(workflow.tasks().map(|(.., task)| task.tool.clone()));
        }
        names
    }

    /// Compares its inputs of tools with what the tools take.
    ///
    /// `shapes` has the tools that somebody serves now; others are a problem unless `allow_unknown`.
    pub(crate) fn check_tools(
        &self,
        shapes: &BTreeMap<String, ToolShape>,
        allow_unknown: bool,
    ) -> Vec<Problem> {
        let mut problems = Problems::default();
        let mut tools = shapes::Tools::of(shapes, allow_unknown);
        for workflow in self.with_parts() {
            let mut within = Problems::default();
            tools.check(workflow, &mut within);
            if std::ptr::eq(workflow, self) {
                problems = within;
            } else {
                problems.add_within(None, &format!("workflow {}", workflow.name), within.into_vec());
            }
        }
        problems.into_vec()
    }

    /// The inputs of a run: what was given, with defaults for the rest.
    ///
    /// # Errors
    /// What is missing, unknown, or of another type.
    pub(crate) fn fill_inputs(&self, given: &Value) -> Result<Value, Vec<Problem>> {
        self.inputs.fill(given)
    }

    fn step(&self, step: StepIx) -> Option<&Step> {
        usize::try_from(step).ok().and_then(|step| self.steps.get(step))
    }

    /// It and all that it runs, each once.
    fn with_parts(&self) -> Vec<&Self> {
        let mut parts = vec![self];
        let mut seen = BTreeSet::new();
        let mut next = 0;
        while let Some(workflow) = parts.get(next).copied() {
            next += 1;
            for step in &workflow.steps {
                if let Action::Workflow(sub) = &step.action
                    && seen.insert(sub.definition_cid)
                {
                    parts.push(&sub.workflow);
                }
            }
        }
        parts
    }

    /// All tasks that its steps may submit, with the step, and the field of the input.
    fn tasks(&self) -> impl Iterator<Item = (&Step, &'static str, &TaskAction)> {
        self.steps.iter().flat_map(|step| {
            let own = match &step.action {
                Action::Task(task) => Some((step, "input", task)),
                Action::Workflow(_) | Action::Wait(_) => None,
            };
            own.into_iter().chain(step.compensate.iter().map(move |task| (step, "compensate.input", task)))
        })
    }
}
