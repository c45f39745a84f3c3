//! Reading one step.

use super::document::StepDoc;
use super::inputs::Inputs;
use super::members::OneOrMany;
use super::problems::At;
use super::read::{Written, on_failure};
use super::sub::Library;
use super::{Action, ForEach, OnFailure, Place, Retry, Step, StepIx, TaskAction};
use crate::workflow::expression::{Expression, Names, Needs, Node, Template, clip, nearest};
use meshwork_proto::task::{DEFAULT_PRIORITY, MAX_NAME, MAX_PRIORITY, MIN_PRIORITY};
use serde_json::{Map, Value};

/// Longest id of a step or name of an input, in characters.
const MAX_ID: usize = 64;
/// Words that cannot stand behind a dot in an expression.
const RESERVED: &[&str] = &["in", "true", "false", "null"];

/// What a step stands in.
pub(super) struct Surroundings<'s, 'd, 'o> {
    /// The names that expressions may use, without items.
    pub(super) names: Names<'s>,
    pub(super) inputs: &'s Inputs,
    pub(super) library: &'s Library<'d, 'o>,
    /// What happens when a step fails that says nothing.
    pub(super) on_failure: OnFailure,
}

/// Checks the id of a step or the name of an input.
pub(super) fn check_id(id: &str) -> Result<(), String> {
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let starts = id.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    if RESERVED.contains(&id) {
        return Err(format!(
            "{id:?} is a word of the expressions: expected a name that has no meaning there"
        ));
    }
    if plain && starts && id.len() <= MAX_ID {
        return Ok(());
    }
    Err(format!(
        "{:?} is no name: expected a letter or _, then letters, digits and _, {MAX_ID} at most, so that it can stand in \
         expressions",
        clip(id)
    ))
}

/// Checks a name that is only compared: of a tool, model, label, signal.
pub(super) fn check_text(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > MAX_NAME || text.chars().any(char::is_control) {
        return Err(format!("{:?} is no name: expected 1 to {MAX_NAME} visible characters", clip(text)));
    }
    if text.contains("${") {
        return Err(format!("{:?} holds an expression: a name is fixed", clip(text)));
    }
    Ok(())
}

/// Which of several members is there.
///
/// # Errors
/// When it is not exactly one.
pub(super) fn one_of<'m>(members: &[(&'m str, bool)]) -> Result<&'m str, String> {
    let all: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    let there: Vec<&str> = members.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
    match there.as_slice() {
        [one] => Ok(one),
        [] => Err(format!("has none of {}: expected exactly one", all.join(", "))),
        several => Err(format!("has {}: expected exactly one of {}", several.join(" and "), all.join(", "))),
    }
}

impl At<'_> {
    /// Adds what a check found.
    pub(super) fn check(&mut self, field: &str, checked: Result<(), String>) {
        if let Err(problem) = checked {
            self.add(field, problem);
        }
    }

    pub(super) fn template(&mut self, field: &str, value: Value, names: &Names<'_>) -> Template {
        Template::parse(value, names, &mut |within, problem| {
            self.add(format_args!("{field}{within}"), problem)
        })
    }

    /// A template that gives an object.
    pub(super) fn object(&mut self, field: &str, value: Option<Value>, names: &Names<'_>) -> Template {
        let template = self.template(field, value.unwrap_or_else(|| Value::Object(Map::new())), names);
        let found = match template.node() {
            Node::Whole(_) | Node::Object(_) | Node::Constant(Value::Object(_)) => return template,
            // An expression that could not be read stands for null, and was told.
            Node::Constant(Value::Null) => return template,
            Node::Constant(value) => clip(&value.to_string()),
            Node::List(_) => "a list".to_owned(),
            Node::Text(_) => "a string with expressions in it".to_owned(),
        };
        self.add(field, format!("is {found}: expected an object with arguments by name"));
        template
    }
}

/// Reads a step: itself, unless it is wrong, and the steps that it needs.
pub(super) fn read<'d>(
    written: &Written<'d>,
    mut step: StepDoc,
    around: &Surroundings<'_, 'd, '_>,
    at: &mut At<'_>,
) -> (Option<Step>, Vec<StepIx>) {
    let own = written.id.as_deref().and_then(|id| around.names.steps.get(id)).copied();
    let mut needs = Needs::default();
    read_needs(step.needs.take(), &around.names, &mut needs, at);
    let items = Names { item: step.for_each.is_some(), ..around.names };
    let when = step.when.take().and_then(|when| condition(&when, &items, at));
    let for_each = step.for_each.take().map(|list| each(list, step.max_parallel, around, at));
    check_combination(&step, for_each.is_some(), at);
    let action = Action::read(&mut step, written.raw, around, &items, at);
    let compensate = step.compensate.take().and_then(|task| TaskAction::compensation(task, &items, at));
    let place = Place::read(&mut step, &around.names, at);
    let retry = step.retry.take().map(|retry| Retry::read(&retry, at)).unwrap_or_default();
    if step.priority.is_some_and(|priority| !(MIN_PRIORITY..=MAX_PRIORITY).contains(&priority)) {
        at.add("priority", "is out of range: expected 1 to 10, 10 is done first");
    }
    when.iter().for_each(|when| needs.extend(when.needs()));
    for_each.iter().for_each(|each| needs.extend(each.items.needs()));
    action.iter().for_each(|action| action.needs().into_iter().for_each(|read| needs.extend(read)));
    needs.steps.extend(place.same_as);
    if let Some(task) = &compensate {
        // By then the step itself is finished; others have to be, too.
        needs.steps.extend(task.input.needs().steps.iter().filter(|step| Some(**step) != own));
    }
    let needs: Vec<StepIx> = needs.steps.into_iter().collect();
    let built = action.map(|action| Step {
        id: written.id.clone().unwrap_or_default(),
        what: action.shown(),
        kind: action.kind(),
        action,
        needs: Vec::new(),
        needed_by: Vec::new(),
        when,
        for_each,
        retry,
        timeout_ms: step.timeout_s.map(|time| time.ms),
        on_failure: on_failure(step.on_failure).unwrap_or(around.on_failure),
        compensate,
        place,
        priority: step.priority.unwrap_or(DEFAULT_PRIORITY),
        pure: step.pure.unwrap_or(false),
    });
    (built, needs)
}

fn read_needs(listed: Option<OneOrMany>, names: &Names<'_>, needs: &mut Needs, at: &mut At<'_>) {
    let Some(OneOrMany { texts, is_list }) = listed else { return };
    for (index, id) in texts.iter().enumerate() {
        match find(id, names) {
            Ok(step) => {
                needs.steps.insert(step);
            }
            Err(problem) if is_list => at.add(format_args!("needs[{index}]"), problem),
            Err(problem) => at.add("needs", problem),
        }
    }
}

/// A step by its id.
pub(super) fn find(id: &str, names: &Names<'_>) -> Result<StepIx, String> {
    if let Some(step) = names.steps.get(id) {
        return Ok(*step);
    }
    let hint = match nearest(id, names.steps.keys().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => "expected the id of another step".to_owned(),
    };
    Err(format!("there is no step {:?}: {hint}", clip(id)))
}

fn condition(when: &Value, names: &Names<'_>, at: &mut At<'_>) -> Option<Expression> {
    let text = match when {
        Value::String(text) => text.clone(),
        Value::Bool(always) => always.to_string(),
        other => {
            at.add("when", format!("is {}: expected an expression", clip(&other.to_string())));
            return None;
        }
    };
    match Expression::parse_condition(&text, names) {
        Ok(condition) => Some(condition),
        Err(problem) => {
            at.add("when", problem);
            None
        }
    }
}

fn each(
    list: Value,
    max_parallel: Option<u32>,
    around: &Surroundings<'_, '_, '_>,
    at: &mut At<'_>,
) -> ForEach {
    let items = at.template("for_each", list, &around.names);
    let most = usize::try_from(around.library.limits().max_items).unwrap_or(usize::MAX);
    let expected = "expected a list, or an expression that gives one";
    match items.node() {
        Node::Constant(Value::Array(list)) if list.len() > most => {
            at.add("for_each", format!("has {} elements: at most {most}, the limit of items", list.len()));
        }
        Node::List(list) if list.len() > most => {
            at.add("for_each", format!("has {} elements: at most {most}, the limit of items", list.len()));
        }
        // Null stands for an expression that could not be read.
        Node::Constant(Value::Array(_) | Value::Null) | Node::List(_) => {}
        Node::Constant(other) => at.add("for_each", format!("is {}: {expected}", clip(&other.to_string()))),
        Node::Text(_) => at.add("for_each", format!("is a string with expressions in it: {expected}")),
        Node::Object(_) => at.add("for_each", format!("is an object: {expected}")),
        Node::Whole(expression) => {
            let path = expression.path();
            let kind = path.and_then(|path| around.inputs.kind(path)).filter(|kind| *kind != "array");
            if let Some(kind) = kind {
                let source = expression.source();
                at.add("for_each", format!("{source} is declared as {kind}: {expected}"));
            }
        }
    }
    ForEach { items, max_parallel }
}

/// What belongs to some kinds of steps only.
fn check_combination(step: &StepDoc, has_items: bool, at: &mut At<'_>) {
    let task = step.tool.is_some() || step.task_type.is_some();
    let wait = step.wait.is_some();
    let placed = [
        step.place.is_some(),
        step.peer.is_some(),
        step.capability.is_some(),
        step.label.is_some(),
        step.labels.is_some(),
        step.same_as.is_some(),
    ];
    for (field, there, fits, belongs) in [
        ("model", step.model.is_some(), task, "a step with tool or task_type"),
        ("pure", step.pure.is_some(), task, "a step with tool or task_type"),
        ("input", step.input.is_some(), !wait, "a step that calls something"),
        (
            "inputs",
            step.inputs.is_some(),
            step.workflow.is_some(),
            "a step with workflow: a tool takes input",
        ),
        ("retry", step.retry.is_some(), !wait, "a step that calls something"),
        ("compensate", step.compensate.is_some(), !wait, "a step that calls something"),
        ("for_each", has_items, !wait, "a step that calls something"),
        ("place", placed.contains(&true), !wait, "a step that calls something"),
        ("max_parallel", step.max_parallel.is_some(), has_items, "a step with for_each"),
    ] {
        if there && !fits {
            at.add(field, format!("belongs to {belongs}"));
        }
    }
    if step.max_parallel == Some(0) {
        at.add("max_parallel", "0 is out of range: expected at least 1");
    }
}
