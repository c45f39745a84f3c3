//! Reading a document: the workflow itself, then its steps, then who needs whom.

use super::document::{DefinitionDoc, OnFailureDoc, ShortDoc, StepDoc, TaskDoc};
use super::inputs::Inputs;
use super::problems::{At, Problems};
use super::step::{self, Surroundings, check_id, check_text};
use super::sub::{Library, Shared};
use super::{Limits, OnFailure, OutputRule, Step, StepIx, Workflow, graph};
use crate::workflow::expression::{Names, Reading, Template, clip};
use meshwork_proto::workflow::Problem;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// Deepest document.
const MAX_NESTING: usize = 100;
/// Longest description in characters.
const MAX_DESCRIPTION: usize = 10_000;

/// What a definition is, and what it takes by name from the definitions around it.
type Read<'d> = (Workflow, BTreeMap<&'d str, &'d Value>);

/// Reads a definition that stands alone.
pub(super) fn root(document: &Value, limits: &Limits) -> Result<Workflow, Vec<Problem>> {
    if is_deeper(document, MAX_NESTING) {
        let mut problems = Problems::default();
        problems.add(None, "definition", format!("is nested deeper than {MAX_NESTING}"));
        return Err(problems.into_vec());
    }
    within(document, None, 0, &Shared::new(limits)).map(|(workflow, _)| workflow)
}

/// Reads a definition that stands in others.
pub(super) fn within<'d>(
    document: &'d Value,
    outer: Option<&Library<'d, '_>>,
    depth: u8,
    shared: &Shared,
) -> Result<Read<'d>, Vec<Problem>> {
    let mut problems = Problems::default();
    let library = Library::new(document, outer, depth, shared);
    let workflow = if document.get("tasks").is_some() && document.get("steps").is_none() {
        short(document, &library, &mut problems)
    } else {
        long(document, &library, &mut problems)
    };
    match workflow {
        Some(workflow) if problems.is_empty() => Ok((workflow, library.taken())),
        _ => Err(problems.into_vec()),
    }
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    let within = |value: &Value| levels == 0 || is_deeper(value, levels - 1);
    match value {
        Value::Array(items) => items.iter().any(within),
        Value::Object(members) => members.values().any(within),
        _ => false,
    }
}

/// A step as it was written.
pub(super) struct Written<'d> {
    /// Its id, if it has one, right or not.
    pub(super) id: Option<String>,
    /// None if it could not be read, which was told.
    document: Option<StepDoc>,
    /// The inline definition of a sub-workflow stays where it is.
    pub(super) raw: &'d Value,
    /// What stands in front of its fields in problems, when it has no id to be named by.
    prefix: String,
}

impl Written<'_> {
    fn at<'p>(&'p self, problems: &'p mut Problems) -> At<'p> {
        match self.id.as_deref().filter(|id| check_id(id).is_ok()) {
            Some(id) => problems.at(Some(id), ""),
            None => problems.at(None, &self.prefix),
        }
    }
}

/// Everything of a workflow but its steps.
#[derive(Default)]
struct Head {
    name: String,
    timeout_ms: Option<u64>,
    max_parallel: Option<u32>,
    on_failure: OnFailure,
    inputs: Inputs,
    output: Option<Value>,
}

fn long<'d>(document: &'d Value, library: &Library<'d, '_>, problems: &mut Problems) -> Option<Workflow> {
    let read: Option<DefinitionDoc> = problems.at(None, "").read(document);
    // Even if something is wrong with the head, the steps are looked at.
    let whole = read.is_some();
    let head = read.unwrap_or_default();
    let mut at = problems.at(None, "");
    match &head.name {
        Some(name) => at.check("name", check_text(name)),
        None if whole => at.add("name", "is missing: expected a name for the workflow"),
        None => {}
    }
    if head.max_parallel == Some(0) {
        at.add("max_parallel", "0 is out of range: expected at least 1");
    }
    check_description(head.description.as_deref(), &mut at);
    for (member, present) in [("workflows", head.workflows.is_some()), ("inputs", head.inputs.is_some())] {
        if present && !document.get(member).is_some_and(Value::is_object) {
            at.add(member, "is no object: expected names with what they stand for");
        }
    }
    library.read_all(&mut at);
    let inputs = Inputs::read(document.get("inputs").filter(|inputs| inputs.is_object()), problems);
    let written = match document.get("steps") {
        Some(Value::Array(steps)) => {
            let id = |_, step: &Value| step.get("id").and_then(Value::as_str).map(ToOwned::to_owned);
            listed(steps, "steps", library.limits(), problems, id, |_, at, step| at.read(step))
        }
        Some(other) => {
            let found = clip(&other.to_string());
            problems.add(None, "steps", format!("is {found}: expected a list of steps"));
            None
        }
        None => {
            problems.add(None, "steps", "is missing: expected a list of steps, or tasks for the short form");
            None
        }
    }?;
    let head = Head {
        name: head.name.unwrap_or_default(),
        timeout_ms: head.timeout_s.map(|time| time.ms),
        max_parallel: head.max_parallel,
        on_failure: on_failure(head.on_failure).unwrap_or_default(),
        inputs,
        output: head.output,
    };
    build(head, written, library, problems)
}

/// The short form: a chain of tasks.
fn short<'d>(document: &'d Value, library: &Library<'d, '_>, problems: &mut Problems) -> Option<Workflow> {
    let head: ShortDoc = problems.at(None, "").read(document).unwrap_or_default();
    let mut at = problems.at(None, "");
    let name = head.name.unwrap_or_else(|| "tasks".to_owned());
    at.check("name", check_text(&name));
    check_description(head.description.as_deref(), &mut at);
    let Some(Value::Array(tasks)) = document.get("tasks") else {
        at.add("tasks", "is no list: expected tasks such as {\"type\": \"echo\", \"input\": {...}}");
        return None;
    };
    let id = |index: usize, _: &Value| Some(format!("task_{}", index + 1));
    let written = listed(tasks, "tasks", library.limits(), problems, id, |index, at, task| {
        let task: TaskDoc = at.read(task)?;
        if [&task.input, &task.inputs, &task.payload].into_iter().flatten().count() > 1 {
            at.add(
                "input",
                "is there more than once: inputs and payload are other names for it, write one of them",
            );
        }
        Some(task.into_step(index))
    })?;
    let timeout_ms = head.timeout_s.map(|time| time.ms);
    let head = Head { name, timeout_ms, ..Head::default() };
    build(head, written, library, problems)
}

/// Reads each element of a list; none if there are too many, or none at all.
fn listed<'d>(
    list: &'d [Value],
    field: &str,
    limits: &Limits,
    problems: &mut Problems,
    id: impl Fn(usize, &Value) -> Option<String>,
    read: impl Fn(usize, &mut At<'_>, &Value) -> Option<StepDoc>,
) -> Option<Vec<Written<'d>>> {
    let most = usize::try_from(limits.max_steps).unwrap_or(usize::MAX);
    if list.is_empty() || list.len() > most {
        let found = list.len();
        problems.add(None, field, format!("has {found} entries: expected 1 to {most}, the limit of steps"));
        return None;
    }
    let steps = list.iter().enumerate().map(|(index, raw)| {
        let prefix = format!("{field}[{index}].");
        let mut written = Written { id: id(index, raw), document: None, raw, prefix };
        written.document = read(index, &mut written.at(problems), raw);
        written
    });
    Some(steps.collect())
}

fn check_description(description: Option<&str>, at: &mut At<'_>) {
    let len = description.map_or(0, |text| text.chars().count());
    if len > MAX_DESCRIPTION {
        at.add("description", format!("has {len} characters: at most {MAX_DESCRIPTION}"));
    }
}

/// What is said to happen when a step fails.
pub(super) fn on_failure(said: Option<OnFailureDoc>) -> Option<OnFailure> {
    said.map(|said| match said {
        OnFailureDoc::Fail => OnFailure::Fail,
        OnFailureDoc::Continue => OnFailure::Continue,
        OnFailureDoc::Compensate => OnFailure::Compensate,
    })
}

/// Reads the steps, and puts everything together.
fn build<'d>(
    head: Head,
    mut written: Vec<Written<'d>>,
    library: &Library<'d, '_>,
    problems: &mut Problems,
) -> Option<Workflow> {
    let documents: Vec<Option<StepDoc>> = written.iter_mut().map(|step| step.document.take()).collect();
    let written = written;
    let by_id = check_ids(&written, problems);
    let input_names = head.inputs.names();
    let reading = Reading::new(library.limits().max_expression);
    let names = Names { steps: &by_id, inputs: &input_names, item: false, reading: &reading };
    let around = Surroundings { names, inputs: &head.inputs, library, on_failure: head.on_failure };
    let (mut steps, mut needs) = (Vec::with_capacity(written.len()), Vec::with_capacity(written.len()));
    for (written, document) in written.iter().zip(documents) {
        if problems.is_full() {
            return None;
        }
        let read = document.map(|document| step::read(written, document, &around, &mut written.at(problems)));
        let (step, its_needs) = read.unwrap_or_default();
        steps.extend(step);
        needs.push(its_needs);
    }
    let output = head.output.map(|output| {
        Template::parse(output, &names, &mut |field, problem| {
            problems.add(None, format!("output{field}"), problem)
        })
    });
    let order = match graph::order(&needs) {
        Ok(order) => order,
        Err(circles) => {
            let id = |step: StepIx| {
                let step = usize::try_from(step).ok().and_then(|step| written.get(step))?;
                step.id.as_deref().map(clip)
            };
            for circle in circles {
                let shown = circle.shown(|step| id(step).unwrap_or_else(|| format!("step {step}")));
                let message = format!("steps need one another in a circle, none can start: {shown}");
                problems.add(circle.first().and_then(id).as_deref(), "needs", message);
            }
            return None;
        }
    };
    if !problems.is_empty() {
        return None;
    }
    graph::link(&mut steps, needs);
    let output = output.map_or_else(|| OutputRule::Steps(ends(&steps)), OutputRule::Template);
    let Head { name, timeout_ms, max_parallel, inputs, .. } = head;
    Some(Workflow { name, timeout_ms, max_parallel, inputs, steps, order, output })
}

/// Steps by id; ids that are missing, wrong or used twice are told.
fn check_ids<'i>(written: &'i [Written<'_>], problems: &mut Problems) -> HashMap<&'i str, StepIx> {
    let mut by_id: HashMap<&str, StepIx> = HashMap::with_capacity(written.len());
    for (index, step) in written.iter().enumerate() {
        let (Some(id), Ok(ix)) = (step.id.as_deref(), StepIx::try_from(index)) else {
            // One that is no text was told when the step was read.
            if step.raw.is_object() && step.raw.get("id").is_none() {
                step.at(problems).add("id", "is missing: every step has an id");
            }
            continue;
        };
        step.at(problems).check("id", check_id(id));
        if let Some(first) = by_id.insert(id, ix) {
            let message =
                format!("is used twice, by steps number {} and {}: ids are unique", first + 1, index + 1);
            step.at(problems).add("id", message);
            by_id.insert(id, first);
        }
    }
    by_id
}

/// The steps that no other one needs.
fn ends(steps: &[Step]) -> Vec<StepIx> {
    let ends = steps.iter().enumerate().filter(|(_, step)| step.needed_by.is_empty());
    ends.filter_map(|(step, _)| StepIx::try_from(step).ok()).collect()
}
