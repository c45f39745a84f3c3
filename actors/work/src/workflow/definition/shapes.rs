//! Comparing inputs with what tools take: before a run as far as they are known, and before each task with what they
//! are.

use super::problems::{Problems, unknown_member};
use super::{Action, OnFailure, Step, StepIx, TaskAction, Workflow};
use crate::workflow::expression::{Node, Path, Piece, Root, clip, nearest};
use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use meshwork_proto::workflow::ToolShape;
use meshwork_proto::{ErrorCode, Json, MeshError};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Largest schema of a tool that is used, in bytes.
const MAX_SCHEMA: usize = 256 * 1024;
/// Largest compiled pattern of a schema, in bytes.
const MAX_PATTERN: usize = 256 * 1024;
/// Largest value that is shown in a sentence, in bytes.
const SHOWN: usize = 60;

/// A validator for a schema that may come from anywhere: it fetches nothing, and its patterns take linear time.
pub(super) fn validator(schema: &Value) -> Result<Validator, String> {
    let patterns = PatternOptions::regex().size_limit(MAX_PATTERN).dfa_size_limit(MAX_PATTERN);
    let options =
        jsonschema::options().offline().should_validate_formats(false).with_pattern_options(patterns);
    options.build(schema).map_err(|error| format!("{}{}", place(&error), sentence(&error)))
}

/// Where in the value something is wrong, as `.a[0].b`.
pub(super) fn place(error: &ValidationError<'_>) -> String {
    let mut place = String::new();
    for segment in segments(error) {
        match segment.parse::<usize>() {
            Ok(index) => place.push_str(&format!("[{index}]")),
            Err(_) => place.push_str(&format!(".{}", clip(&segment))),
        }
    }
    place
}

fn segments(error: &ValidationError<'_>) -> Vec<String> {
    let unescape = |segment: &str| segment.replace("~1", "/").replace("~0", "~");
    error.instance_path().as_str().split('/').skip(1).map(unescape).collect()
}

/// What is wrong, with the value if that is small.
pub(super) fn sentence(error: &ValidationError<'_>) -> String {
    let small = match error.instance().as_ref() {
        Value::Array(_) | Value::Object(_) => false,
        Value::String(text) => text.len() <= SHOWN,
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    };
    let shown = if small { error.to_string() } else { error.masked_with("the value").to_string() };
    clip(&shown)
}

/// What a tool takes, ready to be compared with what it is given.
#[derive(Debug)]
pub(crate) struct InputCheck {
    validator: Validator,
}

impl InputCheck {
    /// Of a tool; none if what it takes is not known, or its schema cannot be used (the tool itself has to say then
    /// what is wrong).
    pub(crate) fn of(shape: &ToolShape) -> Option<Self> {
        let schema = parsed(shape.input_schema.as_ref())?;
        validator(&schema).ok().map(|validator| Self { validator })
    }
}

fn parsed(schema: Option<&Json>) -> Option<Value> {
    schema.filter(|schema| schema.len() <= MAX_SCHEMA)?.parse().ok()
}

/// Checks the input of a task before it is submitted; without a check, only that it is an object.
///
/// # Errors
/// When the tool does not take it: with the step, the field, and the steps that the value came from.
pub(crate) fn check_input(
    workflow: &Workflow,
    task: &TaskAction,
    check: Option<&InputCheck>,
    input: &Value,
) -> Result<(), MeshError> {
    let (place, segments, problem) = if !input.is_object() {
        let found = clip(&input.to_string());
        (String::new(), Vec::new(), format!("it is {found}: expected an object with arguments by name"))
    } else if let Some(error) = check.and_then(|check| check.validator.validate(input).err()) {
        (place(&error), segments(&error), sentence(&error))
    } else {
        return Ok(());
    };
    let origins = task.input.origins(segments.iter().map(String::as_str));
    let origins: Vec<&str> =
        origins.iter().filter_map(|step| workflow.step(*step)).map(|step| &*step.id).collect();
    let from = match origins.as_slice() {
        [] => String::new(),
        [one] => format!(" (it comes from the output of step {one})"),
        several => format!(" (it comes from the outputs of steps {})", several.join(", ")),
    };
    let owner = workflow.tasks().find(|(.., other)| std::ptr::eq(*other, task));
    let (step, field) = owner.map_or(("", "input"), |(step, field, _)| (&*step.id, field));
    let message = format!("{field}{place} of step {step} does not fit tool {:?}: {problem}{from}", task.tool);
    Err(MeshError::new(ErrorCode::InvalidArgument, message))
}

/// The tools that there are, and what they take and give.
pub(super) struct Tools<'a> {
    shapes: &'a BTreeMap<String, ToolShape>,
    allow_unknown: bool,
    /// Compiled when first asked for.
    takes: BTreeMap<&'a str, Option<(Value, Validator)>>,
    gives: BTreeMap<&'a str, Option<Value>>,
}

impl<'a> Tools<'a> {
    pub(super) fn of(shapes: &'a BTreeMap<String, ToolShape>, allow_unknown: bool) -> Self {
        let gives = shapes.iter().map(|(name, shape)| (name.as_str(), parsed(shape.output_schema.as_ref())));
        Self { shapes, allow_unknown, takes: BTreeMap::new(), gives: gives.collect() }
    }

    /// Checks every task of a workflow.
    pub(super) fn check(&mut self, workflow: &Workflow, problems: &mut Problems) {
        for (step, field, task) in workflow.tasks() {
            if problems.is_full() {
                return;
            }
            let Some((name, shape)) = self.shapes.get_key_value(&task.tool) else {
                if !self.allow_unknown {
                    let field = if field == "input" { "tool" } else { "compensate.tool" };
                    problems.add(Some(&step.id), field, self.unknown(&task.tool));
                }
                continue;
            };
            let takes = self.takes.entry(name).or_insert_with(|| {
                let schema = parsed(shape.input_schema.as_ref())?;
                // A schema that cannot be used says nothing: the tool will say itself what is wrong.
                let validator = validator(&schema).ok()?;
                Some((schema, validator))
            });
            if let Some((schema, validator)) = takes {
                let known = Known { workflow, gives: &self.gives, own: step };
                compare(&known, task, schema, validator, &mut |place, message| {
                    problems.add(Some(&step.id), format!("{field}{place}"), message);
                });
            }
        }
    }

    fn unknown(&self, tool: &str) -> String {
        let hint = match nearest(tool, self.shapes.keys().map(String::as_str)) {
            Some(near) => format!("did you mean {near:?}?"),
            None => "start it at a peer, or allow unknown tools if it will be there later".to_owned(),
        };
        format!("no peer serves tool {:?} now: {hint}", clip(tool))
    }
}

/// What is known of values before anything runs.
struct Known<'a> {
    workflow: &'a Workflow,
    gives: &'a BTreeMap<&'a str, Option<Value>>,
    own: &'a Step,
}

/// A place of an input whose value is not known yet.
#[derive(Debug)]
struct Open {
    segments: Vec<String>,
    /// Its type, and who says so.
    kind: Option<(String, String)>,
}

/// Compares an input with a schema. Places that are not known yet hold a value of their type while it is compared, or
/// null; what the validator says of them is only taken where it must be so whatever the value is.
fn compare(
    known: &Known<'_>,
    task: &TaskAction,
    schema: &Value,
    validator: &Validator,
    report: &mut dyn FnMut(String, String),
) {
    let mut open = Vec::new();
    let value = known.sketch(task.input.node(), &mut Vec::new(), &mut open);
    for error in validator.iter_errors(&value).take(super::problems::MAX_PROBLEMS) {
        let segments = segments(&error);
        let mut message = sentence(&error);
        let touched = open
            .iter()
            .find(|open| open.segments.starts_with(&segments) || segments.starts_with(&open.segments));
        if let Some(open) = touched {
            let is_type = matches!(error.kind(), ValidationErrorKind::Type { .. });
            let certain = match &open.kind {
                Some((kind, source)) if open.segments == segments && is_type => {
                    message = format!("{}: {source} is of type {kind}", error.masked_with("the value"));
                    true
                }
                _ if open.segments.len() > segments.len() => {
                    is_type
                        || matches!(
                            error.kind(),
                            ValidationErrorKind::Required { .. }
                                | ValidationErrorKind::AdditionalProperties { .. }
                        )
                }
                _ => false,
            };
            if !certain {
                continue;
            }
        }
        if let ValidationErrorKind::AdditionalProperties { unexpected } = error.kind()
            && let (true, Some(Value::Object(properties))) = (segments.is_empty(), schema.get("properties"))
        {
            for name in unexpected {
                report(
                    format!(".{}", clip(name)),
                    unknown_member(name, properties.keys().map(String::as_str)),
                );
            }
            continue;
        }
        report(place(&error), format!("does not fit tool {:?}: {message}", task.tool));
    }
}

impl Known<'_> {
    /// The value of a node as far as it is known.
    fn sketch(&self, node: &Node, place: &mut Vec<String>, open: &mut Vec<Open>) -> Value {
        match node {
            Node::Constant(value) => value.clone(),
            Node::Whole(expression) => {
                let kind = expression.path().and_then(|path| self.kind(path));
                let sketch = kind.as_deref().map_or(Value::Null, any_of_kind);
                let kind = kind.map(|kind| (kind, clip(expression.source())));
                open.push(Open { segments: place.clone(), kind });
                sketch
            }
            Node::Text(pieces) => {
                let source = pieces.iter().find_map(|piece| match piece {
                    Piece::Expression(expression) => {
                        Some(format!("text with ${{{}}}", clip(expression.source())))
                    }
                    Piece::Text(_) => None,
                });
                let kind = Some(("string".to_owned(), source.unwrap_or_default()));
                open.push(Open { segments: place.clone(), kind });
                json!("")
            }
            Node::List(items) => {
                let items = items.iter().enumerate().map(|(index, item)| {
                    place.push(index.to_string());
                    let sketch = self.sketch(item, place, open);
                    place.pop();
                    sketch
                });
                Value::Array(items.collect())
            }
            Node::Object(members) => {
                let members = members.iter().map(|(name, item)| {
                    place.push(name.clone());
                    let sketch = self.sketch(item, place, open);
                    place.pop();
                    (name.clone(), sketch)
                });
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }

    /// The type of what a path leads to, if it is declared and simple.
    fn kind(&self, path: &Path) -> Option<String> {
        let schema = match path.root {
            Root::Inputs => return self.workflow.inputs.kind(path).map(ToOwned::to_owned),
            Root::Output(step) => self.gives(step)?,
            Root::State(_) | Root::RunId => return Some("string".to_owned()),
            Root::Index | Root::RunCreated => return Some("integer".to_owned()),
            Root::Error(_) | Root::Item => return None,
        };
        declared(schema, &path.members()?).map(ToOwned::to_owned)
    }

    /// The schema of the output of a step that surely has one.
    fn gives(&self, step: StepIx) -> Option<&Value> {
        let step = self.workflow.step(step)?;
        let sure = step.when.is_none() && step.for_each.is_none() && step.on_failure != OnFailure::Continue;
        // What a compensation reads of its own step is there, too.
        match &step.action {
            Action::Task(task) if sure || std::ptr::eq(step, self.own) && step.for_each.is_none() => {
                self.gives.get(task.tool.as_str())?.as_ref()
            }
            Action::Task(_) | Action::Workflow(_) | Action::Wait(_) => None,
        }
    }
}

/// The type that a schema declares for what lies behind some members; none if it says more than one word.
pub(super) fn declared<'s>(schema: &'s Value, members: &[&str]) -> Option<&'s str> {
    let simple = |schema: &Value| {
        let unions = ["anyOf", "oneOf", "allOf", "$ref", "not", "if"];
        !unions.iter().any(|keyword| schema.get(keyword).is_some())
    };
    let mut schema = schema;
    for member in members {
        schema = simple(schema).then(|| schema.get("properties")?.get(member)).flatten()?;
    }
    simple(schema).then(|| schema.get("type")?.as_str()).flatten()
}

/// Some value of a type. A number stands for a whole one, too: it may be one.
fn any_of_kind(kind: &str) -> Value {
    match kind {
        "string" => json!(""),
        "integer" | "number" => json!(0),
        "boolean" => json!(false),
        "array" => json!([]),
        "object" => json!({}),
        _ => Value::Null,
    }
}
